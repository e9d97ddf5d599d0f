"""Coming in: the first account, passwords, and sign-ins that hold until they are ended."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from threading import BoundedSemaphore

from observatory.accounts.credentials import (
    SessionToken,
    hash_secret,
    is_secret,
    make_one_time_token,
    make_session_token,
    parse_session_token,
)
from observatory.accounts.passwords import (
    check_new_password,
    hash_password,
    is_outdated,
    is_password,
    prepare,
)
from observatory.accounts.permissions import ROLES
from observatory.accounts.tokens import Signer
from observatory.errors import (
    Forbidden,
    InvalidParameter,
    TooManyAttempts,
    Unauthorized,
)
from observatory.metrics import AUTH_FAILURES
from observatory.rate_limits import Limits
from observatory.store import audit, sessions, users
from observatory.store.audit import Actor
from observatory.store.database import writing
from observatory.store.one_time_tokens import (
    has_one_time_token,
    insert_one_time_token,
    take_one_time_token,
)
from observatory.store.users import User
from observatory.timestamps import timestamp_in

EMAIL_CHARACTERS = 254
NAME_CHARACTERS = 100
# One @, no white space, no control characters: whether mail arrives there nobody asks.
_PART = r"[^\s@\x00-\x1f\x7f-\x9f\ud800-\udfff]"
_EMAIL = re.compile(f"{_PART}{{1,64}}@{_PART}{{1,189}}")
LINK_LIFE = timedelta(hours=1)
_SETUP_LIFE = timedelta(days=7)
# Wrong passwords in a quarter of an hour, before the next one is looked at: of an address for one
# account, of an address for all, and of all addresses for one account. The last is higher, since
# anybody can keep its owner out by it.
_WINDOW_MS = 15 * 60 * 1000
_MAX_FAILURES = 10
_MAX_FAILURES_OF_ADDRESS = 30
_MAX_FAILURES_OF_ACCOUNT = 50
_REFUSED = "The email address or the password is wrong."


def read_email(text: str, *, field: str = "email") -> str:
    """Return an email address in the one form in which it is stored.

    Raises:
        InvalidParameter: It is none.
    """
    email = text.strip().lower()
    if len(email) > EMAIL_CHARACTERS or not _EMAIL.fullmatch(email):
        raise InvalidParameter(field, "Takes an email address.")
    return email


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A sign-in that was just made or renewed.

    Attributes:
        user: Who it is; ``None`` for who runs the server.
        session_key: The session.
        token: The refresh token, or what the cookie holds.
        seconds: How long it holds without being used.
    """

    user: User | None
    session_key: int
    token: SessionToken
    seconds: int


