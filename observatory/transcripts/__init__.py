"""What a Claude Code transcript says: pure functions from bytes to frozen dataclasses."""
