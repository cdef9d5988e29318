"""Ask people: a blinded study of pairs of videos, and what its votes say."""