class Accounts:
    """Who may come in, and by what.

    Args:
        signer: Signs access tokens.
        limits: Where wrong passwords are counted, over all workers.
        session_seconds: How long a sign-in holds without being used.
        is_open: Whether anybody may make an account.
    """

    def __init__(
        self, signer: Signer, *, limits: Limits, session_seconds: int, is_open: bool = False
    ) -> None:
        self.signer = signer
        self.session_seconds = session_seconds
        self._limits = limits
        self._is_open = is_open
        # Between looking at a limit and counting against it, so few can slip through at once.
        self._one_of_few = BoundedSemaphore(2)
        prepare()

    def register(
        self,
        *,
        email: str,
        password: str,
        name: str,
        setup_token: str | None,
        is_admin_asking: bool,
        actor: Actor,
    ) -> User:
        """Make an account: the first one with the setup token, later ones if that is open.

        Raises:
            InvalidParameter: Address or password can not be taken.
            Forbidden: It takes the setup token, or an admin.
            Conflict: There is an account with this address.
        """
        email = read_email(email)
        check_new_password(password, email=email)
        may_make_others = self._is_open or is_admin_asking
        if not may_make_others and users.has_users():
            raise Forbidden("Accounts are made by an admin here.")
        password_hash = hash_password(password)
        with writing(moves="auth_revision"):
            # Asked here, since two may come at once and only one of them is the first.
            is_first = not users.has_users()
            if is_first and not is_admin_asking:
                self._use_setup_token(setup_token)
            elif not may_make_others:
                raise Forbidden("Accounts are made by an admin here.")
            user = users.insert_user(
                email=email,
                name=name,
                role="admin" if is_first else "viewer",
                password_hash=password_hash,
            )
            label = Actor(f"user:{user.key}", user.email, actor.address, actor.request_id)
            audit.note(actor if is_admin_asking else label, "user.register", target=label.name)
        return user

    def _use_setup_token(self, token: str | None) -> None:
        if token is None:
            raise Forbidden(
                "The first account takes the setup_token that the server printed when it started;"
                " or make it with `observatory user add`."
            )
        if not take_one_time_token(hash_secret(token), purpose="setup"):
            raise Forbidden("This is not the setup token that the server printed last.")

    def login(self, *, email: str, password: str, source: str, actor: Actor) -> User:
        """Return the account that a password opens.

        Args:
            email: The address, as it was typed.
            password: The password.
            source: What wrong ones are counted for, beside the account: an address or network.
            actor: Who tries, for the audit log.

        Raises:
            Unauthorized: It opens none; which of several reasons it is does not show.
            TooManyAttempts: Too many wrong ones were tried.
        """
        email = email.strip().lower()[:EMAIL_CHARACTERS]
        # The address first: who may try no more must not fill the table with accounts either.
        tries = [
            ("login-address", source, _MAX_FAILURES_OF_ADDRESS),
            ("login", f"{source} {email}", _MAX_FAILURES),
            ("login-account", email, _MAX_FAILURES_OF_ACCOUNT),
        ]
        user = users.find_user_by_email(email)
        is_right = self._try(password, user, tries)
        if user is None or not is_right:
            target = None if user is None else f"user:{user.key}"
            audit.note(actor, "user.login_failed", target=target)
            raise Unauthorized(_REFUSED, reason="password")
        better = hash_password(password) if is_outdated(user.password_hash) else None
        with writing(moves=None):
            if not users.note_login(user.key, known_hash=user.password_hash, password_hash=better):
                raise Unauthorized(_REFUSED, reason="password")
            audit.note(
                replace(actor, name=f"user:{user.key}", label=user.email),
                "user.login",
                target=f"user:{user.key}",
            )
        return replace(user, password_hash=better or user.password_hash)

    def _try(self, password: str, user: User | None, tries: Sequence[tuple[str, str, int]]) -> bool:
        with self._one_of_few:
            self._count(tries, hits=0)
            is_right = is_password(password, user.password_hash if user else None)
            is_right = is_right and user is not None and not user.is_disabled
            if not is_right:
                self._count(tries, hits=1)
        return is_right

    def _count(self, tries: Sequence[tuple[str, str, int]], *, hits: int) -> None:
        for name, key, most in tries:
            state = self._limits.check_limit(
                name, key, max_hits=most, window_ms=_WINDOW_MS, hits=hits
            )
            if not hits and not state.remaining:
                raise TooManyAttempts(state.retry_after)

    def check_password(self, user: User, password: str, *, field: str, actor: Actor) -> None:
        """Return quietly when a password is a user's.

        Raises:
            InvalidParameter: It is not.
            TooManyAttempts: Too many wrong ones were tried.
        """
        if self._try(password, user, [("password", user.email, _MAX_FAILURES)]):
            return
        audit.note(actor, "user.login_failed", target=f"user:{user.key}")
        AUTH_FAILURES.labels("password").inc()
        raise InvalidParameter(field, "This is not your password.")

    def begin_session(self, user: User | None, *, kind: str) -> SignedIn:
        """Begin a sign-in that holds.

        Args:
            user: Whose it is, as the password was found right; ``None`` for who runs the server.
            kind: ``token`` or ``cookie``.

        Raises:
            Unauthorized: The account was disabled or removed since, or has another password.
        """
        token = make_session_token()
        with writing(moves=None):
            if user is not None and not users.is_unchanged(user):
                raise Unauthorized(_REFUSED, reason="password")
            key = sessions.insert_session(
                user_key=user.key if user else None,
                kind=kind,
                selector=token.selector,
                secret_hash=hash_secret(token.secret),
                expires_at=self.session_end(),
            )
        return SignedIn(user, key, token, self.session_seconds)

    def session_end(self) -> str:
        """Return when a sign-in that is used now ends by itself."""
        return timestamp_in(self.session_seconds)

    def refresh(self, text: str, *, actor: Actor) -> SignedIn:
        """Return the next refresh token of a sign-in; one that was used before ends it.

        Raises:
            Unauthorized: The token does not hold.
        """
        refused = Unauthorized("This refresh token does not hold; sign in again.", reason="refresh")
        token = parse_session_token(text)
        session = sessions.find_session(token.selector) if token else None
        if token is None or session is None or session.kind != "token" or session.user is None:
            raise refused
        following = make_session_token(token.selector)
        is_known = is_secret(token.secret, session.secret_hash)
        if not is_known or not sessions.rotate_session(
            session.key,
            old_hash=session.secret_hash,
            new_hash=hash_secret(following.secret),
            expires_at=self.session_end(),
        ):
            # Somebody has a token that was used: its owner or a thief, and both have lost it now.
            sessions.delete_session(session.key)
            audit.note(actor, "session.reuse", target=f"user:{session.user.key}")
            raise refused
        return SignedIn(session.user, session.key, following, self.session_seconds)

    def use_link(self, text: str, *, actor: Actor) -> SignedIn | None:
        """Return the sign-in that a one-time link begins, or ``None`` when it holds no more."""
        token_hash = hash_secret(text)
        # Anybody may try, and must not keep others from writing by it.
        if not has_one_time_token(token_hash, purpose="link"):
            return None
        with writing(moves=None):
            if not take_one_time_token(token_hash, purpose="link"):
                return None
            audit.note(replace(actor, name="operator"), "link.used")
            return self.begin_session(None, kind="cookie")

    def access_token(self, signed_in: SignedIn) -> str:
        """Return an access token of a user's sign-in."""
        user = signed_in.user
        assert user is not None
        return self.signer.sign(
            user_key=user.key,
            email=user.email,
            permissions=sorted(ROLES[user.role]),
            session_key=signed_in.session_key,
        )


def make_link_token() -> str:
    """Return a token that signs in whoever has it, once and within an hour, and keep its hash."""
    return _make_token("link", LINK_LIFE)


def make_setup_token() -> str:
    """Return a token that the first account takes, and forget those before it."""
    return _make_token("setup", _SETUP_LIFE)


def _make_token(purpose: str, life: timedelta) -> str:
    token = make_one_time_token()
    insert_one_time_token(
        hash_secret(token),
        purpose=purpose,
        expires_at=timestamp_in(life.total_seconds()),
    )
    return token


def make_random_accounts() -> Accounts:
    """Return accounts whose access tokens nobody else can read, for one process."""
    return Accounts(Signer(secrets.token_urlsafe(48)), limits=Limits(), session_seconds=86_400)
