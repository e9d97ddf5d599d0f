"""Access tokens as somebody may make them who has a secret, or wishes to."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import jwt

from observatory.accounts.tokens import Signer

SECRET = "s" * 64
SIGNER = Signer(SECRET)
FAR = 4_102_444_800  # The year 2100.
KEY_ID = jwt.get_unverified_header(
    SIGNER.sign(user_key=1, email="", permissions=[], session_key=1)
)["kid"]


def claims(**others: Any) -> dict[str, Any]:
    moment = int(time.time())
    good = {
        "iss": "claude-code-observatory", "aud": "claude-code-observatory-api", "typ": "access",
        "sub": "1", "jti": "x", "sid": 7, "iat": moment, "exp": moment + 60, "user_id": 1,
        "email": "ada@example.org", "permissions": ["admin"],
    }  # fmt: skip
    return {name: value for name, value in {**good, **others}.items() if value is not ...}


def forge(payload: Any, *, header: dict[str, Any] | None = None, secret: str = SECRET) -> str:
    """Sign whatever is given, as a library that checks nothing would."""
    parts = [
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=")
        for part in ({"alg": "HS256", "typ": "JWT", "kid": KEY_ID, **(header or {})}, payload)
    ]
    message = b".".join(parts)
    signature = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(
        message, secret.encode()
    )
    return (message + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")).decode()
