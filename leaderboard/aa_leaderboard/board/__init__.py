"""A board's folder: submitted results, their checks, and their clips."""
