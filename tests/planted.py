"""Secrets that are made at run time, from parts: none stands in this repository."""

from __future__ import annotations

import random
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import zstandard

from observatory.store.database import execute, fetch_all

BASE62 = string.ascii_letters + string.digits
URL64 = BASE62 + "_-"


class Planted(NamedTuple):
    """A text with a secret in it, the secret, and its kind."""

    text: str
    secret: str
    kind: str


def drawn(chance: random.Random, length: int, alphabet: str = BASE62) -> str:
    """Return drawn characters: letters of both sizes and digits are among them, in no pattern."""
    head = "".join(
        f"{chance.choice('bdfg')}{chance.choice('579')}{chance.choice('KQZ')}" for _ in "ab"
    )
    return head + "".join(chance.choice(alphabet) for _ in range(length - len(head) - 1)) + "a"


def _alone(kind: str, make: Callable[[random.Random], str]) -> Callable[[random.Random], Planted]:
    def plant(chance: random.Random) -> Planted:
        secret = make(chance)
        return Planted(secret, secret, kind)

    return plant


def _in(
    kind: str, form: str, length: int = 24, alphabet: str = BASE62
) -> Callable[[random.Random], Planted]:
    def plant(chance: random.Random) -> Planted:
        secret = drawn(chance, length, alphabet)
        return Planted(form.replace("%", secret), secret, kind)

    return plant


def _private_key(name: str) -> Callable[[random.Random], Planted]:
    def plant(chance: random.Random) -> Planted:
        lines = [drawn(chance, 64, BASE62 + "+/") for _ in range(5)]
        ends = [f"-----{word} {name}PRIVATE" + " KEY-----" for word in ("BEGIN", "END")]
        text = "\n".join((ends[0], *lines, ends[1]))
        return Planted(text, lines[2], "private_key")

    return plant


def _slack_webhook(chance: random.Random) -> Planted:
    secret = f"T0{drawn(chance, 9)}/B0{drawn(chance, 9)}/{drawn(chance, 24)}"
    return Planted(_join("https://hooks.", "slack.com/services/", secret), secret, "slack_webhook")


def _join(*parts: str) -> str:
    return "".join(parts)


PLANTS: tuple[Callable[[random.Random], Planted], ...] = (
    _alone("anthropic_key", lambda c: _join("sk-", "ant-", "api03-", drawn(c, 90, URL64))),
    _alone("openai_key", lambda c: _join("sk", "-", drawn(c, 48))),
    _alone("openai_key", lambda c: _join("sk-", "proj-", drawn(c, 70, URL64))),
    *(
        _alone("github_token", lambda c, x=letter: _join("gh", x, "_", drawn(c, 36)))  # type: ignore[misc]
        for letter in "pousr"
    ),
    _alone("github_token", lambda c: _join("github", "_pat_", drawn(c, 22), "_", drawn(c, 59))),
    _alone(
        "aws_access_key_id",
        lambda c: _join(c.choice(["AK", "AS"]), "IA", "Q7K2", *c.choices("BCDFGHJ234567", k=12)),
    ),
    _in("aws_secret_key", "AWS_SECRET_ACCESS_KEY=%", 40, BASE62 + "/+"),
    _in("aws_secret_key", "aws_secret_access_key = '%'", 40, BASE62 + "/+"),
    _alone("google_api_key", lambda c: _join("AI", "za", drawn(c, 35, URL64))),
    _alone("observatory_key", lambda c: _join("ob", "s_", drawn(c, 43, URL64))),
    _alone("google_oauth_token", lambda c: _join("ya", "29.", drawn(c, 60, URL64))),
    _alone("slack_token", lambda c: _join("xo", "xb-", "904817263541-", drawn(c, 24))),
    _slack_webhook,
    *(
        _alone("stripe_key", lambda c, b=begin: _join(b, drawn(c, 24)))  # type: ignore[misc]
        for begin in ("sk_live_", "rk_live_", "sk_test_")
    ),
    _private_key("RSA "),
    _private_key(""),
    _private_key("OPENSSH "),
    _alone(
        "jwt",
        lambda c: ".".join(
            (
                _join("ey", "J", drawn(c, 30, URL64)),
                _join("ey", "J", drawn(c, 60, URL64)),
                drawn(c, 43),
            )
        ),
    ),
    _in("password", "export DB_PASSWORD=%", 12),
    _in("password", 'password: "%"', 12, BASE62 + "!#%&*+".replace("%", "")),
    _in("password", '{"password": "%", "user": "ada"}', 16),
    _in("password", "mysql --password=% -u ada", 16),
    _in("token", "token = '%'", 32, string.hexdigits.lower()),
    _in("token", "https://ada.test/?access_token=%&x=1", 32),
    _in("api_key", "const apiKey = `%`;", 32),
    _in("api_key", "X-Api-Key: %", 32),
    _in("api_key", '\\"api_key\\": \\"%\\"', 32),
    _in("secret", "client_secret: str = '%'", 32),
    _in("url_password", "postgres://ada:%@db.test:5432/engine", 16),
    _in("bearer_token", "Authorization: Bearer %", 40, URL64),
)


def rows_of(database: Path) -> dict[str, str]:
    """Return all rows of all tables as text, those of the search index too, and what is packed."""
    execute("CREATE VIRTUAL TABLE temp.words USING fts5vocab('main', 'message_search', 'row')")
    execute("CREATE VIRTUAL TABLE temp.titles USING fts5vocab('main', 'title_search', 'row')")
    told = {
        "words": repr(fetch_all("SELECT term FROM temp.words")),
        "titles": repr(fetch_all("SELECT term FROM temp.titles")),
    }
    execute("DROP TABLE temp.words")
    execute("DROP TABLE temp.titles")
    tables = fetch_all("SELECT name FROM sqlite_master WHERE type = 'table'")
    for (name,) in tables:
        if not name.endswith("_search"):
            told[name] = "\n".join(map(_as_text, fetch_all(f"SELECT * FROM {name}")))
    told["file"] = b"".join(
        path.read_bytes() for path in database.parent.glob(f"{database.name}*")
    ).decode("latin-1")
    return told


def _as_text(row: tuple[Any, ...]) -> str:
    return "\n".join(
        _unpacked(value) if isinstance(value, (bytes, memoryview)) else str(value) for value in row
    )


def _unpacked(value: bytes) -> str:
    try:
        return zstandard.decompress(bytes(value)).decode()
    except zstandard.ZstdError:
        return bytes(value).decode("latin-1")


def places_of(secret: str, database: Path) -> list[str]:
    """Return the tables in which a secret, or the longest word of it in the index, can be read."""
    words = "".join(c if c.isalnum() and c.isascii() else " " for c in secret.lower()).split()
    longest = max(words, key=len)
    told = rows_of(database)
    return [
        name
        for name, text in told.items()
        if secret in text or (name in ("words", "titles") and f"'{longest}'" in text)
    ]
