"""Conversations that clients make.

Many at once are one statement: each by itself would write out what the index of titles has gathered
(docs/decisions/0024-writes-together.md).
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any, NamedTuple

import orjson
from orjson import Fragment

from observatory.errors import Forbidden
from observatory.store.conversation_changes import encode_metadata, insert_tags
from observatory.store.conversation_documents import join_documents, make_first_documents
from observatory.store.conversation_states import USER_TITLE
from observatory.store.counters import NEXT_REVISION, count_new_conversations
from observatory.store.database import fetch_all
from observatory.store.new_ids import make_id
from observatory.store.places import ensure_place
from observatory.store.projects import ensure_project, find_project
from observatory.store.putting_off import put_off
from observatory.store.scopes import Scope
from observatory.store.search_language import spaced_title
from observatory.store.secrets import FindingRow, Found, insert_findings
from observatory.store.together import write_together
from observatory.timestamps import now


class _New(NamedTuple):
    """A conversation to insert; what it says of itself is JSON, as its documents are."""

    id: str
    title: str
    spaced_title: str
    moment: str
    metadata: str
    document: str
    details: str
    project: tuple[str, str] | None
    tags: Iterable[str]
    found: Found


_INSERT = f"""
    INSERT INTO conversations (id, title, cjk, created_at, updated_at, metadata, document, details,
        project_key, place_key, kind, source, title_rank, revision)
    SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 3, value ->> 4,
        value ->> 5, value ->> 6, value ->> 7, value ->> 8, 'session', 'api', {USER_TITLE},
        {NEXT_REVISION}
    FROM json_each(?) WHERE true RETURNING id, key
"""


def insert_conversation(
    *,
    title: str,
    project_path: str | None,
    project_name: str | None,
    metadata: dict[str, Any],
    scope: Scope,
    found: Found = (),
) -> Fragment:
    """Insert a conversation, with the secrets that were found in it, and return its JSON.

    Raises:
        Forbidden: It would not be there for who makes it.
    """
    # Others wait for the transaction, so it has nothing in it that can be done before.
    identifier, moment = make_id(), now()
    said = encode_metadata({name: value for name, value in metadata.items() if value is not None})
    document, details = make_first_documents(
        identifier=identifier, title=title, project_path=project_path, moment=moment, metadata=said
    )
    new = _New(
        identifier,
        title,
        spaced_title(title),
        moment,
        said,
        document,
        details,
        (project_path, project_name or project_path) if project_path else None,
        metadata.get("tags") or (),
        found,
    )

    def insert() -> None:
        _check_writable(project_path, scope=scope)
        put_off(_insert, new)

    write_together(insert)
    return join_documents(document, details, subagents=())


def _check_writable(path: str | None, *, scope: Scope) -> None:
    """Return quietly when somebody may write into a project, or into none (``None``).

    Raises:
        Forbidden: What they write would not be there for them.
    """
    # What is new is there for all but those who may see certain projects only.
    if scope.is_whole or scope.allows(find_project(path) if path else None):
        return
    if path is None:
        raise Forbidden("You may only write into certain projects: name one of /api/projects.")
    raise Forbidden(
        f"You may not write into the project {path!r}: take one of /api/projects,"
        " or ask an administrator for this one."
    )


def _insert(news: list[_New]) -> None:
    place = cache(_find_place)
    places = {new.id: place(new.project) for new in news}
    rows = [(*new[:7], *places[new.id]) for new in news]
    keys: dict[str, int] = dict(fetch_all(_INSERT, (orjson.dumps(rows).decode(),)))
    for new in news:
        insert_tags(keys[new.id], new.tags)
    insert_findings(
        FindingRow(None, keys[new.id], *finding) for new in news for finding in new.found
    )
    count_new_conversations({keys[new.id]: places[new.id][1] for new in news})


def _find_place(project: tuple[str, str] | None) -> tuple[int | None, int]:
    """Return the key of a project, by path and name, and where conversations of it stand."""
    key = None if project is None else ensure_project(project[0], name=project[1])
    return key, ensure_place(key)
