"""``make demo``: transcripts of a small team that never was, and a server to look at them."""
