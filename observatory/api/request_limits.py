"""The limit of requests under ``/api``, for each address and for each who signed in."""

from __future__ import annotations

import ipaddress
from functools import lru_cache

import falcon

from observatory.api.clients import is_of_this_machine
from observatory.metrics import RATE_LIMITED
from observatory.rate_limits import Limits, LimitState

_LIMITED = ("/api/", "/login")


@lru_cache(maxsize=4096)
def find_household(address: str) -> str:
    """Return what is counted for an address: of IPv6 its /64, which is what one customer gets."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if parsed.version == 4:
        return address
    return str(ipaddress.ip_network((parsed, 64), strict=False))


class RequestLimits:
    """Counts requests under ``/api`` and refuses those that are too many.

    Args:
        limits: Where they are counted.
        max_requests: Largest number in a window; 0 for no limit.
        window_ms: The window in milliseconds.
        limits_loopback: Whether programs of this machine, which no proxy stands for, are limited.
    """

    def __init__(
        self, limits: Limits, *, max_requests: int, window_ms: int, limits_loopback: bool = False
    ) -> None:
        self._limits = limits
        self._max_requests = max_requests
        self._window_ms = window_ms
        self._limits_loopback = limits_loopback

    def check_address(self, req: falcon.Request) -> None:
        """Count a request for its address.

        Raises:
            falcon.HTTPTooManyRequests: It is one too many.
        """
        address = req.context.address
        if (
            not self._max_requests
            or not (req.path.startswith(_LIMITED) or req.path == "/api")
            or (not self._limits_loopback and is_of_this_machine(req.env, address))
        ):
            return
        self._check(req, "address", find_household(address))

    def check_identity(self, req: falcon.Request) -> None:
        """Count a request for who signed in, when its address is limited too.

        Raises:
            falcon.HTTPTooManyRequests: It is one too many.
        """
        if req.context.identity is not None and getattr(req.context, "limit", None) is not None:
            self._check(req, "identity", req.context.identity.name)

    def _check(self, req: falcon.Request, name: str, key: str) -> None:
        state = self._limits.check_limit(
            name, key, max_hits=self._max_requests, window_ms=self._window_ms
        )
        known: LimitState | None = getattr(req.context, "limit", None)
        if known is None or state.remaining < known.remaining or not state.is_allowed:
            req.context.limit = state
        if not state.is_allowed:
            RATE_LIMITED.labels(name).inc()
            raise falcon.HTTPTooManyRequests(retry_after=state.retry_after)


def add_limit_headers(req: falcon.Request, resp: falcon.Response) -> None:
    """Tell how the limit stands that this request counts for, if any."""
    state: LimitState | None = getattr(req.context, "limit", None)
    if state is not None:
        resp.set_header("X-RateLimit-Limit", str(state.limit))
        resp.set_header("X-RateLimit-Remaining", str(state.remaining))
        resp.set_header("X-RateLimit-Reset", str(state.resets_at))
