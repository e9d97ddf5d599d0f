"""Who asks: the credentials of a request, what they allow, and what is there for them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from threading import Lock
from time import time
from typing import Any, NamedTuple

import falcon

from observatory.accounts.credentials import (
    KEY_PREFIX,
    hash_secret,
    is_secret,
    parse_session_token,
)
from observatory.accounts.permissions import ADMIN, ALL, READ, ROLES, expand
from observatory.accounts.signing_in import Accounts
from observatory.api.cookies import check_page, cookie_name, set_cookie
from observatory.errors import Forbidden, Unauthorized
from observatory.store import api_keys, audit, sessions
from observatory.store.audit import Actor
from observatory.store.database import DatabaseError, waiting_at_most
from observatory.store.projects import find_scope
from observatory.store.scopes import WHOLE, Scope
from observatory.store.stream_tickets import TicketHolder, take_ticket
from observatory.store.users import User
from observatory.timestamps import seconds_of

MAX_CREDENTIAL_CHARACTERS = 4096
# What was found good is looked up again after so long, and at once when accounts change.
_GOOD_FOR_SECONDS = 60.0
_MAX_KNOWN = 1024
_PERSON = "person"
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_SIGN_IN = (
    "Sign in first: send an API key (`observatory key add` makes one) or an access token as"
    " Authorization: Bearer, or open the link that `observatory link` prints."
)


@dataclass(frozen=True)
class Identity:
    """Somebody whose credentials were found good.

    Attributes:
        name: ``user:ID``, ``key:ID``, or ``operator`` for who runs the server.
        label: What people call them: an email address, or the name of a key.
        permissions: What they may do; ``person`` among it for who signed in.
        scope: Which projects are there for them.
        user_key: The account, if there is one behind it.
        session_key: The sign-in, if it is one.
        expires_at: When it ends by itself, in Unix time.
        key_key: The API key, if it is one.
        used_at: When the key was used before, in Unix time.
    """

    name: str
    label: str
    permissions: frozenset[str]
    scope: Scope
    user_key: int | None
    session_key: int | None
    expires_at: float
    key_key: int | None = None
    used_at: float = 0.0

    @cached_property
    def viewer(self) -> str:
        """Who sees what, as text: answers to two of the same text are the same."""
        may = f"{self.is_admin}\n{READ in self.permissions}"
        return f"{self.name}\n{may}\n{self.scope.condition('key')}"

    @property
    def is_admin(self) -> bool:
        """Whether everything is allowed."""
        return ADMIN in self.permissions


class Credential(NamedTuple):
    """What a request shows: a ``key``, a ``token`` or a ``cookie``."""

    kind: str
    text: str


class _Known(NamedTuple):
    identity: Identity
    auth_revision: int
    good_until: float

    def is_good(self, *, auth_revision: int, moment: float) -> bool:
        """Tell whether it holds still, without looking; not when the clock was set back since."""
        is_now = 0 < self.good_until - moment <= _GOOD_FOR_SECONDS
        return is_now and self.auth_revision == auth_revision


def scope_of(req: falcon.Request) -> Scope:
    """Return what part of the archive is there for who sent a request."""
    return identity_of(req).scope


def identity_of(req: falcon.Request) -> Identity:
    """Return who sent a request that not everybody may send."""
    identity: Identity | None = req.context.identity
    if identity is None:
        raise Unauthorized(_SIGN_IN, reason="missing")
    return identity


def actor_of(req: falcon.Request) -> Actor:
    """Return who sent a request, for the audit log."""
    identity: Identity | None = req.context.identity
    return Actor(
        None if identity is None else identity.name,
        None if identity is None else identity.label,
        req.context.address,
        req.context.request_id,
    )


def note_read(req: falcon.Request, action: str, target: str, **details: Any) -> None:
    """Note in the audit log that somebody took something, before they get it."""
    reading = getattr(req.context, "reading", None)
    if reading is not None:
        # Who holds a moment of the archive open can not write after another one did.
        reading.close()
    if not getattr(req.context, "is_head", False):
        audit.note(actor_of(req), action, target=target, **details)


def find_credential(req: falcon.Request, *, is_tls: bool) -> Credential | None:
    """Return the credentials of a request: of its headers, or else of its cookie.

    Raises:
        Unauthorized: A header can not be understood.
    """
    env = req.env
    header: str | None = env.get("HTTP_AUTHORIZATION")
    if header is not None:
        scheme, _, text = header.partition(" ")
        text = text.strip()
        is_key = text.startswith(KEY_PREFIX)
        scheme = scheme.lower()
        if not text or scheme not in ("bearer", "apikey") or (scheme == "apikey" and not is_key):
            raise Unauthorized(
                "Authorization takes Bearer or ApiKey and a key or a token.", reason="malformed"
            )
        return Credential("key" if is_key else "token", text)
    key: str | None = env.get("HTTP_X_API_KEY")
    if key is not None:
        return Credential("key", key.strip())
    if "HTTP_COOKIE" not in env:
        return None
    values = req.get_cookie_values(cookie_name(env, is_tls=is_tls))
    return Credential("cookie", values[0]) if values else None


class Authenticator:
    """Finds out who asks.

    Credentials that were found good are remembered, at most some thousand, until anything changes
    in accounts, sign-ins, keys or who may see what: then the archive's ``auth_revision`` is
    another one, in all workers.

    Args:
        accounts: Whose credentials are looked at.
        cookie_origins: Origins of other servers whose pages may use the cookie of this one.
    """

    def __init__(self, accounts: Accounts, *, cookie_origins: tuple[str, ...] = ()) -> None:
        self._accounts = accounts
        self._cookie_origins = frozenset(cookie_origins)
        self._known: dict[Credential | str, _Known] = {}
        # A dictionary that another thread changes can not be asked for its oldest key.
        self._remembering = Lock()

    def identify(self, req: falcon.Request, *, is_tls: bool, auth_revision: int) -> Identity:
        """Return who sent a request.

        Raises:
            Unauthorized: It has no credentials, or such as do not hold.
            Forbidden: It may be another site's doing.
        """
        moment = time()
        header = req.env.get("HTTP_AUTHORIZATION")
        known = None if header is None else self._known.get(header)
        if known is not None and known.is_good(auth_revision=auth_revision, moment=moment):
            return known.identity
        credential = find_credential(req, is_tls=is_tls)
        if credential is None:
            raise Unauthorized(_SIGN_IN, reason="missing")
        if credential.kind == "cookie":
            check_page(req, credential.text, origins=self._cookie_origins)
        # What programs send with each request is looked up as it comes.
        shown = credential if header is None else header
        known = self._known.get(shown)
        if known is not None and known.is_good(auth_revision=auth_revision, moment=moment):
            return known.identity
        if len(credential.text) > MAX_CREDENTIAL_CHARACTERS:
            raise Unauthorized("These credentials are too long.", reason="malformed")
        identity = self._look_up(credential)
        good_until = min(identity.expires_at, moment + _GOOD_FOR_SECONDS)
        with self._remembering:
            while len(self._known) >= _MAX_KNOWN:
                del self._known[next(iter(self._known))]
            self._known[shown] = _Known(identity, auth_revision, good_until)
        self._note(req, identity, credential, moment=moment)
        return identity

    def _note(
        self, req: falcon.Request, identity: Identity, credential: Credential, *, moment: float
    ) -> None:
        """Leave to the end of the request what is to be written of it."""
        if identity.key_key is not None and moment - identity.used_at >= _GOOD_FOR_SECONDS:
            req.context.used_key = identity.key_key
        is_old = identity.expires_at - moment < self._accounts.session_seconds / 2
        if credential.kind == "cookie" and is_old:
            req.context.renewed_cookie = (identity.session_key, credential.text)

    def finish(self, req: falcon.Request, resp: falcon.Response, *, is_tls: bool) -> None:
        """Write what a request is to leave behind, unless the database is busy: then the next."""
        used_key = getattr(req.context, "used_key", None)
        renewed = getattr(req.context, "renewed_cookie", None)
        if used_key is None and renewed is None:
            return
        try:
            with waiting_at_most(0):
                if used_key is not None:
                    api_keys.note_use(used_key)
                elif renewed is not None:
                    session_key, cookie = renewed
                    end = self._accounts.session_end()
                    if sessions.extend_session(session_key, expires_at=end):
                        seconds = self._accounts.session_seconds
                        set_cookie(req, resp, cookie, seconds=seconds, is_tls=is_tls)
        except DatabaseError:
            return

    def _look_up(self, credential: Credential) -> Identity:
        if credential.kind == "key":
            return _find_key(credential.text)
        if credential.kind == "token":
            return self._find_token(credential.text)
        return self._find_cookie(credential.text)

    def _find_token(self, text: str) -> Identity:
        token = self._accounts.signer.read(text)
        session = sessions.find_session_by_key(token.session_key)
        if session is None or session.user is None or session.user.key != token.user_key:
            raise Unauthorized("This sign-in has ended; sign in again.")
        return _person(session.user, session.key, expires_at=token.expires_at)

    def _find_cookie(self, text: str) -> Identity:
        refused = Unauthorized("This sign-in has ended; sign in again.")
        token = parse_session_token(text)
        session = sessions.find_session(token.selector) if token else None
        if token is None or session is None or session.kind != "cookie":
            raise refused
        if not is_secret(token.secret, session.secret_hash):
            raise refused
        return _session_identity(session)

    def look_again(self, identity: Identity) -> Identity:
        """Return somebody who was let in as they are now.

        Raises:
            Unauthorized: They would be let in no more.
        """
        return self._find_holder(TicketHolder(identity.session_key, identity.key_key))

    def take_ticket(self, text: str) -> Identity:
        """Return whose a ticket is, which holds once.

        Raises:
            Unauthorized: It does not hold.
        """
        holder = take_ticket(hash_secret(text))
        if holder is None:
            raise Unauthorized(
                "This ticket does not hold: it is wrong, was used or has ended.", reason="ticket"
            )
        return self._find_holder(holder)

    def _find_holder(self, holder: TicketHolder) -> Identity:
        if holder.api_key_key is not None:
            return _program(api_keys.find_key(holder.api_key_key))
        key = holder.session_key
        session = None if key is None else sessions.find_session_by_key(key)
        if session is None:
            raise Unauthorized("This sign-in has ended; sign in again.")
        return _session_identity(session)


def _session_identity(session: sessions.Session) -> Identity:
    expires_at = seconds_of(session.expires_at)
    if session.user is None:
        permissions = ALL | {_PERSON}
        return Identity("operator", "operator", permissions, WHOLE, None, session.key, expires_at)
    return _person(session.user, session.key, expires_at=expires_at)


def _person(user: User, session_key: int, *, expires_at: float) -> Identity:
    permissions = ROLES[user.role] | {_PERSON}
    scope = find_scope(user.key, is_admin=user.role == "admin", key_projects=None)
    return Identity(
        f"user:{user.key}", user.email, permissions, scope, user.key, session_key, expires_at
    )  # fmt: skip


def _find_key(text: str) -> Identity:
    return _program(
        api_keys.find_key_by_hash(hash_secret(text)) if text.startswith(KEY_PREFIX) else None
    )


def _program(key: api_keys.ApiKey | None) -> Identity:
    if key is None:
        raise Unauthorized(
            "This API key does not hold: it is wrong, has ended or was revoked.", reason="key"
        )
    permissions = expand(key.scopes)
    is_admin = True
    if key.user is not None:
        # What its user may not do any more, it may not do either.
        permissions &= ROLES[key.user.role]
        is_admin = key.user.role == "admin"
    scope = find_scope(
        key.user.key if key.user else None, is_admin=is_admin, key_projects=key.project_keys
    )
    expires_at = seconds_of(key.expires_at) if key.expires_at else float("inf")
    used_at = seconds_of(key.last_used_at) if key.last_used_at else 0.0
    return Identity(
        f"key:{key.key}", key.name, permissions, scope, key.user.key if key.user else None, None,
        expires_at, key.key, used_at,
    )  # fmt: skip


def check_permission(identity: Identity, rule: frozenset[str]) -> None:
    """Return quietly when one of the permissions of a rule is there.

    Raises:
        Forbidden: None is.
    """
    if rule.isdisjoint(identity.permissions):
        if rule == {_PERSON}:
            raise Forbidden(
                "This is for people who signed in; an API key is not one of them.",
                reason="permission",
            )
        named = " or ".join(sorted(rule - {_PERSON}))
        raise Forbidden(f"This takes the permission {named}.", reason="permission")
