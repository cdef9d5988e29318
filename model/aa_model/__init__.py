"""Animate Anyone: ReferenceNet, Pose Guider, spatial attention and temporal layers on diffusers."""
