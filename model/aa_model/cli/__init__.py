"""The commands `aa-train`, `aa-animate` and `aa-model`."""
