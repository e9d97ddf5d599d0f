"""What happens now, to those who listen: one thread of each worker serves all its streams."""
