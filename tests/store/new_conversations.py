"""Conversations as clients make them."""

from __future__ import annotations

from typing import Any

import orjson

from observatory.store.new_conversations import insert_conversation
from observatory.store.scopes import WHOLE


def make_conversation(path: str | None = None, *, title: str = "mine", **given: Any) -> str:
    """Make a conversation of everybody's, unless another scope is given, and return its id."""
    named = {"project_name": path, "metadata": {}, "scope": WHOLE, **given}
    made = insert_conversation(title=title, project_path=path, **named)
    return str(orjson.loads(orjson.dumps(made))["id"])
