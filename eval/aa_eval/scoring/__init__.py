"""Score pairs of videos: metrics per frame and per set, cache, baselines, processes."""
