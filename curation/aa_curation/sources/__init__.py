"""Source lists: CSV, JSON lines, Parquet and folders of videos."""
