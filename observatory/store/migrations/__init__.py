"""Numbered migrations: added, never edited."""
