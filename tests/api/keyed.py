"""A client that every test's database knows: its key may do everything."""

from __future__ import annotations

from typing import Any

import webtest

from observatory.accounts.credentials import hash_secret, make_key, shown_part
from observatory.accounts.permissions import ADMIN
from observatory.live.handing_over import STREAM_SECONDS
from observatory.store.api_keys import insert_key

KEY = make_key()
# A stream ends once it has told what there is.
SHORT_STREAMS = {STREAM_SECONDS: 0.0}
ENVIRON = {"HTTP_AUTHORIZATION": f"Bearer {KEY}", **SHORT_STREAMS}


def add_key() -> None:
    """Let the tests' key into the connected database."""
    insert_key(
        name="tests",
        key_hash=hash_secret(KEY),
        prefix=shown_part(KEY),
        scopes=[ADMIN],
        project_keys=None,
        user_key=None,
        expires_at=None,
    )


class KeyedApp(webtest.TestApp):  # type: ignore[misc]
    """A client that sends the tests' key, unless a request says who it is itself."""

    def __init__(self, app: Any, **options: Any) -> None:
        super().__init__(app, extra_environ=dict(ENVIRON), **options)
