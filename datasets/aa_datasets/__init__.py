"""Clips, poses and shards: what the other rooms hand to each other, and how it is stored."""
