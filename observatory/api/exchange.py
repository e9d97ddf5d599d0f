"""The one middleware: what every request gets and every answer carries."""

from __future__ import annotations

import itertools
import os
import re
import secrets
from time import perf_counter
from typing import Any

import falcon

from observatory.api.access import PUBLIC, RULES
from observatory.api.auth import Authenticator, check_permission
from observatory.api.clients import Clients, Hosts
from observatory.api.compression import compress_answer, negotiate
from observatory.api.etags import is_listed, make_etag
from observatory.api.request_limits import RequestLimits, add_limit_headers
from observatory.errors import Forbidden
from observatory.log import log_request
from observatory.metrics import METHODS, begin_request, end_request, observe_request
from observatory.store.database import Reading, connect, limit_time
from observatory.store.time_limits import end_time_limit
from observatory.store.together import read_latest_auth_revision

_TOKEN = re.compile(r"[A-Za-z0-9._\-]{1,64}")
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
PROTECTING_HEADERS = (
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    # Pages of other sites can not load it as a script or a picture, with the browser's cookie.
    ("Cross-Origin-Resource-Policy", "same-origin"),
)

# Who has not signed in sends no more: parsing takes thirty times a body's memory, and seconds.
MAX_STRANGERS_BYTES = 64 * 1024

# A year. Without subdomains: those of a company's domain are not ours to decide on.
_TLS_ONLY = "max-age=31536000"
# So many and so dull that they are logged for who looks for them only.
_WATCHED = frozenset({"/health", "/health/ready", "/metrics", "/assets/{digest}/{path:path}"})

# Workers are forked from one process: their ids differ by the number of the process.
_PREFIX = secrets.token_hex(4)
_numbers = itertools.count(1)


def make_request_id() -> str:
    """Return an id that no other request of this server has."""
    return f"{_PREFIX}-{os.getpid():x}-{next(_numbers):x}"


def begin_exchange(req: falcon.Request) -> None:
    """Note when a request came and give it its id: its own when that is a short token."""
    req.context.started = perf_counter()
    # Who asks; None is somebody who did not sign in, or need not.
    req.context.identity = None
    req.context.address = None
    req.context.limit = None
    # The environment is asked directly here: falcon's way costs a microsecond a header.
    given = req.env.get("HTTP_X_REQUEST_ID")
    req.context.request_id = (
        given if given is not None and _TOKEN.fullmatch(given) else make_request_id()
    )


