"""The tags that users filed conversations under."""

from __future__ import annotations

from typing import Any

from observatory.store.database import fetch_all
from observatory.store.scopes import Scope


def list_tags(*, limit: int, scope: Scope) -> list[dict[str, Any]]:
    """Return the tags of conversations that are not in the trash, the most used first.

    Args:
        limit: Largest number of tags to return.
        scope: What is there for who asks: other conversations are not counted.
    """
    rows = fetch_all(
        f"SELECT t.tag, count(*) FROM conversation_tags t{_that_are_there(scope)}"
        " GROUP BY t.tag ORDER BY count(*) DESC, t.tag LIMIT +?",
        (limit,),
    )
    return [{"tag": tag, "conversation_count": count} for tag, count in rows]


def _that_are_there(scope: Scope) -> str:
    """Return what narrows tags to those of conversations that are there, and not in the trash.

    For who sees everything no conversation is looked at: those in the trash are few.
    """
    if scope.is_whole:
        return (
            " WHERE t.conversation_key NOT IN (SELECT key FROM conversations"
            " INDEXED BY conversations_trashed WHERE deleted_at IS NOT NULL)"
        )
    return (
        " CROSS JOIN conversations c ON c.key = t.conversation_key"
        f" WHERE c.deleted_at IS NULL{scope.and_there('c')}"
    )
