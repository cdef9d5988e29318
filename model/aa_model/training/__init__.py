"""Two-stage training: loop, losses, run folder, progress, distributed processes."""
