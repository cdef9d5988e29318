"""Pose estimators behind one protocol: who is in the frame, and where their joints are."""
