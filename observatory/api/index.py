"""``/``, ``/login`` and ``/logout``: small pages that say what is here, and let people in."""

from __future__ import annotations

import html

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
from observatory.ingest.discover import text_path
from observatory.metrics import AUTH_FAILURES, RATE_LIMITED
from observatory.store import audit, sessions
from observatory.store.database import DatabaseError, connect, read_auth_revision, writing

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Claude Code Observatory</title><link rel="stylesheet" href="/index.css"></head><body><main>
<h1>Claude Code Observatory <small>{version}</small></h1>
<p>Keeps what coding agents did, and answers questions about it.</p>
{content}
</main></body></html>
"""
_SIGNED_IN = """<ul>{links}</ul>
<p>Transcripts are read from {folders}.</p>
<form method="post" action="/logout"><p>Signed in as {who}. <button>Sign out</button></p></form>
"""
_STRANGER = """<p><a href="/login">Sign in</a> to see what is here. On the machine that runs the
server, <code>observatory link</code> prints a link that signs in.</p>
<ul>{links}</ul>
"""
_LOGIN = """{problem}<form method="post" action="/login">
<p><label>Email address<br><input name="email" type="email" autocomplete="username" required
maxlength="254"></label></p>
<p><label>Password<br><input name="password" type="password" autocomplete="current-password"
required maxlength="1024"></label></p>
<p><button>Sign in</button></p></form>
<p>Who runs the server signs in with the link that it printed when it started;
<code>observatory link</code> prints another one.</p>
"""
_STYLE = """
:root { color-scheme: light dark }
body { font: 1rem/1.5 system-ui, sans-serif; margin: 3rem auto; max-width: 42rem; padding: 0 1rem }
small { font-weight: normal; opacity: .6 }
code { font-size: .95em }
input, button { font: inherit; padding: .3rem .6rem }
input { box-sizing: border-box; max-width: 24rem; width: 100% }
[role=alert] { border-left: .3rem solid #c33; padding-left: .7rem }
"""
_PUBLIC_PLACES = (
    ("/health", "whether the server lives"),
    ("/health/ready", "whether it can do its work"),
    ("/docs", "the API, to read"),
    ("/openapi.json", "the same, for programs"),
)
_PLACES = (
    ("/api/conversations", "conversations, newest first"),
    ("/api/projects", "projects with their totals"),
    ("/api/files", "transcript files and how far each was read"),
    ("/metrics", "for Prometheus"),
    *_PUBLIC_PLACES,
)
POLICY = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'self'"


def _answer_page(resp: falcon.Response, content: str) -> None:
    resp.content_type = falcon.MEDIA_HTML
    resp.set_header("Content-Security-Policy", POLICY)
    resp.text = _PAGE.format(version=__version__, content=content)


def _links(places: tuple[tuple[str, str], ...]) -> str:
    return "".join(
        f'<li><a href="{path}"><code>{path}</code></a> {text}</li>' for path, text in places
    )


def _find_identity(req: falcon.Request, auth: Authenticator, clients: Clients) -> Identity | None:
    """Return who asks for a page that strangers may ask for, too."""
    try:
        connect()
        return auth.identify(
            req, is_tls=clients.is_tls(req.env), auth_revision=read_auth_revision()
        )
    except (Unauthorized, DatabaseError, DatabaseReplaced):
        return None


class Index:
    """``/``."""

    # Without one it answers too, as to a stranger.
    needs_database = False
    # Browsers do not tell where a form is from when they may not tell it in Referer.
    referrer_policy = "same-origin"

    def __init__(self, *, folders: tuple[str, ...], auth: Authenticator, clients: Clients) -> None:
        self._folders = ", ".join(
            f"<code>{html.escape(text_path(folder))}</code>" for folder in folders
        )
        self._auth = auth
        self._clients = clients

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer with what is here, and to strangers with how to come in."""
        read_params(req, NoParams)
        identity = _find_identity(req, self._auth, self._clients)
        if identity is None:
            _answer_page(resp, _STRANGER.format(links=_links(_PUBLIC_PLACES)))
            return
        req.context.identity = identity
        who = html.escape(identity.label)
        content = _SIGNED_IN.format(links=_links(_PLACES), folders=self._folders, who=who)
        _answer_page(resp, content)


class IndexStyle:
    """``/index.css``: the pages' style, apart so that the policy needs no inline styles."""

    needs_database = False

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer with the style sheet."""
        read_params(req, NoParams)
        resp.content_type = "text/css; charset=utf-8"
        resp.text = _STYLE


class LinkParams(NoParams):
    """The token of a one-time link."""

    token = Text(load_default=None)


class LoginPage:
    """``/login``: by a one-time link, or by a password."""

    referrer_policy = "same-origin"

    def __init__(self, accounts: Accounts, auth: Authenticator, clients: Clients) -> None:
        self._accounts = accounts
        self._auth = auth
        self._clients = clients

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Sign in by a link, once; without one answer with the form to who is not signed in."""
        token = read_params(req, LinkParams)["token"]
        signed_in = None
        if token is not None and not getattr(req.context, "is_head", False):
            signed_in = self._accounts.use_link(token, actor=actor_of(req))
        if signed_in is not None:
            self._go_in(req, resp, signed_in.token.text)
        elif _find_identity(req, self._auth, self._clients) is not None:
            resp.status = falcon.HTTP_303
            resp.location = "/"
        elif token is None or getattr(req.context, "is_head", False):
            _answer_page(resp, _LOGIN.format(problem=""))
        else:
            resp.status = falcon.HTTP_401
            resp.set_header("WWW-Authenticate", 'Bearer realm="observatory"')
            problem = (
                "This link was used before or is too old; <code>observatory link</code> prints"
                " another one."
            )
            _answer_page(resp, _LOGIN.format(problem=f'<p role="alert">{problem}</p>'))

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Sign in by a password, as the form sends it."""
        read_params(req, NoParams)
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
            self._go_in(req, resp, signed_in.token.text)
            return
        _answer_page(resp, _LOGIN.format(problem=f'<p role="alert">{problem}</p>'))

    def _go_in(self, req: falcon.Request, resp: falcon.Response, cookie: str) -> None:
        is_tls = self._clients.is_tls(req.env)
        set_cookie(req, resp, cookie, seconds=self._accounts.session_seconds, is_tls=is_tls)
        resp.status = falcon.HTTP_303
        resp.location = "/"


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
