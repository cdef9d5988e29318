"""Run a recipe over sources: here in this process or on a Ray cluster."""
