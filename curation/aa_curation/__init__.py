"""From source videos to pose-annotated WebDataset shards, with a reason for every clip left out."""
