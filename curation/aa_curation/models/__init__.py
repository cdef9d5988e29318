"""Load model files from installed packages or paths, checked by sha256."""
