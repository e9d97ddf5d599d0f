"""``make bench``: what the Observatory does in a second, beside what the machine could do."""
