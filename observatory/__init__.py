"""Claude Code Observatory: keeps what coding agents did, and answers questions about it."""

__version__ = "0.1.0"
