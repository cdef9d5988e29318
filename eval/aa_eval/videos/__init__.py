"""Find, read and pair predictions and references."""
