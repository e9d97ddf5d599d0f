"""``observatory user | key | link | rotate-secret``: accounts, for who runs the server."""

from __future__ import annotations

import argparse
import getpass
import sys
from collections.abc import Callable
from typing import Any

import orjson
from marshmallow import ValidationError

from observatory.accounts.keys import create_key
from observatory.accounts.passwords import check_new_password, hash_password
from observatory.accounts.permissions import ALL, ROLES, SCOPES
from observatory.accounts.signing_in import NAME_CHARACTERS, make_link_token, read_email
from observatory.api.account_schemas import parse_expiry
from observatory.errors import NotFound, ObservatoryError
from observatory.ingest.discover import text_path
from observatory.log import escape_controls
from observatory.loopback import make_address
from observatory.opening import open_database, prepare_schema
from observatory.settings import Settings, rotate_secret
from observatory.store import audit, users
from observatory.store.api_keys import list_keys, revoke_key
from observatory.store.audit import OPERATOR
from observatory.store.database import writing
from observatory.store.projects import find_project_keys

_AT_ONCE = 1000
_MAX_KEY = 2**53
Command = Callable[[argparse.Namespace, Settings], int]


class PasswordProblem(ObservatoryError):
    """No password came, or two that differ."""


def add_commands(commands: Any) -> None:
    """Add these commands to those of the command line."""
    user = commands.add_parser("user", help="add, list, change accounts")
    kinds = user.add_subparsers(required=True, metavar="ACTION")
    add = _add(kinds, "add", run_user_add, "make an account; the password is asked for, or read")
    add.add_argument("email", metavar="EMAIL")
    add.add_argument("--name", type=_name, help="what people call them")
    add.add_argument(
        "--role", choices=tuple(ROLES), help="by default admin for the first account, then member"
    )
    _add_json(add)
    _add_json(_add(kinds, "list", run_user_list, "list accounts"))
    for name, command, text in (
        ("passwd", run_user_passwd, "give an account another password, which ends its sign-ins"),
        ("disable", run_user_disable, "let nobody in by an account or its keys any more"),
        ("enable", run_user_enable, "let somebody in again"),
    ):
        _add(kinds, name, command, text).add_argument("email", metavar="EMAIL")

    key = commands.add_parser("key", help="add, list, revoke API keys")
    kinds = key.add_subparsers(required=True, metavar="ACTION")
    add = _add(kinds, "add", run_key_add, "make a key, and print it this once")
    add.add_argument("--name", required=True, type=_name, help="what it is for")
    add.add_argument(
        "--scopes", required=True, metavar="S[,S]", help=f"what it allows: {', '.join(SCOPES)}"
    )
    add.add_argument("--expires", metavar="D", help="a life (30d, 12h), a day or a time")
    add.add_argument("--user", metavar="EMAIL", help="whose it is: it ends with the account")
    add.add_argument(
        "--project",
        action="append",
        type=text_path,
        metavar="PATH",
        help="show this project only; repeatable",
    )
    _add_json(add)
    _add_json(_add(kinds, "list", run_key_list, "list keys, without the keys"))
    _add(kinds, "revoke", run_key_revoke, "end a key for good").add_argument(
        "id", type=_key, metavar="ID"
    )

    link = commands.add_parser("link", help="print a link that signs in on this machine, once")
    link.set_defaults(command=run_link)
    rotate = commands.add_parser("rotate-secret", help="sign access tokens with another secret")
    rotate.set_defaults(command=run_rotate_secret)


