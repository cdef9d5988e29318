"""The `aa-eval` command."""
