"""The network's parts: ReferenceNet, Pose Guider, attention, temporal layers, encoders."""
