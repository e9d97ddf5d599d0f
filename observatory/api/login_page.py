"""``/login`` and ``/logout``: small pages that let people in and out; they need no scripts."""

from __future__ import annotations

import html
import re
from urllib.parse import quote

import falcon
from marshmallow import ValidationError

from observatory import __version__
from observatory.accounts.signing_in import Accounts
from observatory.api.account_schemas import Login
from observatory.api.auth import Authenticator, Identity, actor_of
from observatory.api.bodies import read_raw_body
from observatory.api.clients import Clients
from observatory.api.cookies import set_cookie, unset_cookie
from observatory.api.params import NoParams, Text, read_params
from observatory.api.request_limits import find_household
from observatory.errors import DatabaseReplaced, Forbidden, TooManyAttempts, Unauthorized
from observatory.metrics import AUTH_FAILURES, RATE_LIMITED
from observatory.page.assets import read_assets
from observatory.store import audit, sessions
from observatory.store.database import DatabaseError, connect, read_auth_revision, writing

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title><link rel="icon" href="{assets}/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="{assets}/css/page.css"></head><body class="gate">
<main class="gate-box">
<img src="{assets}/icon.svg" alt="" width="40" height="40">
<h1>Claude Code Observatory</h1>
{content}
<p class="gate-foot">{version}</p>
</main></body></html>
"""
_STRANGER = """<p class="gate-lead">Keeps what coding agents did, and answers questions about
it.</p>
<p><a class="button button-primary" href="/login">Sign in</a></p>
<p>On the machine that runs the server, <code>observatory link</code> prints a link that signs
in.</p>
<ul class="gate-links">{links}</ul>
"""
_LOGIN = """{problem}<form method="post" action="{action}">
<p class="field"><label for="email">Email address</label><input id="email" name="email" type="email"
autocomplete="username" required maxlength="254" autofocus></p>
<p class="field"><label for="password">Password</label><input id="password" name="password"
type="password" autocomplete="current-password" required maxlength="1024"></p>
<p><button class="button button-primary">Sign in</button></p></form>
<p>Who runs the server signs in with the link that it printed when it started;
<code>observatory link</code> prints another one.</p>
"""
_PUBLIC_PLACES = (
    ("/health", "whether the server lives"),
    ("/health/ready", "whether it can do its work"),
    ("/docs", "the API, to read"),
    ("/openapi.json", "the same, for programs"),
)
POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'self';"
    " frame-ancestors 'none'"
)
# A path of this server, and no way to name another one.
_ADDRESS = re.compile(r"/(?![/\\\\])[!-\[\]-~]{0,2000}")


def _answer_page(resp: falcon.Response, content: str, *, title: str = "Sign in") -> None:
    resp.content_type = falcon.MEDIA_HTML
    resp.set_header("Content-Security-Policy", POLICY)
    resp.text = _PAGE.format(
        title=f"{title} · Observatory",
        assets=read_assets().base,
        version=__version__,
        content=content,
    )


def _answer_login(resp: falcon.Response, following: str, *, problem: str = "") -> None:
    """Answer with the form, which leads to where somebody wanted to go."""
    action = "/login" if following == "/" else f"/login?next={quote(following, safe='')}"
    shown = f'<p role="alert" class="notice notice-bad">{problem}</p>' if problem else ""
    _answer_page(resp, _LOGIN.format(problem=shown, action=html.escape(action)))


def answer_stranger(resp: falcon.Response) -> None:
    """Answer with what this is, to who has not signed in."""
    _answer_page(resp, _STRANGER.format(links=_links(_PUBLIC_PLACES)), title="Welcome")


def _links(places: tuple[tuple[str, str], ...]) -> str:
    return "".join(
        f'<li><a href="{path}"><code>{path}</code></a> {text}</li>' for path, text in places
    )


def find_identity(req: falcon.Request, auth: Authenticator, clients: Clients) -> Identity | None:
    """Return who asks for a page that strangers may ask for, too."""
    try:
        connect()
        return auth.identify(
            req, is_tls=clients.is_tls(req.env), auth_revision=read_auth_revision()
        )
    except (Unauthorized, DatabaseError, DatabaseReplaced):
        return None


class LoginParams(NoParams):
    """The token of a one-time link, and where to go when one is in."""

    token = Text(load_default=None)
    following = Text(load_default="/", data_key="next")


def _read_login(req: falcon.Request) -> tuple[str | None, str]:
    """Return the token of an address, and a place of this server to go to."""
    params = read_params(req, LoginParams)
    following = params["following"]
    return params["token"], following if _ADDRESS.fullmatch(following) else "/"


class LoginPage:
    """``/login``: by a one-time link, or by a password."""

    referrer_policy = "same-origin"

    def __init__(self, accounts: Accounts, auth: Authenticator, clients: Clients) -> None:
        self._accounts = accounts
        self._auth = auth
        self._clients = clients

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Sign in by a link, once; without one answer with the form to who is not signed in."""
        token, following = _read_login(req)
        signed_in = None
        if token is not None and not getattr(req.context, "is_head", False):
            signed_in = self._accounts.use_link(token, actor=actor_of(req))
        if signed_in is not None:
            self._go_in(req, resp, signed_in.token.text, following)
        elif find_identity(req, self._auth, self._clients) is not None:
            resp.status = falcon.HTTP_303
            resp.location = following
        elif token is None or getattr(req.context, "is_head", False):
            _answer_login(resp, following)
        else:
            resp.status = falcon.HTTP_401
            resp.set_header("WWW-Authenticate", 'Bearer realm="observatory"')
            problem = (
                "This link was used before or is too old; <code>observatory link</code> prints"
                " another one."
            )
            _answer_login(resp, following, problem=problem)

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Sign in by a password, as the form sends it."""
        _, following = _read_login(req)
        if not (req.content_type or "").startswith(falcon.MEDIA_URLENCODED):
            raise falcon.HTTPUnsupportedMediaType
        text = read_raw_body(req).decode("ascii", "replace")
        try:
            form = Login().load(falcon.uri.parse_query_string(text, keep_blank=True, csv=False))
            user = self._accounts.login(
                email=form["email"],
                password=form["password"],
                source=find_household(req.context.address),
                actor=actor_of(req),
            )
            signed_in = self._accounts.begin_session(user, kind="cookie")
        except (ValidationError, Unauthorized):
            AUTH_FAILURES.labels("password").inc()
            resp.status = falcon.HTTP_401
            resp.set_header("WWW-Authenticate", 'Bearer realm="observatory"')
            problem = "The email address or the password is wrong."
        except TooManyAttempts as error:
            RATE_LIMITED.labels("sign_in").inc()
            resp.status = falcon.HTTP_429
            resp.set_header("Retry-After", str(error.retry_after))
            problem = str(error)
        else:
            self._go_in(req, resp, signed_in.token.text, following)
            return
        _answer_login(resp, following, problem=problem)

    def _go_in(
        self, req: falcon.Request, resp: falcon.Response, cookie: str, following: str
    ) -> None:
        is_tls = self._clients.is_tls(req.env)
        set_cookie(req, resp, cookie, seconds=self._accounts.session_seconds, is_tls=is_tls)
        resp.status = falcon.HTTP_303
        resp.location = following


class LogoutPage:
    """``/logout``: what the button of the page sends."""

    def __init__(self, auth: Authenticator, clients: Clients) -> None:
        self._auth = auth
        self._clients = clients

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """End the sign-in of the cookie, if there is one, and go back to the page."""
        read_params(req, NoParams)
        is_tls = self._clients.is_tls(req.env)
        try:
            identity = self._auth.identify(req, is_tls=is_tls, auth_revision=read_auth_revision())
        except Unauthorized:
            identity = None
        if identity is not None:
            if identity.session_key is None:
                raise Forbidden("An API key is not signed in.")
            req.context.identity = identity
            with writing(moves="auth_revision"):
                sessions.delete_session(identity.session_key)
                audit.note(actor_of(req), "user.logout", target=identity.name)
        unset_cookie(req, resp, is_tls=is_tls)
        resp.status = falcon.HTTP_303
        resp.location = "/"
