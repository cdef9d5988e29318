"""The `aa-curate` command."""
