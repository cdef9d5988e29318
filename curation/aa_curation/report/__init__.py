"""Reports of a run: text, HTML and contact sheets."""
