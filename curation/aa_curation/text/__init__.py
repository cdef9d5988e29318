"""Overlaid text: find text in frames, and tell it from text that belongs to the scene."""
