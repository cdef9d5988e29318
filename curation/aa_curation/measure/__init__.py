"""Measurements of a clip: frame statistics, shots, black bars, people, signatures."""
