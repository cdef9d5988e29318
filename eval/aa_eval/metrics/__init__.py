"""Pure functions: frames or features in, one value a frame or a distance out."""
