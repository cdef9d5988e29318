"""Text that was laid over a video: found in frames, told from text that belongs to the scene."""
