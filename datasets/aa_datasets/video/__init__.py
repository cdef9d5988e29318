"""Decode any video safely; encode and read the canonical mp4 that shards hold."""
