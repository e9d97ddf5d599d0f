"""Which conversations somebody wants removed for good, and how much that is."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from observatory.store.conversations import family
from observatory.store.database import fetch_all, fetch_one


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to remove; each narrows.

    Attributes:
        project_path: What belongs to a project, also what sessions of others started in it.
        before: Where nothing was said since a time; with ``is_trash`` what is in the trash since.
        is_trash: What is in the trash.
    """

    project_path: str | None = None
    before: str | None = None
    is_trash: bool = False


def list_wanted(wanted: Wanted, *, only: str | None = None) -> list[tuple[int, str]]:
    """Return key and id of what to remove; what those started goes with them.

    Of ``before`` only what was said in a conversation itself is looked at here.

    Args:
        wanted: What somebody wants removed.
        only: The id of the one conversation to look at; ``None`` looks at all.
    """
    conditions = [
        "NOT EXISTS (SELECT 1 FROM deleted_conversations d WHERE d.id = c.id AND d.kind = c.kind)"
    ]
    parameters: dict[str, Any] = {
        "before": wanted.before,
        "path": wanted.project_path,
        "only": only,
    }
    if only is not None:
        conditions.append("c.id = :only")
    if wanted.project_path is not None:
        conditions.append("c.project_key = (SELECT key FROM projects WHERE path = :path)")
    elif not wanted.is_trash:
        conditions.append("c.parent_key IS NULL")
    if wanted.is_trash:
        conditions.append("c.deleted_at IS NOT NULL")
    if wanted.before is not None:
        column = "deleted_at" if wanted.is_trash else "updated_at"
        conditions.append(f"c.{column} < :before")
    rows = fetch_all(
        "SELECT c.key, c.id, c.parent_key FROM conversations c"
        f" WHERE {' AND '.join(conditions)} ORDER BY c.key",
        parameters,
    )
    chosen = {key for key, _, _ in rows}
    return [(key, name) for key, name, above in rows if not _is_below(above, chosen)]


def _is_below(key: int | None, chosen: set[int]) -> bool:
    """Tell whether a conversation, or one above it, is among some."""
    while key is not None:
        if key in chosen:
            return True
        row = fetch_one("SELECT parent_key FROM conversations WHERE key = ?", (key,))
        key = row[0] if row else None
    return False


@dataclass(slots=True)
class Amount:
    """How much some conversations are, with all that they started.

    ``bytes`` are of texts, as they are stored; ``live`` is in how many something was said a short
    while ago.
    """

    conversations: int = 0
    messages: int = 0
    bytes: int = 0
    live: int = 0
    oldest_at: str | None = None
    newest_at: str | None = None

    def add(self, key: int) -> None:
        """Add a conversation and all below it."""
        keys = json.dumps(family(key))
        [(count, oldest, newest, live)] = fetch_all(
            "SELECT count(*), min(c.created_at), max(c.updated_at), count(l.conversation_key)"
            " FROM conversations c LEFT JOIN live_conversations l ON l.conversation_key = c.key"
            " WHERE c.key IN (SELECT value FROM json_each(?))",
            (keys,),
        )
        [(messages, texts)] = fetch_all(_TEXTS.format(size=_sum(("content", "blocks"))), (keys,))
        [(_, tools)] = fetch_all(
            _TOOLS.format(size=_sum(("parameters", "result", "details"))), (keys,)
        )
        self.conversations += count
        self.live += live
        self.messages += messages
        self.bytes += texts + tools
        self.oldest_at = min(filter(None, (self.oldest_at, oldest)), default=None)
        self.newest_at = max(filter(None, (self.newest_at, newest)), default=None)


_TEXTS = (
    "SELECT count(*), {size} FROM messages"
    " WHERE conversation_key IN (SELECT value FROM json_each(?))"
)
_TOOLS = (
    "SELECT count(*), {size} FROM tool_uses"
    " WHERE conversation_key IN (SELECT value FROM json_each(?))"
)


def _sum(columns: Iterable[str]) -> str:
    each = " + ".join(f"coalesce(length(CAST({name} AS BLOB)), 0)" for name in columns)
    return f"coalesce(sum({each}), 0)"
