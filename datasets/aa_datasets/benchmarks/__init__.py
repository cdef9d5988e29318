"""The benchmarks' published splits, and a user's copy of their videos checked against them."""
