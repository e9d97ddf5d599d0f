"""What lets in: a key, an access token of a person, and an authenticator that looks at neither."""

import importlib
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

import orjson

from observatory import app
from observatory.accounts.keys import create_key
from observatory.accounts.permissions import ADMIN, ALL
from observatory.accounts.signing_in import Accounts
from observatory.accounts.tokens import Signer
from observatory.api.auth import Authenticator, Identity
from observatory.rate_limits import Limits
from observatory.settings import read_secret, read_settings
from observatory.store.audit import OPERATOR
from observatory.store.database import connect
from observatory.store.scopes import WHOLE
from observatory.store.users import find_user_by_email, insert_user
from tests.bench.processes import run_to_end

_EMAIL = "bench@example.org"


def make_key(env: dict[str, str], *, log: Path) -> str:
    """Return a key to the database of an environment, made by the command line."""
    command = [sys.executable, "-m", "observatory", "key", "add", "--name", "bench"]
    made = run_to_end([*command, "--scopes", ADMIN, "--json"], env=env, log=log)
    key: str = orjson.loads(made.output)["key"]
    return key


def make_credentials() -> dict[str, str]:
    """Return a new key and a new access token, by kind, for the application of this process."""
    connect()
    settings = read_settings()
    key, _ = create_key(name="bench", scopes=[ADMIN], actor=OPERATOR)
    user = find_user_by_email(_EMAIL) or insert_user(
        email=_EMAIL, name="", role="admin", password_hash="none"
    )
    signer = Signer(read_secret(settings))
    accounts = Accounts(signer, limits=Limits(), session_seconds=3600)
    token = accounts.access_token(accounts.begin_session(user, kind="token"))
    return {"key": key, "token": token}


class _Believing(Authenticator):
    """Takes everybody for the same one, without looking."""

    _who = Identity("key:1", "bench", ALL, WHOLE, None, None, float("inf"))

    def identify(self, *_: Any, **__: Any) -> Identity:
        """Return who it always is."""
        return self._who

    def finish(self, *_: Any, **__: Any) -> None:
        """Leave nothing behind."""


def build_believing() -> app.Application:
    """Return the application of this process, but with nobody asked who they are."""
    with patch.object(app, "Authenticator", _Believing):
        built: app.Application = importlib.import_module("observatory.wsgi").build()
    return built
