"""Crawl: polite fetching of videos by http and https, from public addresses only."""
