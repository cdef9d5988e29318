"""The steps of a run on one source: survey, curate a clip."""
