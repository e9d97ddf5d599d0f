"""Where a message stands among those of its conversation."""

from __future__ import annotations

from observatory.errors import NotFound
from observatory.store.database import fetch_one

# All three are read from the index alone, however many messages there are.
_PLACE = "SELECT position, key FROM messages WHERE id = ? AND conversation_key = ?"
_BEFORE = "SELECT count(*) FROM messages WHERE conversation_key = ? AND (position, key) < (?, ?)"
_LAST_BEFORE = (
    "SELECT position, key FROM messages WHERE conversation_key = ?"
    " ORDER BY position, key LIMIT 1 OFFSET ?"
)


def find_place(message_id: str, conversation_key: int) -> tuple[int, int, int]:
    """Return how many messages stand before one, and its position and key.

    Raises:
        NotFound: There is none in this conversation.
    """
    found = fetch_one(_PLACE, (message_id, conversation_key))
    if found is None:
        raise NotFound("message", message_id)
    before = fetch_one(_BEFORE, (conversation_key, *found))
    assert before is not None
    return before[0], *found


def find_start(conversation_key: int, offset: int) -> tuple[int, int] | None:
    """Return position and key behind which a page begins; ``None`` when it has so many not."""
    if not offset:
        return -1, -1
    return fetch_one(_LAST_BEFORE, (conversation_key, offset - 1))
