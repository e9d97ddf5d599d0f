"""The cookie of a browser that is signed in: for pages of this server, and of those it names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from hmac import compare_digest
from typing import Any

import falcon

from observatory.errors import Forbidden, Unauthorized

_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_PORT = re.compile(r":([0-9]{1,5})\Z")


def cookie_name(env: Mapping[str, Any], *, is_tls: bool) -> str:
    """Return the name of the cookie, which servers on other ports of a host do not share."""
    if is_tls:
        # Browsers take a cookie of this name only from the very host, over TLS.
        return "__Host-observatory"
    port = _PORT.search(env.get("HTTP_HOST", ""))
    return f"observatory-{port[1] if port else 80}"


def csrf_token(cookie: str) -> str:
    """Return what a page sends as ``X-CSRF-Token``, which no other page can know."""
    return sha256(b"observatory csrf\n" + cookie.encode("utf-8", "surrogatepass")).hexdigest()


def check_page(req: falcon.Request, cookie: str, *, origins: frozenset[str]) -> None:
    """Return quietly unless another site's page may have made a browser send its cookie.

    Browsers send it to all ports of a host, and so from pages of other servers on it. A page tells
    where it is from by ``Origin``; a page of this server by ``Sec-Fetch-Site`` too, or it knows the
    token that its profile tells.

    Args:
        req: The request.
        cookie: What the cookie holds.
        origins: Origins of other pages that may use it.

    Raises:
        Unauthorized: A page of another site sent it, which may not use it.
        Forbidden: It changes something, and nothing tells where it is from.
    """
    env = req.env
    origin, host = env.get("HTTP_ORIGIN"), env.get("HTTP_HOST")
    if origin is not None and origin not in {f"http://{host}", f"https://{host}", *origins}:
        raise Unauthorized(
            "The cookie is for pages of this server; send an API key or an access token, or list"
            " your origin in COOKIE_ORIGINS.",
            reason="origin",
        )
    if req.method in _SAFE_METHODS:
        return
    given = env.get("HTTP_X_CSRF_TOKEN")
    if given is not None:
        if compare_digest(given.encode("utf-8", "replace"), csrf_token(cookie).encode()):
            return
    elif origin is not None or env.get("HTTP_SEC_FETCH_SITE") == "same-origin":
        return
    raise Forbidden(
        "A change with a cookie takes the Origin header that browsers send, or X-CSRF-Token with"
        " the csrf_token of /api/auth/profile.",
        reason="origin",
    )


def set_cookie(
    req: falcon.Request, resp: falcon.Response, value: str, *, seconds: int, is_tls: bool
) -> None:
    """Have the browser keep a sign-in where no script can read it, or forget it after 0 seconds."""
    # Signing out, or in anew, is not undone by renewing the sign-in that the request came with.
    req.context.renewed_cookie = None
    resp.set_cookie(
        cookie_name(req.env, is_tls=is_tls),
        value,
        # Falcon leaves out a number of 0.
        max_age=seconds or None,
        expires=None if seconds else _LONG_AGO,
        path="/",
        secure=is_tls,
        http_only=True,
        same_site="Lax",
    )


def unset_cookie(req: falcon.Request, resp: falcon.Response, *, is_tls: bool) -> None:
    """Have the browser forget a sign-in."""
    set_cookie(req, resp, "", seconds=0, is_tls=is_tls)
