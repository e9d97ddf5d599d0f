"""The one middleware: what every request gets and every answer carries."""

from __future__ import annotations

import itertools
import os
import re
import secrets
from functools import lru_cache
from time import perf_counter
from typing import Any

import falcon

from observatory.api.clients import Clients
from observatory.api.compression import compress_answer, negotiate
from observatory.api.etags import is_listed, make_etag
from observatory.api.request_limits import RequestLimits, add_limit_headers
from observatory.log import log
from observatory.loopback import is_loopback
from observatory.metrics import METHODS, observe_request
from observatory.store.database import Reading, connect, limit_time
from observatory.store.time_limits import end_time_limit

_TOKEN = re.compile(r"[A-Za-z0-9._\-]{1,64}")
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
PROTECTING_HEADERS = (
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
)

# A year. Without subdomains: those of a company's domain are not ours to decide on.
_TLS_ONLY = "max-age=31536000"
_WATCHED = frozenset({"/health", "/health/ready", "/metrics"})

# Workers are forked from one process: their ids differ by the number of the process.
_PREFIX = secrets.token_hex(4)
_numbers = itertools.count(1)


def make_request_id() -> str:
    """Return an id that no other request of this server has."""
    return f"{_PREFIX}-{os.getpid():x}-{next(_numbers):x}"


def begin_exchange(req: falcon.Request) -> None:
    """Note when a request came and give it its id: its own when that is a short token."""
    req.context.started = perf_counter()
    # Who asks, such as "user:ID" or "key:ID"; None is somebody who did not sign in.
    req.context.identity = None
    req.context.address = None
    req.context.limit = None
    # The environment is asked directly here: falcon's way costs a microsecond a header.
    given = req.env.get("HTTP_X_REQUEST_ID")
    req.context.request_id = (
        given if given is not None and _TOKEN.fullmatch(given) else make_request_id()
    )


@lru_cache(maxsize=256)
def _names_this_machine(host: str) -> bool:
    """Tell whether a Host header names this machine, whatever the port."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    return is_loopback(name)


def _leave_out_body(resp: falcon.Response) -> None:
    """Answer that there is something, to a client that takes nothing that is there."""
    resp.status = falcon.HTTP_304
    resp.text = resp.data = None
    resp.stream = None  # A generator that has not begun holds nothing.
    resp.delete_header("Content-Type")


class Exchange:
    """Gives a request its id and its thread a connection; times, counts and marks the answer."""

    def __init__(
        self,
        *,
        clients: Clients,
        limits: RequestLimits,
        max_request_bytes: int,
        timeout_ms: int = 0,
        cors_origins: tuple[str, ...] = (),
    ) -> None:
        self._clients = clients
        self._limits = limits
        self._timeout_seconds = timeout_ms / 1000
        self._max_request_bytes = max_request_bytes
        self._origins = frozenset(cors_origins)
        # What one page may read must not be kept for another's, nor kept from it.
        varies = "Accept-Encoding, Origin" if cors_origins else "Accept-Encoding"
        self._headers = (*PROTECTING_HEADERS, ("Vary", varies))

    def process_request(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Begin an exchange; a HEAD request is answered as a GET whose body is left out."""
        begin_exchange(req)
        req.context.address = self._clients.find_address(req.env)
        req.context.max_request_bytes = self._max_request_bytes
        if req.method == "HEAD":
            req.context.is_head = True
            req.method = "GET"
        self._limits.check_address(req)
        host = req.env.get("HTTP_HOST")
        if host is not None and not _names_this_machine(host):
            # A web page whose own name resolves to 127.0.0.1 must not read the archive.
            raise falcon.HTTPForbidden
        origin = req.env.get("HTTP_ORIGIN") if req.method not in _SAFE_METHODS else None
        if origin is not None and origin not in self._origins and origin != f"http://{host}":
            # A form of any web page can be sent here, and then the browser says whose it was.
            raise falcon.HTTPForbidden

    def process_resource(
        self, req: falcon.Request, resp: falcon.Response, resource: Any, params: dict[str, Any]
    ) -> None:
        """Connect this thread to the database for a resource that asks it something.

        A read is of one moment, and one of what the client has already ends here.
        """
        self._limits.check_identity(req)
        if not getattr(resource, "needs_database", True):
            return
        connect()
        if self._timeout_seconds and getattr(resource, "is_timed", True):
            limit_time(req.context.started + self._timeout_seconds)
        if req.method == "GET" and req.path.startswith("/api/"):
            reading = req.context.reading = Reading()
            accepted = negotiate(req.env.get("HTTP_ACCEPT_ENCODING"))
            tag = make_etag(req, accepted, revision=reading.revision)
            req.context.etag = tag
            known = req.env.get("HTTP_IF_NONE_MATCH")
            if known is not None and is_listed(tag, known):
                resp.status = falcon.HTTP_304
                resp.complete = True

    def process_response(
        self, req: falcon.Request, resp: falcon.Response, resource: Any, req_succeeded: bool
    ) -> None:
        """End an exchange."""
        end_time_limit()
        reading = getattr(req.context, "reading", None)
        if reading is not None:
            reading.close()
        status = str(resp.status)[:3]
        tag = getattr(req.context, "etag", None) if status in ("200", "304") else None
        if tag is None:
            resp.set_header("Cache-Control", "no-store")
        else:
            resp.set_header("ETag", tag)
            resp.set_header("Cache-Control", "private, no-cache")
            if req.env.get("HTTP_IF_NONE_MATCH", "").strip() == "*":
                status = "304"
                _leave_out_body(resp)
        accepted = req.env.get("HTTP_ACCEPT_ENCODING")
        if accepted is not None and status != "304":
            compress_answer(resp, negotiate(accepted))
        seconds = perf_counter() - req.context.started
        resp.set_header("X-Request-ID", req.context.request_id)
        resp.set_header("X-Response-Time", f"{seconds * 1000:.2f}ms")
        resp.set_headers(self._headers)
        add_limit_headers(req, resp)
        if self._clients.is_tls(req.env):
            resp.set_header("Strict-Transport-Security", _TLS_ONLY)
        allowed = resp.get_header("Allow")
        if allowed is not None:
            resp.set_header("Allow", allowed.replace("GET", "GET, HEAD"))
        if getattr(req.context, "is_head", False):
            req.method = "HEAD"
        observe_request(req.uri_template, req.method, status, seconds)
        # Programs ask for these again and again.
        tell = log.debug if req.uri_template in _WATCHED else log.info
        tell(
            "request",
            request_id=req.context.request_id,
            method=req.method if req.method in METHODS else "OTHER",
            route=req.uri_template,
            status=int(status),
            duration_ms=round(seconds * 1000, 2),
            identity=req.context.identity and req.context.identity.name,
            address=req.context.address or self._clients.find_address(req.env),
        )