def _measure_body(resp: falcon.Response) -> int:
    """Return how many bytes the body has; none are known of one that is made while it is sent."""
    if resp.data is not None:
        return len(resp.data)
    return len(resp.text.encode()) if resp.text else 0


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
        hosts: Hosts,
        auth: Authenticator,
        limits: RequestLimits,
        max_request_bytes: int,
        timeout_ms: int = 0,
        cors_origins: tuple[str, ...] = (),
        metrics_port: int = 0,
    ) -> None:
        self._clients = clients
        self._hosts = hosts
        self._auth = auth
        self._limits = limits
        self._timeout_seconds = timeout_ms / 1000
        self._max_request_bytes = max_request_bytes
        self._origins = frozenset(cors_origins)
        self._metrics_port = str(metrics_port) if metrics_port else None
        # What one page may read must not be kept for another's, nor kept from it.
        varies = "Accept-Encoding, Origin" if cors_origins else "Accept-Encoding"
        self._headers = (*PROTECTING_HEADERS, ("Vary", varies))

    def process_request(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Begin an exchange; a HEAD request is answered as a GET whose body is left out."""
        begin_exchange(req)
        req.context.address = self._clients.find_address(req.env)
        req.context.max_request_bytes = self._max_request_bytes
        if req.path.startswith("//"):
            # The router passes over slashes at the beginning, and so must who looks at the path.
            req.path = "/" + req.path.lstrip("/")
        if self._metrics_port == req.env["SERVER_PORT"] and req.path != "/metrics":
            raise falcon.HTTPNotFound
        if req.method == "HEAD":
            req.context.is_head = True
            req.method = "GET"
        self._limits.check_address(req)
        host = req.env.get("HTTP_HOST")
        if host is not None and not self._hosts.allows(host):
            raise Forbidden(
                "The Host header names another site; ALLOWED_HOSTS lists the names of this one.",
                reason="host",
            )
        if req.method not in _SAFE_METHODS:
            self._check_origin(req.env, host)

    def _check_origin(self, env: dict[str, Any], host: str | None) -> None:
        """Refuse what a page of another site sends, which its forms can: the browser tells."""
        origin = env.get("HTTP_ORIGIN")
        if origin is None or origin in self._origins or origin == f"https://{host}":
            return
        # Over TLS a page without it may be anybody's who sits in between.
        if origin != f"http://{host}" or self._clients.is_tls(env):
            raise Forbidden(
                "The Origin header names another site; CORS_ORIGINS lists those that may do this.",
                reason="origin",
            )

    def process_resource(
        self, req: falcon.Request, resp: falcon.Response, resource: Any, params: dict[str, Any]
    ) -> None:
        """Find out who asks, and whether they may, and connect this thread to the database.

        A read is of one moment, and one of what the client has already ends here.
        """
        begin_request(id(req), req.uri_template, req.method)
        rule = RULES.get((req.method, req.uri_template or ""))
        if rule is None:
            # Falcon takes methods in capitals only.
            is_taken = hasattr(resource, f"on_{req.method.lower()}")
            if is_taken and req.method.isupper():
                raise Forbidden("Nobody may do this.")
            return  # A preflight, or a method that is not taken.
        if rule is PUBLIC:
            req.context.max_request_bytes = min(self._max_request_bytes, MAX_STRANGERS_BYTES)
        if rule is PUBLIC and not getattr(resource, "needs_database", True):
            return
        connect()
        if self._timeout_seconds and getattr(resource, "is_timed", True):
            limit_time(req.context.started + self._timeout_seconds)
        reading = None
        is_snapshot = getattr(resource, "is_snapshot", True)
        if req.method == "GET" and req.path.startswith("/api/") and is_snapshot:
            reading = req.context.reading = Reading()
        if rule is not PUBLIC:
            ticket = req.get_param("ticket") if hasattr(resource, "takes_tickets") else None
            self._let_in(
                req,
                rule,
                read_latest_auth_revision() if reading is None else reading.auth_revision,
                ticket=ticket,
            )
        if reading is not None and getattr(resource, "is_cached", True):
            accepted = negotiate(req.env.get("HTTP_ACCEPT_ENCODING"))
            tag = make_etag(req, accepted, revision=reading.revision)
            req.context.etag = tag
            known = req.env.get("HTTP_IF_NONE_MATCH")
            if known is not None and is_listed(tag, known):
                resp.status = falcon.HTTP_304
                resp.complete = True

    def _let_in(
        self, req: falcon.Request, rule: frozenset[str], auth_revision: int, *, ticket: str | None
    ) -> None:
        if ticket is not None:
            identity = self._auth.take_ticket(ticket)
        else:
            identity = self._auth.identify(
                req, is_tls=self._clients.is_tls(req.env), auth_revision=auth_revision
            )
        req.context.identity = identity
        self._limits.check_identity(req)
        check_permission(identity, rule)

    def process_response(
        self, req: falcon.Request, resp: falcon.Response, resource: Any, req_succeeded: bool
    ) -> None:
        """End an exchange."""
        end_request(id(req))
        end_time_limit()
        reading = getattr(req.context, "reading", None)
        if reading is not None:
            reading.close()
        is_tls = self._clients.is_tls(req.env)
        self._auth.finish(req, resp, is_tls=is_tls)
        status = str(resp.status)[:3]
        tag = getattr(req.context, "etag", None) if status in ("200", "304") else None
        if tag is None:
            resp.set_header("Cache-Control", "no-store")
        else:
            resp.set_header("ETag", tag)
            kept = getattr(req.context, "cache_control", "private, no-cache")
            resp.set_header("Cache-Control", kept)
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
        if getattr(resource, "has_forms", False):
            resp.append_header("Vary", "Accept")
        policy = getattr(resource, "referrer_policy", None)
        if policy is not None:
            resp.set_header("Referrer-Policy", policy)
        add_limit_headers(req, resp)
        if is_tls:
            resp.set_header("Strict-Transport-Security", _TLS_ONLY)
        allowed = resp.get_header("Allow")
        if allowed is not None:
            resp.set_header("Allow", allowed.replace("GET", "GET, HEAD"))
        is_head = getattr(req.context, "is_head", False)
        if is_head:
            req.method = "HEAD"
        body_bytes = 0 if is_head else _measure_body(resp)
        observe_request(req.uri_template, req.method, status, seconds, body_bytes=body_bytes)
        identity = req.context.identity
        log_request(
            is_watched=req.uri_template in _WATCHED,
            request_id=req.context.request_id,
            method=req.method if req.method in METHODS else "OTHER",
            route=req.uri_template,
            status=int(status),
            seconds=seconds,
            identity=None if identity is None else identity.name,
            address=req.context.address or self._clients.find_address(req.env),
        )
