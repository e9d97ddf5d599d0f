"""Pages of other origins: those that are allowed are told so, all others nothing.

Falcon's own middleware echoes every header that is asked for and keeps the permission for
credentials on a refused preflight; here what may be sent is a list.
"""

from __future__ import annotations

from typing import Any

import falcon

# What such a page may read besides the body, and send besides what forms can.
EXPOSED = (
    "ETag", "Link", "X-Request-ID", "X-Response-Time", "Retry-After", "Idempotency-Replayed",
    "Content-Disposition", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset",
)  # fmt: skip
SENDABLE = (
    "Accept", "Accept-Language", "Authorization", "Content-Type", "Content-Encoding",
    "Idempotency-Key", "If-Match", "If-None-Match", "Last-Event-ID", "X-API-Key", "X-CSRF-Token",
    "X-Request-ID", "X-Requested-With",
)  # fmt: skip
_PREFLIGHT_SECONDS = 24 * 60 * 60


class Cors:
    """Lets pages of some origins read answers and send changes, with credentials."""

    def __init__(self, origins: tuple[str, ...]) -> None:
        self._origins = frozenset(origins)

    def process_response(
        self, req: falcon.Request, resp: falcon.Response, resource: Any, req_succeeded: bool
    ) -> None:
        """Tell the browser what a page of an allowed origin may do."""
        origin = req.env.get("HTTP_ORIGIN")
        if origin is None or origin not in self._origins:
            return
        resp.set_header("Access-Control-Allow-Origin", origin)
        resp.set_header("Access-Control-Allow-Credentials", "true")
        if req.method == "OPTIONS" and "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in req.env:
            allowed = resp.get_header("Allow")
            if req_succeeded and allowed:
                resp.set_header("Access-Control-Allow-Methods", allowed)
                resp.set_header("Access-Control-Allow-Headers", ", ".join(SENDABLE))
                resp.set_header("Access-Control-Max-Age", str(_PREFLIGHT_SECONDS))
        else:
            resp.set_header("Access-Control-Expose-Headers", ", ".join(EXPOSED))
