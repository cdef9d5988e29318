"""What happens to the corpus as a whole: fetching, duplicates, shards, purges, verification."""
