"""Transcripts into the store: the one place where the two meet."""