def _add(kinds: Any, name: str, command: Command, text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = kinds.add_parser(name, help=text, description=text)
    parser.set_defaults(command=command)
    return parser


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")


def _name(text: str) -> str:
    # What is no UTF-8 comes from the command line as surrogates.
    if not 0 < len(text.encode("utf-8", "ignore").decode()) == len(text) <= NAME_CHARACTERS:
        raise argparse.ArgumentTypeError(f"takes 1 to {NAME_CHARACTERS} characters of text")
    return text


def _key(text: str) -> int:
    key = int(text)
    if not 0 <= key < _MAX_KEY:
        raise ValueError(text)
    return key


# argparse says "invalid int value".
_key.__name__ = "int"


def _open(settings: Settings) -> None:
    open_database(settings)
    prepare_schema(settings)


def _print_json(value: Any) -> None:
    print(orjson.dumps(value).decode(), flush=True)


def _read_password() -> str:
    """Return a password that is typed twice, or the first line of what is piped in."""
    if sys.stdin is None or not sys.stdin.isatty():
        line = sys.stdin.readline() if sys.stdin is not None else ""
        if not line.strip("\r\n"):
            raise PasswordProblem("No password came; type it, or pipe it in as one line.")
        return line.strip("\r\n")
    try:
        password = getpass.getpass("Password: ")
        again = getpass.getpass("Once more: ")
    except EOFError:
        raise PasswordProblem("No password came.") from None
    if again != password:
        raise PasswordProblem("These are two different passwords.")
    return password


def _find_user(text: str) -> users.User:
    email = read_email(text)
    user = users.find_user_by_email(email)
    if user is None:
        raise NotFound("account", email)
    return user


def run_user_add(options: argparse.Namespace, settings: Settings) -> int:
    """Make an account."""
    _open(settings)
    email = read_email(options.email)
    password = _read_password()
    check_new_password(password, email=email)
    password_hash = hash_password(password)
    with writing(moves="auth_revision"):
        role = options.role or ("member" if users.has_admin() else "admin")
        user = users.insert_user(
            email=email, name=options.name or "", role=role, password_hash=password_hash
        )
        audit.note(OPERATOR, "user.create", target=f"user:{user.key}", role=role)
    if options.json:
        _print_json(user.document())
    else:
        print(f"{user.email} can sign in as {user.role}.")
    return 0


def run_user_list(options: argparse.Namespace, settings: Settings) -> int:
    """List accounts."""
    _open(settings)
    rows = users.list_users(limit=_AT_ONCE, offset=0).rows
    if options.json:
        _print_json(rows)
        return 0
    for row in rows:
        state = "disabled" if row["disabled"] else row["role"]
        email = escape_controls(row["email"])
        print(f"{email}\t{state}\tlast here {row['last_login_at'] or 'never'}")
    return 0


def run_user_passwd(options: argparse.Namespace, settings: Settings) -> int:
    """Give an account another password."""
    _open(settings)
    user = _find_user(options.email)
    password = _read_password()
    check_new_password(password, email=user.email)
    password_hash = hash_password(password)
    with writing(moves="auth_revision"):
        users.update_user(user.key, password_hash=password_hash)
        audit.note(OPERATOR, "user.password", target=f"user:{user.key}")
    print(f"{user.email} has another password; its sign-ins have ended.")
    return 0


def run_user_disable(options: argparse.Namespace, settings: Settings) -> int:
    """Let nobody in by an account any more."""
    return _set_disabled(options, settings, is_disabled=True)


def run_user_enable(options: argparse.Namespace, settings: Settings) -> int:
    """Let somebody in again."""
    return _set_disabled(options, settings, is_disabled=False)


def _set_disabled(options: argparse.Namespace, settings: Settings, *, is_disabled: bool) -> int:
    _open(settings)
    user = _find_user(options.email)
    with writing(moves="auth_revision"):
        users.update_user(user.key, is_disabled=is_disabled)
        audit.note(
            OPERATOR,
            "user.update",
            target=f"user:{user.key}",
            changed=["disabled"],
            disabled=is_disabled,
        )
    print(f"{user.email} is {'disabled' if is_disabled else 'enabled'}.")
    return 0


def run_key_add(options: argparse.Namespace, settings: Settings) -> int:
    """Make a key and print it."""
    scopes = options.scopes.replace(",", " ").split()
    unknown = [scope for scope in scopes if scope not in SCOPES]
    if unknown or not scopes:
        print(f"--scopes takes some of {', '.join(SCOPES)}.", file=sys.stderr)
        return 2
    try:
        expires_at = None if options.expires is None else parse_expiry(options.expires)
    except ValidationError as error:
        print(f"--expires: {error.messages[0]} Or a life such as 30d or 12h.", file=sys.stderr)
        return 2
    _open(settings)
    user = None if options.user is None else _find_user(options.user)
    text, key = create_key(
        name=options.name,
        scopes=scopes,
        actor=OPERATOR,
        user_key=None if user is None else user.key,
        permissions=ALL if user is None else ROLES[user.role],
        expires_at=expires_at,
        project_keys=None if options.project is None else find_project_keys(options.project),
    )
    if options.json:
        _print_json({"id": key.key, "key": text})
    else:
        print(text)
        print("Keep it now: it is shown this once.", file=sys.stderr)
    return 0


def run_key_list(options: argparse.Namespace, settings: Settings) -> int:
    """List keys."""
    _open(settings)
    rows = list_keys(limit=_AT_ONCE, offset=0).rows
    if options.json:
        _print_json(rows)
        return 0
    for row in rows:
        until = row["expires_at"] or "never"
        used = row["last_used_at"] or "never"
        print(
            f"{row['id']}\t{row['prefix']}...\t{escape_controls(row['name'])}\t{','.join(row['scopes'])}"
            f"\tends {until}\tused {used}"
        )
    return 0


def run_key_revoke(options: argparse.Namespace, settings: Settings) -> int:
    """End a key."""
    _open(settings)
    with writing(moves="auth_revision"):
        key = revoke_key(options.id)
        audit.note(OPERATOR, "key.revoke", target=f"key:{key.key}", name=key.name)
    print(f"{escape_controls(key.name)} ({key.prefix}...) lets nobody in any more.")
    return 0


def run_link(options: argparse.Namespace, settings: Settings) -> int:
    """Print a link that signs in whoever opens it first."""
    _open(settings)
    print(f"{make_address(settings.host, settings.port)}login?token={make_link_token()}")
    print("It signs in once, within an hour, as who runs the server.", file=sys.stderr)
    return 0


def run_rotate_secret(options: argparse.Namespace, settings: Settings) -> int:
    """Make another secret."""
    rotate_secret(settings)
    print("Start the server again: it signs with the new secret, and the old one holds 15 minutes.")
    return 0
