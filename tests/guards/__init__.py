"""Guards of what requests and ingest cost: they count work, and look at no clock."""
