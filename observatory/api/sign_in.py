"""``/api/auth``: making an account, signing in and out, and one's own account."""

from __future__ import annotations

from typing import Any

import falcon

from observatory.accounts.passwords import check_new_password, hash_password
from observatory.accounts.signing_in import Accounts, SignedIn, read_email
from observatory.api import account_schemas as schemas
from observatory.api.answers import answer
from observatory.api.auth import Authenticator, actor_of, identity_of
from observatory.api.bodies import read_json
from observatory.api.clients import Clients
from observatory.api.cookies import cookie_name, csrf_token, set_cookie, unset_cookie
from observatory.api.params import NoParams, read_params
from observatory.api.request_limits import find_household
from observatory.errors import Forbidden, Unauthorized
from observatory.store import audit, sessions, users
from observatory.store.database import read_auth_revision, writing


def answer_tokens(
    req: falcon.Request,
    resp: falcon.Response,
    accounts: Accounts,
    signed_in: SignedIn,
) -> None:
    """Answer with the tokens of a sign-in."""
    assert signed_in.user is not None
    data = {
        "access_token": accounts.access_token(signed_in),
        "token_type": "Bearer",
        "expires_in": accounts.signer.seconds,
        "refresh_token": signed_in.token.text,
        "refresh_expires_in": signed_in.seconds,
        "user": signed_in.user.document(),
    }
    answer(req, resp, data)


def answer_cookie(
    req: falcon.Request, resp: falcon.Response, signed_in: SignedIn, *, is_tls: bool
) -> None:
    """Answer with a cookie that signs in."""
    assert signed_in.user is not None
    text = signed_in.token.text
    set_cookie(req, resp, text, seconds=signed_in.seconds, is_tls=is_tls)
    data = {
        "expires_in": signed_in.seconds,
        "csrf_token": csrf_token(text),
        "user": signed_in.user.document(),
    }
    answer(req, resp, data)


class Registration:
    """``/api/auth/register``: the first account, and later ones where that is open."""

    is_cached = False

    def __init__(self, accounts: Accounts, auth: Authenticator, clients: Clients) -> None:
        self._accounts = accounts
        self._auth = auth
        self._clients = clients

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Make an account, and sign it in unless an admin makes it for somebody."""
        read_params(req, NoParams)
        _, body = read_json(req, schemas.Register)
        is_admin_asking = self._is_admin_asking(req)
        user = self._accounts.register(**body, is_admin_asking=is_admin_asking, actor=actor_of(req))
        resp.status = falcon.HTTP_201
        if is_admin_asking:
            answer(req, resp, user.document())
            return
        answer_tokens(req, resp, self._accounts, self._accounts.begin_session(user, kind="token"))

    def _is_admin_asking(self, req: falcon.Request) -> bool:
        """Tell whether the request has an admin's credentials, which it need not have."""
        try:
            identity = self._auth.identify(
                req,
                is_tls=self._clients.is_tls(req.env),
                auth_revision=read_auth_revision(),
            )
        except Unauthorized:
            return False
        if identity.is_admin:
            req.context.identity = identity
        return identity.is_admin


class SignIn:
    """``/api/auth/login``."""

    is_cached = False

    def __init__(self, accounts: Accounts, clients: Clients) -> None:
        self._accounts = accounts
        self._clients = clients

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Sign in with a password, for tokens or for a cookie."""
        read_params(req, NoParams)
        _, body = read_json(req, schemas.Login)
        user = self._accounts.login(
            email=body["email"],
            password=body["password"],
            source=find_household(req.context.address),
            actor=actor_of(req),
        )
        if body["cookie"]:
            signed_in = self._accounts.begin_session(user, kind="cookie")
            answer_cookie(req, resp, signed_in, is_tls=self._clients.is_tls(req.env))
            return
        signed_in = self._accounts.begin_session(user, kind="token")
        answer_tokens(req, resp, self._accounts, signed_in)


class Refreshed:
    """``/api/auth/refresh``."""

    is_cached = False

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Take a refresh token, for the last time, and give the next tokens."""
        read_params(req, NoParams)
        _, body = read_json(req, schemas.Refresh)
        signed_in = self._accounts.refresh(body["refresh_token"], actor=actor_of(req))
        answer_tokens(req, resp, self._accounts, signed_in)


