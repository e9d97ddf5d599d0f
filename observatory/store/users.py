"""Accounts as they are stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from observatory.errors import Conflict, NotFound
from observatory.store.database import execute, fetch_all, fetch_one, writing
from observatory.store.pages import Page
from observatory.timestamps import now


@dataclass(frozen=True, slots=True)
class User:
    """One account; its id in the API is its key."""

    key: int
    email: str
    name: str
    role: str
    password_hash: str
    is_disabled: bool
    created_at: str
    updated_at: str
    last_login_at: str | None

    def document(self) -> dict[str, Any]:
        """Return the account as the API shows it."""
        return {
            "id": self.key,
            "email": self.email,
            "name": self.name,
            "role": self.role,
            "disabled": self.is_disabled,
            "created_at": self.created_at,
            "updated_at": self.updated_at,
            "last_login_at": self.last_login_at,
        }


COLUMNS = (
    "u.key, u.email, u.name, u.role, u.password_hash, u.is_disabled, u.created_at, u.updated_at,"
    " u.last_login_at"
)


def make_user(row: tuple[Any, ...]) -> User:
    """Return the account in a row of COLUMNS."""
    key, email, name, role, password_hash, is_disabled, *times = row
    return User(key, email, name, role, password_hash, bool(is_disabled), *times)


def has_users() -> bool:
    """Tell whether there is any account."""
    return fetch_one("SELECT 1 FROM users LIMIT 1") is not None


def has_admin() -> bool:
    """Tell whether there is an account that may do everything."""
    row = fetch_one("SELECT 1 FROM users WHERE role = 'admin' AND NOT is_disabled LIMIT 1")
    return row is not None


def find_user(key: int) -> User | None:
    """Return an account, or ``None``."""
    row = fetch_one(f"SELECT {COLUMNS} FROM users u WHERE u.key = ?", (key,))
    return make_user(row) if row else None


def find_user_by_email(email: str) -> User | None:
    """Return the account of an address in small letters, or ``None``."""
    row = fetch_one(f"SELECT {COLUMNS} FROM users u WHERE u.email = ?", (email,))
    return make_user(row) if row else None


def get_user(key: int) -> User:
    """Return an account.

    Raises:
        NotFound: There is none.
    """
    user = find_user(key)
    if user is None:
        raise NotFound("user", str(key))
    return user


def is_unchanged(user: User) -> bool:
    """Tell whether an account that was read before still lets in with the same password."""
    found = find_user(user.key)
    return (
        found is not None and not found.is_disabled and (found.password_hash == user.password_hash)
    )


def list_users(*, limit: int, offset: int) -> Page:
    """Return one page of accounts, in the order of their making."""
    rows = fetch_all(
        f"SELECT {COLUMNS} FROM users u ORDER BY u.key LIMIT ? OFFSET ?", (limit + 1, offset)
    )
    counted = fetch_one("SELECT count(*) FROM users")
    return Page(
        rows=[make_user(row).document() for row in rows[:limit]],
        total=counted[0] if counted else 0,
        limit=limit,
        offset=offset,
        has_more=len(rows) > limit,
        next_cursor=None,
    )


def insert_user(*, email: str, name: str, role: str, password_hash: str) -> User:
    """Insert an account, in a transaction that is open or one of its own.

    Raises:
        Conflict: There is one with this address.
    """
    moment = now()
    with writing(moves="auth_revision"):
        row = fetch_one(
            "INSERT INTO users (email, name, role, password_hash, created_at, updated_at)"
            " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (email) DO NOTHING RETURNING key",
            (email, name, role, password_hash, moment, moment),
        )
        if row is None:
            raise Conflict("There is an account with this email address already.")
        return get_user(row[0])


def update_user(
    key: int,
    *,
    email: str | None = None,
    name: str | None = None,
    role: str | None = None,
    is_disabled: bool | None = None,
    password_hash: str | None = None,
) -> User:
    """Change what is given of an account and return it.

    A new password, and being disabled, end all its sign-ins.

    Raises:
        NotFound: There is none.
        Conflict: Another one has this address, or nobody would be left who may do everything.
    """
    with writing(moves="auth_revision"):
        user = get_user(key)
        if email is not None and fetch_one(
            "SELECT 1 FROM users WHERE email = ? AND key <> ?", (email, key)
        ):
            raise Conflict("There is an account with this email address already.")
        execute(
            "UPDATE users SET email = ?, name = ?, role = ?, is_disabled = ?, password_hash = ?,"
            " updated_at = ? WHERE key = ?",
            (
                user.email if email is None else email,
                user.name if name is None else name,
                user.role if role is None else role,
                user.is_disabled if is_disabled is None else is_disabled,
                user.password_hash if password_hash is None else password_hash,
                now(),
                key,
            ),
        )
        if is_disabled or password_hash is not None:
            execute("DELETE FROM sessions WHERE user_key = ?", (key,))
        _keep_an_admin(user)
        return get_user(key)


def delete_user(key: int) -> None:
    """Remove an account with its sign-ins and its keys.

    Raises:
        NotFound: There is none.
        Conflict: Nobody would be left who may do everything.
    """
    # Projects tell whom they list: what was read of the archive before is old, too.
    with writing(), writing(moves="auth_revision"):
        user = get_user(key)
        execute("DELETE FROM users WHERE key = ?", (key,))
        _keep_an_admin(user)


def _keep_an_admin(before: User) -> None:
    if before.role == "admin" and not before.is_disabled and not has_admin():
        raise Conflict("This is the last admin that can sign in; make another one first.")


def note_login(key: int, *, known_hash: str, password_hash: str | None = None) -> bool:
    """Note that somebody signed in, and keep a password's stronger hash when there is one.

    Args:
        key: The account.
        known_hash: The hash that the password was compared with.
        password_hash: The stronger one.

    Returns:
        Whether the password is still the account's, and lets in: comparing takes a while.
    """
    with writing(moves=None):
        changed = execute(
            "UPDATE users SET last_login_at = ?, password_hash = ?"
            " WHERE key = ? AND password_hash = ? AND NOT is_disabled",
            (now(), password_hash or known_hash, key, known_hash),
        )
    return changed == 1
