"""Secrets in texts: finding them, and masking them before anything is stored."""
