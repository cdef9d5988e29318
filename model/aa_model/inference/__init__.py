"""Animate a photo: pipeline, denoising, pose alignment, inputs and outputs."""
