"""Accounts: who may come in, by what, and what they may do then."""
