"""Where a run is executed: in this process, or on a Ray cluster."""