class SignOut:
    """``/api/auth/logout``."""

    is_cached = False

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """End this sign-in, or all of this account."""
        read_params(req, NoParams)
        has_body = bool(req.content_length) or "HTTP_TRANSFER_ENCODING" in req.env
        everywhere = read_json(req, schemas.Logout)[1]["everywhere"] if has_body else False
        identity = identity_of(req)
        assert identity.session_key is not None
        ended = 1
        with writing(moves="auth_revision"):
            if everywhere:
                ended = sessions.delete_sessions_of(identity.user_key)
            else:
                sessions.delete_session(identity.session_key)
            audit.note(actor_of(req), "user.logout", target=identity.name, everywhere=everywhere)
        is_tls = self._clients.is_tls(req.env)
        if req.get_cookie_values(cookie_name(req.env, is_tls=is_tls)):
            unset_cookie(req, resp, is_tls=is_tls)
        answer(req, resp, {"ended": ended})


class Profile:
    """``/api/auth/profile``: who is signed in."""

    is_cached = False

    def __init__(self, accounts: Accounts, clients: Clients) -> None:
        self._accounts = accounts
        self._clients = clients

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer with one's account and permissions."""
        read_params(req, NoParams)
        answer(req, resp, self._profile(req))

    def on_patch(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Change one's name or address."""
        read_params(req, NoParams)
        _, body = read_json(req, schemas.ChangeProfile)
        user = own_account(req)
        email = None
        if body["email"] is not None:
            email = read_email(body["email"])
            self._accounts.check_password(
                user, body["current_password"], field="current_password", actor=actor_of(req)
            )
        changed = sorted(name for name in ("name", "email") if body[name] is not None)
        with writing(moves="auth_revision"):
            _check_unchanged(user)
            users.update_user(user.key, name=body["name"], email=email)
            target = f"user:{user.key}"
            audit.note(actor_of(req), "user.update", target=target, changed=changed)
        answer(req, resp, self._profile(req))

    def _profile(self, req: falcon.Request) -> dict[str, Any]:
        identity = identity_of(req)
        user = None if identity.user_key is None else users.get_user(identity.user_key)
        cookies = None
        if "HTTP_AUTHORIZATION" not in req.env:
            name = cookie_name(req.env, is_tls=self._clients.is_tls(req.env))
            cookies = req.get_cookie_values(name)
        return {
            "user": None if user is None else user.document(),
            "identity": identity.name,
            "permissions": sorted(identity.permissions - {"person"}),
            "csrf_token": csrf_token(cookies[0]) if cookies else None,
        }


def own_account(req: falcon.Request) -> users.User:
    """Return the account of who asks.

    Raises:
        Forbidden: Who runs the server has none.
    """
    identity = identity_of(req)
    if identity.user_key is None:
        raise Forbidden("Who runs the server has no account; `observatory user add` makes one.")
    return users.get_user(identity.user_key)


def _check_unchanged(user: users.User) -> None:
    """Return quietly when what a password was compared with is still so.

    Raises:
        Unauthorized: The account was disabled or removed since, or has another password.
    """
    if not users.is_unchanged(user):
        raise Unauthorized("This sign-in has ended; sign in again.")


class Password:
    """``/api/auth/password``."""

    is_cached = False

    def __init__(self, accounts: Accounts, clients: Clients) -> None:
        self._accounts = accounts
        self._clients = clients

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Take another password, end all sign-ins, and sign in anew."""
        read_params(req, NoParams)
        _, body = read_json(req, schemas.ChangePassword)
        user = own_account(req)
        check_new_password(body["new_password"], email=user.email, field="new_password")
        self._accounts.check_password(
            user, body["current_password"], field="current_password", actor=actor_of(req)
        )
        password_hash = hash_password(body["new_password"])
        with writing(moves="auth_revision"):
            _check_unchanged(user)
            user = users.update_user(user.key, password_hash=password_hash)
            audit.note(actor_of(req), "user.password", target=f"user:{user.key}")
        is_tls = self._clients.is_tls(req.env)
        if "HTTP_AUTHORIZATION" in req.env:
            signed_in = self._accounts.begin_session(user, kind="token")
            answer_tokens(req, resp, self._accounts, signed_in)
        else:
            signed_in = self._accounts.begin_session(user, kind="cookie")
            answer_cookie(req, resp, signed_in, is_tls=is_tls)
