"""Feature extractors: videos in, one vector a video out."""
