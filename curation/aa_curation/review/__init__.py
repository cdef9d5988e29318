"""Review: a page on this machine that plays clips, and writes takedowns and bounds."""
