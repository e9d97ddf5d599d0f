"""Reports: each answers one question, from the sums that are kept."""
