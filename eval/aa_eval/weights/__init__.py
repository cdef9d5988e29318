"""Weights of the metrics' networks: installed with packages, or given by the user."""
