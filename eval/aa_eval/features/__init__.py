"""Feature networks of the Frechet and kernel distances: clips in, one vector a clip out."""
