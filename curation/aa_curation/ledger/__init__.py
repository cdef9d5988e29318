"""One row per source and clip: every decision and its measured values."""
