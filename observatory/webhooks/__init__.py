"""Events sent to addresses that asked for them."""
