"""Tells by its exit code whether the server of this container can do its work.

    python healthcheck.py

It asks ``/health/ready`` at ``HOST`` and ``PORT``, as the server reads them, and needs nothing but
Python. ``http.client`` is used because it knows of no proxies, which may be set for the container.
"""

from __future__ import annotations

import http.client
import json
import os
import sys
from http import HTTPStatus

TIMEOUT_SECONDS = 4
# Who listens on all addresses listens on the loopback one, too.
_ALL_ADDRESSES = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104


def main() -> int:
    """Ask once; say what is wrong in one line, and return 0 when nothing is, else 1."""
    host = os.environ.get("HOST", "").strip("[]")
    port = os.environ.get("PORT", "") or "3001"
    if port.isdecimal() and 0 < int(port) < 2**16:
        problem = ask(_ALL_ADDRESSES.get(host, host), int(port))
    else:
        problem = "PORT takes a whole number from 1 to 65535"
    print(problem or "ready")
    return 1 if problem else 0


def ask(host: str, port: int) -> str:
    """Return what keeps a server from doing its work, or an empty text."""
    connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", "/health/ready")
        answer = connection.getresponse()
        body = answer.read(65536)
    except (OSError, http.client.HTTPException) as error:
        return f"nobody answers on {host}:{port}: {error or type(error).__name__}"
    finally:
        connection.close()
    return "" if answer.status == HTTPStatus.OK else _reason(body) or f"answer {answer.status}"


def _reason(body: bytes) -> str:
    """Return what an answer of the server says is wrong, or an empty text when it does not."""
    try:
        return str(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        return ""


if __name__ == "__main__":
    sys.exit(main())
