"""Crawl: videos by http and https, politely, and never from the crawler's own network."""
