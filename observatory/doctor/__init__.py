"""What can be wrong with an installation, each with what mends it; nothing is ever written."""
