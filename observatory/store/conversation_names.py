"""The names by which people at a command line call conversations and projects.

An id of a conversation is long; its beginning will do while no other one begins like that. What a
session started is named ``<session>.<its own id>``: there the beginnings of both do. A project goes
by its path, or by the name of its folder while no other one is named like that.
"""

from __future__ import annotations

from itertools import takewhile

from observatory.store.database import fetch_all, fetch_one

# Fewer characters name a conversation by chance only.
LEAST_CHARACTERS = 4
SHORT_CHARACTERS = 7
SHORT_OWN_CHARACTERS = 4
_LAST = chr(0x10FFFF)
# What comes next after a dot: ids from "a." to "a/" are those of what "a" started.
_BEHIND_DOT = "/"

_MEANT = """
    SELECT id FROM conversations WHERE id >= :first AND id < :first || :last
    AND deleted_at IS NULL AND {condition} ORDER BY id LIMIT :limit
"""
_IS_SESSION = "instr(id, '.') = 0"
_IS_STARTED = "instr(id, '.') > 0 AND substr(id, instr(id, '.') + 1, length(:own)) = :own"


def find_conversation_ids(text: str, *, limit: int) -> list[str]:
    """Return the ids that a text means, in their order: the id that it is, or those it begins.

    Without a dot it means what no session started, as long as there is such a one.

    Args:
        text: At least ``LEAST_CHARACTERS`` of an id, or the whole of a shorter one.
        limit: How many to return at most.
    """
    exact = fetch_one("SELECT id FROM conversations WHERE deleted_at IS NULL AND id = ?", (text,))
    if exact is not None:
        return [exact[0]]
    if len(text) < LEAST_CHARACTERS:
        return []
    first, dot, own = text.partition(".")
    for condition in (_IS_STARTED,) if dot else (_IS_SESSION, "1"):
        found = fetch_all(
            _MEANT.format(condition=condition),
            {"first": first, "last": _LAST, "own": own, "limit": limit},
        )
        if found:
            return [row[0] for row in found]
    return []


def shorten_conversation_id(conversation_id: str) -> str:
    """Return the shortest text of 7 characters or more that means this conversation now."""
    first, dot, own = conversation_id.partition(".")
    others = fetch_one(
        "SELECT (SELECT max(id) FROM conversations WHERE id < ?1),"
        " (SELECT min(id) FROM conversations WHERE id > ?1 AND id < ?1 || '.'),"
        " (SELECT min(id) FROM conversations WHERE id >= ?1 || ?2)",
        (first, _BEHIND_DOT),
    )
    short = _shorten(first, others, least=SHORT_CHARACTERS)
    if not dot:
        return short
    others = fetch_one(
        "SELECT (SELECT max(id) FROM conversations WHERE id < ?1 AND id >= ?2 || '.'),"
        " (SELECT min(id) FROM conversations WHERE id > ?1 AND id < ?2 || ?3)",
        (conversation_id, first, _BEHIND_DOT),
    )
    skipped = len(first) + len(dot)
    siblings = tuple((other or "")[skipped:] for other in others or ())
    return short + dot + _shorten(own, siblings, least=SHORT_OWN_CHARACTERS)


def _shorten(text: str, others: tuple[str | None, ...] | None, *, least: int) -> str:
    """Return the beginning of a text that none of its neighbours has."""
    shared = max(_count_shared(text, other or "") for other in others or ("",))
    return text[: max(least, shared + 1)]


def _count_shared(one: str, other: str) -> int:
    """Return how many characters two texts begin with alike."""
    pairs = zip(one, other, strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def find_project_paths(text: str, *, limit: int) -> list[str]:
    """Return the paths of the projects that a text means: one with this path, or of this name.

    Args:
        text: A path as it is stored, or the name of its last folder.
        limit: How many to return at most.
    """
    exact = fetch_one("SELECT path FROM projects WHERE path = ?", (text,))
    if exact is not None:
        return [exact[0]]
    rows = fetch_all(
        "SELECT path FROM projects WHERE name = ? ORDER BY path LIMIT ?", (text, limit)
    )
    return [row[0] for row in rows]
