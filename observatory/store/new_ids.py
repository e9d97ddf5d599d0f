"""Identifiers of what is made here; what transcripts tell of has its own."""

from __future__ import annotations

import os
import time
import uuid

_VERSION = 7 << 76
_VARIANT = 2 << 62


def make_id() -> str:
    """Return a UUID of version 7 (RFC 9562): a time in milliseconds, and 74 random bits.

    So those of one time lie beside each other in an index, and many new ones are a page of it
    instead of a page each.
    """
    chance = int.from_bytes(os.urandom(10), "big")
    high, low = chance >> 68 << 64, chance & ((1 << 62) - 1)
    milliseconds = time.time_ns() // 1_000_000 << 80
    return str(uuid.UUID(int=milliseconds | _VERSION | high | _VARIANT | low))
