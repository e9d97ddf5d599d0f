"""What keeps an archive in order beside reading, and lets go of what is not to be kept."""
