"""Checkpoints: ours, and those of Moore-AnimateAnyone, AnimateDiff and Stable Diffusion."""
