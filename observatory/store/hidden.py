"""Whether something is part of what is not there for somebody."""

from __future__ import annotations

import json
from collections.abc import Collection

from observatory.store.database import fetch_one
from observatory.store.scopes import Scope

# Those with some ids, and all that is or would be named after them: a session S starts S.a.
_CONVERSATIONS = (
    "SELECT 1 FROM json_each(?1) named CROSS JOIN conversations c ON (c.id = named.value"
    " OR (c.id > named.value || '.' AND c.id < named.value || '/')"
    " OR c.parent_key = (SELECT key FROM conversations WHERE id = named.value))"
)
_OWNED = (
    "SELECT 1 FROM {table} t JOIN conversations c ON c.key = t.conversation_key"
    " WHERE t.id IN (SELECT value FROM json_each(?1))"
)


def is_any_hidden(
    *,
    conversations: Collection[str],
    messages: Collection[str],
    api_calls: Collection[str],
    scope: Scope,
) -> bool:
    """Tell whether one of some ids is of something that is not there for somebody.

    Args:
        conversations: Ids of conversations; what they started, or could have, counts, too.
        messages: Ids of messages.
        api_calls: Ids of model responses.
        scope: What is there.
    """
    questions = (
        (_CONVERSATIONS, conversations),
        (_OWNED.format(table="messages"), messages),
        (_OWNED.format(table="api_calls"), api_calls),
    )
    is_hidden = f" AND (1{scope.and_there('c')}) IS NOT TRUE LIMIT 1"
    return any(
        fetch_one(sql + is_hidden, (json.dumps(list(ids)),)) is not None
        for sql, ids in questions
        if ids
    )


def is_any_unplaced(conversations: Collection[str]) -> bool:
    """Tell whether one of some conversations, or of what they started, has no project yet."""
    sql = _CONVERSATIONS + " WHERE c.project_key IS NULL LIMIT 1"
    return fetch_one(sql, (json.dumps(list(conversations)),)) is not None
