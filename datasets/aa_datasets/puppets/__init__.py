"""Synthetic clips: cartoon people with exact poses, for tests, trials and the demo."""
