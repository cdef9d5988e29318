"""Stream shards into training: shuffle, choose windows, augment, batch, resume."""
