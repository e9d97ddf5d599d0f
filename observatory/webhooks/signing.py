"""Signatures by which a receiver knows that a body is ours, whole and not sent before."""

from __future__ import annotations

import hmac
import secrets

SIGNATURE_HEADER = "X-Observatory-Signature"
TIMESTAMP_HEADER = "X-Observatory-Timestamp"
EVENT_HEADER = "X-Observatory-Event"
DELIVERY_HEADER = "X-Observatory-Delivery"
MIN_SECRET_BYTES = 16
MAX_SECRET_CHARACTERS = 200


def make_secret() -> str:
    """Return a new secret of 256 random bits."""
    return "whsec_" + secrets.token_urlsafe(32)


def sign(body: bytes, *, secret: str, timestamp: int) -> str:
    """Return the value of the signature's header, ``t=<seconds>,v1=<hex>``.

    The time is signed with the body, so that what was overheard can not be sent again later.

    Args:
        body: What is sent, byte for byte.
        secret: What both sides know.
        timestamp: The time of sending, in Unix time.
    """
    signed = b"%d.%b" % (timestamp, body)
    return f"t={timestamp},v1={hmac.new(secret.encode(), signed, 'sha256').hexdigest()}"
