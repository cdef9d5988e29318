"""The standalone harness: predictions and references in, a Result with its protocol out."""
