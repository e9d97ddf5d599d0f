"""What happens now, to those who listen.

One thread of each worker serves all its streams; ``observatory tail`` prints lines for people.
"""
