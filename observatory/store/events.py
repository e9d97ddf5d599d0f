"""Events in their order: what they are about, for whom they are, and what they say.

Two steps, for most events are for nobody who listens: ``read_events`` tells of each what decides
that, ``make_bodies`` reads what the wanted ones say.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple

import orjson
from orjson import Fragment

from observatory.store.database import execute, fetch_all, fetch_one
from observatory.store.event_notes import (
    ANALYTICS_UPDATE,
    BUDGET_THRESHOLD,
    CONVERSATION_DELETED,
    FILE_PROCESSING_UPDATE,
    MESSAGE_ADDED,
    PROJECT_DISCOVERED,
    TOOL_USE_FINISHED,
)
from observatory.store.scopes import WHOLE, Scope
from observatory.store.tool_uses import shown_status

# Of a message, what a line of a list needs; the whole of it has an address of its own.
MAX_CONTENT_CHARACTERS = 4000
MAX_ARGUMENT_CHARACTERS = 500


class Member(NamedTuple):
    """A conversation, or one above it: what started it."""

    id: str
    project_key: int | None


@dataclass(frozen=True, slots=True)
class Event:
    """Something that changed.

    Attributes:
        id: Its number; a later one's is greater.
        type: One of ``event_notes.TYPES``.
        created_at: When it was noted.
        family: Its conversation and those above it; empty when it is about none.
        project_key: The project that it is about, or its conversation's.
        project_path: Its working directory.
        role: Of a message.
        tools: The tool that ended, or those that a message calls.
        conversation_key: Its conversation while it is there.
        subject_key: A message, a file, a project or a budget.
        subject_id: A tool use.
        data: What was noted with it.
        needs_whole: Whether it is only for who sees everything.
        projects: Those that all have to be there for who may know of it; 0 is none.
    """

    id: int
    type: str
    created_at: str
    family: tuple[Member, ...]
    project_key: int | None
    project_path: str | None
    role: str | None
    tools: tuple[str, ...]
    conversation_key: int | None
    subject_key: int | None
    subject_id: str | None
    data: dict[str, Any]
    needs_whole: bool = False
    projects: tuple[int, ...] = ()

    def is_there(self, scope: Scope) -> bool:
        """Tell whether somebody may know of it."""
        if scope.is_whole:
            return True
        if self.needs_whole or not all(scope.allows(key or None) for key in self.projects):
            return False
        if self.family:
            return all(scope.allows(member.project_key) for member in self.family)
        return scope.allows(self.project_key)


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events somebody wants; what is not given does not narrow.

    Attributes:
        types: Their types.
        project_path: Those of one project.
        conversation_id: Those of a conversation and of all that it started.
        role: Messages of one role.
        tool: Uses of one tool, and the messages that call it.
    """

    types: frozenset[str] = field(default_factory=frozenset)
    project_path: str | None = None
    conversation_id: str | None = None
    role: str | None = None
    tool: str | None = None

    def takes(self, event: Event) -> bool:
        """Tell whether an event is wanted."""
        return (
            (not self.types or event.type in self.types)
            and (self.project_path is None or event.project_path == self.project_path)
            and (
                self.conversation_id is None
                or any(member.id == self.conversation_id for member in event.family)
            )
            and (self.role is None or event.role == self.role)
            and (self.tool is None or self.tool in event.tools)
        )

    def list_types(self) -> frozenset[str] | None:
        """Return the types that wanted events can have, or ``None`` for any."""
        possible = [frozenset(self.types)] if self.types else []
        if self.role is not None:
            possible.append(frozenset((MESSAGE_ADDED,)))
        if self.tool is not None:
            possible.append(frozenset((MESSAGE_ADDED, TOOL_USE_FINISHED)))
        return frozenset.intersection(*possible) if possible else None


EVERYTHING = EventFilter()


class Bounds(NamedTuple):
    """The ids of the oldest event that is kept and of the newest there was; 0 without any."""

    oldest: int
    latest: int

    def has_gap_after(self, event_id: int) -> bool:
        """Tell whether events behind a place are lost, or the place is of another archive."""
        return event_id + 1 < self.oldest or event_id > self.latest


def read_bounds() -> Bounds:
    """Return between which ids the events are that can be had."""
    row = fetch_one(
        "SELECT (SELECT min(id) FROM events),"
        " (SELECT seq FROM sqlite_sequence WHERE name = 'events')"
    )
    assert row is not None
    oldest, latest = row
    latest = latest or 0
    return Bounds(latest + 1 if oldest is None else oldest, latest)


_SELECT = """
    SELECT e.id, e.type, e.created_at, e.conversation_key, e.subject_key, e.subject_id, e.data,
        c.id, c.project_key, c.parent_key, c.deleted_at, m.role, m.key,
        CASE WHEN m.role = 'assistant' THEN
            (SELECT json_group_array(name) FROM tool_uses
            WHERE message_key = coalesce(m.copy_of_key, m.key)) END,
        t.name
    FROM events e
    LEFT JOIN conversations c ON c.key = e.conversation_key
    LEFT JOIN messages m ON e.type = 'message_added' AND m.key = e.subject_key
        AND m.conversation_key = e.conversation_key
    LEFT JOIN tool_uses t ON e.type = 'tool_use_finished'
        AND t.conversation_key = e.conversation_key AND t.tool_use_id = e.subject_id
    WHERE e.id > ? AND e.id <= ?{types} ORDER BY e.id {direction} LIMIT +?
"""
_IN_ORDER = _SELECT.format(types="", direction="")


class Batch(NamedTuple):
    """Events, and the id up to which all were looked at; ``is_last`` when there are no more."""

    events: list[Event]
    position: int
    is_last: bool


def read_events(after: int, *, limit: int, until: int = 2**63 - 1) -> Batch:
    """Return the next events behind an id, of which those are left out whose subject is gone.

    Args:
        after: The id behind which to begin.
        limit: How many to look at.
        until: The last id to look at.
    """
    rows = fetch_all(_IN_ORDER, (after, until, limit))
    position = rows[-1][0] if rows else after
    return Batch(_make_events(rows), position, len(rows) < limit)


def _make_events(rows: Sequence[tuple[Any, ...]]) -> list[Event]:
    """Return the events of rows, without those whose subject is gone."""
    families = _find_families({row[3] for row in rows if row[9] is not None})
    file_families = _find_file_families(rows)
    projects = _find_projects(rows, file_families)
    budgets = _find_budgets(row[4] for row in rows if row[1] == BUDGET_THRESHOLD)
    events = []
    for row in rows:
        event = (
            _budget_event(row, budgets)
            if row[1] == BUDGET_THRESHOLD
            else _event(row, families, projects, file_families)
        )
        if event is not None:
            events.append(event)
    return events


def _event(
    row: tuple[Any, ...],
    families: dict[int, tuple[Member, ...]],
    projects: dict[int, str],
    files: dict[int, tuple[tuple[Member, ...], bool]],
) -> Event | None:
    (
        event_id, event_type, created_at, conversation_key, subject_key, subject_id, data,
        conversation_id, project_key, parent_key, deleted_at, role, message_key, called, tool,
    ) = row  # fmt: skip
    noted: dict[str, Any] = json.loads(data) if data else {}
    family: tuple[Member, ...] = ()
    tools: tuple[str, ...] = ()
    needs_whole = False
    if conversation_key is not None:
        if conversation_id is None or deleted_at is not None:
            return None
        family = (Member(conversation_id, project_key),)
        if parent_key is not None:
            family += families.get(conversation_key, ())
    if event_type == MESSAGE_ADDED:
        if message_key is None:
            return None
        tools = tuple(json.loads(called)) if called else ()
    elif event_type == TOOL_USE_FINISHED:
        if tool is None:
            return None
        tools = (tool,)
    elif event_type == CONVERSATION_DELETED:
        family = tuple(map(Member, noted["family"], noted["projects"]))
        project_key = noted["projects"][0]
    elif event_type in (PROJECT_DISCOVERED, ANALYTICS_UPDATE):
        project_key = subject_key
        if project_key not in projects:
            return None
    elif event_type == FILE_PROCESSING_UPDATE:
        if subject_key not in files:
            return None
        family, needs_whole = files[subject_key]
        project_key = family[0].project_key if family else None
    return Event(
        event_id, event_type, created_at, family, project_key,
        None if project_key is None else projects.get(project_key),
        role, tools, conversation_key, subject_key, subject_id, noted, needs_whole,
    )  # fmt: skip


def _budget_event(row: tuple[Any, ...], budgets: dict[int, _Budget]) -> Event | None:
    """Return an event of a budget: for whom its project is there, and all that was counted."""
    event_id, event_type, created_at, _, key, _, data, *_ = row
    budget = budgets.get(key)
    if budget is None:
        return None
    noted = json.loads(data)
    return Event(
        event_id, event_type, created_at, (), budget.project_key,
        None if budget.project_key is None else budget.project_path,
        None, (), None, key, None, noted,
        needs_whole=budget.project_key is None, projects=tuple(noted["projects"]),
    )  # fmt: skip


class _Budget(NamedTuple):
    """A budget as events tell of it; without a project that is there it has no key of one."""

    name: str
    project_path: str | None
    project_key: int | None


def _find_budgets(keys: Iterable[int | None]) -> dict[int, _Budget]:
    wanted = _keys(keys)
    if wanted == "[]":
        return {}
    rows = fetch_all(
        "SELECT b.key, b.name, b.project_path, p.key FROM budgets b"
        " LEFT JOIN projects p ON p.path = b.project_path"
        " WHERE b.key IN (SELECT value FROM json_each(?))",
        (wanted,),
    )
    return {key: _Budget(*values) for key, *values in rows}


# Left alone, SQLite reads all conversations, for each of which it looks among those few.
_ABOVE = """
    WITH RECURSIVE above (start, depth, key, parent_key) AS (
        SELECT key, 0, key, parent_key FROM conversations
        WHERE key IN (SELECT value FROM json_each(?))
        UNION SELECT above.start, above.depth + 1, c.key, c.parent_key FROM above
        CROSS JOIN conversations c ON c.key = above.parent_key WHERE above.depth < 100)
    SELECT above.start, c.id, c.project_key
    FROM above CROSS JOIN conversations c ON c.key = above.key
    WHERE above.depth >= ? ORDER BY above.start, above.depth
"""


def _find_families(keys: Collection[int], *, depth: int = 1) -> dict[int, tuple[Member, ...]]:
    """Return the conversations above some, the nearest first; with themselves at depth 0."""
    found: dict[int, tuple[Member, ...]] = {}
    if keys:
        for start, identifier, project_key in fetch_all(_ABOVE, (json.dumps(list(keys)), depth)):
            found[start] = (*found.get(start, ()), Member(identifier, project_key))
    return found


def _find_projects(
    rows: Iterable[tuple[Any, ...]], files: dict[int, tuple[tuple[Member, ...], bool]]
) -> dict[int, str]:
    """Return the paths of all projects that some events are about, their files' included."""
    keys = {family[0].project_key for family, _ in files.values() if family}
    for row in rows:
        if row[8] is not None:
            keys.add(row[8])
        elif row[1] in (PROJECT_DISCOVERED, ANALYTICS_UPDATE):
            keys.add(row[4])
        elif row[1] == CONVERSATION_DELETED:
            keys.add(json.loads(row[6])["projects"][0])
    keys.discard(None)
    if not keys:
        return {}
    return dict(
        fetch_all(
            "SELECT key, path FROM projects WHERE key IN (SELECT value FROM json_each(?))",
            (json.dumps(list(keys)),),
        )
    )


def _find_file_families(
    rows: Iterable[tuple[Any, ...]],
) -> dict[int, tuple[tuple[Member, ...], bool]]:
    """Return of files their conversations with those above, and whether they belong to none."""
    keys = [row[4] for row in rows if row[1] == FILE_PROCESSING_UPDATE]
    if not keys:
        return {}
    found = fetch_all(
        "SELECT key, conversation_key FROM transcript_files"
        " WHERE key IN (SELECT value FROM json_each(?))",
        (json.dumps(keys),),
    )
    families = _find_families({row[1] for row in found if row[1] is not None}, depth=0)
    return {
        key: (families.get(conversation, ()), conversation is None) for key, conversation in found
    }


def make_bodies(events: Sequence[Event]) -> list[bytes]:
    """Return what events say, as JSON, in their order; what is gone meanwhile says nothing."""
    conversations = _read_documents(events)
    messages = _read_messages(events)
    uses = _read_tool_uses(events)
    files = _read_files(events)
    budgets = _find_budgets(e.subject_key for e in events if e.type == BUDGET_THRESHOLD)
    bodies = []
    for event in events:
        data: Any = None
        if event.type == MESSAGE_ADDED:
            data = {"message": messages.get(event.subject_key or 0)}
        elif event.type == TOOL_USE_FINISHED:
            data = {"tool_use": uses.get((event.conversation_key or 0, event.subject_id or ""))}
        elif event.type == CONVERSATION_DELETED:
            data = {"is_permanent": event.data["is_permanent"]}
        elif event.type == FILE_PROCESSING_UPDATE:
            data = {"file": {**files.get(event.subject_key or 0, {}), **event.data}}
        elif event.type == BUDGET_THRESHOLD:
            data = _tell_budget(event, budgets)
        elif event.conversation_key is not None:
            data = {"conversation": conversations.get(event.conversation_key)}
        else:
            data = {"project": {"id": event.project_key, "path": event.project_path}}
        bodies.append(
            orjson.dumps(
                {
                    "id": event.id,
                    "type": event.type,
                    "created_at": event.created_at,
                    "conversation_id": event.family[0].id if event.family else None,
                    "project_path": event.project_path,
                    "data": data,
                }
            )
        )
    return bodies


def _keys(values: Iterable[Any]) -> str:
    return json.dumps(sorted({value for value in values if value is not None}))


def _read_documents(events: Iterable[Event]) -> dict[int, Fragment]:
    keys = _keys(
        event.conversation_key
        for event in events
        if event.type not in (MESSAGE_ADDED, TOOL_USE_FINISHED)
    )
    rows = fetch_all(
        "SELECT key, document FROM conversations WHERE key IN (SELECT value FROM json_each(?))",
        (keys,),
    )
    return {key: Fragment(document) for key, document in rows}


_MESSAGES = f"""
    SELECT m.key, m.id, c.id, m.position, m.role, m.kind,
        substr(coalesce(o.content, m.content), 1, {MAX_CONTENT_CHARACTERS}),
        length(coalesce(o.content, m.content)), m.created_at, m.model, m.parent_id,
        coalesce(o.key, m.key),
        CASE WHEN a.message_key = m.key THEN a.input_tokens + a.output_tokens
            + a.cache_creation_input_tokens + a.cache_read_input_tokens ELSE 0 END
    FROM messages m JOIN conversations c ON c.key = m.conversation_key
    LEFT JOIN messages o ON o.key = m.copy_of_key
    LEFT JOIN api_calls a ON a.key = m.api_call_key
    WHERE m.key IN (SELECT value FROM json_each(?))
"""


def _read_messages(events: Iterable[Event]) -> dict[int, dict[str, Any]]:
    keys = _keys(event.subject_key for event in events if event.type == MESSAGE_ADDED)
    if keys == "[]":
        return {}
    rows = fetch_all(_MESSAGES, (keys,))
    calls: dict[int, list[dict[str, Any]]] = {}
    for message_key, tool_use_id, name, status, started_at, arguments in fetch_all(
        "SELECT message_key, tool_use_id, name, status, started_at,"
        f" substr(parameters, 1, {MAX_ARGUMENT_CHARACTERS}) FROM tool_uses"
        " WHERE message_key IN (SELECT value FROM json_each(?)) ORDER BY key",
        (_keys(row[11] for row in rows if row[4] == "assistant"),),
    ):
        call = {
            "id": tool_use_id,
            "name": name,
            "status": shown_status(status, started_at),
            "arguments_preview": arguments,
        }
        calls.setdefault(message_key, []).append(call)
    return {
        row[0]: {
            "id": row[1],
            "conversation_id": row[2],
            "position": row[3],
            "role": row[4],
            "kind": row[5],
            "content": row[6],
            "content_length": row[7],
            "is_truncated": row[7] > MAX_CONTENT_CHARACTERS,
            "timestamp": row[8],
            "model": row[9],
            "parent_id": row[10],
            "token_count": row[12],
            "tool_calls": calls.get(row[11], []),
        }
        for row in rows
    }


def _tell_budget(event: Event, budgets: dict[int, _Budget]) -> dict[str, Any]:
    budget = budgets.get(event.subject_key or 0)
    if budget is None:
        return {"budget": None}
    numbers = {name: value for name, value in event.data.items() if name != "projects"}
    return {"budget": {"id": event.subject_key, "name": budget.name}, **numbers}


_TOOL_USE_NAMES = (
    "id", "message_id", "name", "server", "status", "is_error", "error_category",
    "started_at", "finished_at", "execution_time_ms", "reported_duration_ms", "subagent_id",
)  # fmt: skip


def _read_tool_uses(events: Iterable[Event]) -> dict[tuple[int, str], dict[str, Any]]:
    wanted = [
        (event.conversation_key, event.subject_id)
        for event in events
        if event.type == TOOL_USE_FINISHED
    ]
    if not wanted:
        return {}
    rows = fetch_all(
        "SELECT t.conversation_key, t.tool_use_id, m.id, t.name, t.server, t.status, t.is_error,"
        " t.error_category, t.started_at, t.finished_at, t.execution_time_ms,"
        " t.reported_duration_ms, t.subagent_id FROM json_each(?) w CROSS JOIN tool_uses t"
        " ON t.conversation_key = w.value ->> 0 AND t.tool_use_id = w.value ->> 1"
        " LEFT JOIN messages m ON m.key = t.message_key",
        (orjson.dumps(wanted).decode(),),
    )
    found = {}
    for conversation_key, *values in rows:
        use = dict(zip(_TOOL_USE_NAMES, values, strict=True))
        use["is_error"] = bool(use["is_error"])
        found[conversation_key, values[0]] = use
    return found


def _read_files(events: Iterable[Event]) -> dict[int, dict[str, Any]]:
    keys = _keys(event.subject_key for event in events if event.type == FILE_PROCESSING_UPDATE)
    rows = fetch_all(
        "SELECT key, filename, path, size, line_count, bad_line_count, byte_offset, error_message"
        " FROM transcript_files WHERE key IN (SELECT value FROM json_each(?))",
        (keys,),
    )
    names = (
        "id", "filename", "file_path", "size", "line_count", "bad_line_count", "byte_offset",
        "error_message",
    )  # fmt: skip
    return {row[0]: dict(zip(names, row, strict=True)) for row in rows}


class Page(NamedTuple):
    """Wanted events with what they say, and where to go on.

    Attributes:
        bodies: What they say, as JSON, the oldest first.
        position: The id up to which all were looked at.
        has_more: Whether there may be more behind it at once.
    """

    bodies: list[bytes]
    position: int
    has_more: bool


# So many events are looked at for one answer, wanted or not.
MAX_LOOKED_AT = 5000
_PIECE = 500
_PIECE_BEHIND = "SELECT max(id), count(*) FROM (SELECT id FROM events WHERE id > ? LIMIT +?)"


@dataclass(frozen=True, slots=True)
class _Search:
    """Looks for events that somebody may know of and wants, a few at a time.

    Attributes:
        scope: What is there for whom it is.
        wanted: Which of them.
        limit: How many are read at once: mostly as many are needed.
    """

    scope: Scope
    wanted: EventFilter
    limit: int

    def walk(self, after: int, until: int, *, is_newest_first: bool = False) -> Iterator[Event]:
        """Yield those between two ids, of which the second is in it."""
        types = self.wanted.list_types()
        # What is not of these types costs no more than a look at its row.
        narrowing = "" if types is None else f" AND e.type IN ({', '.join('?' * len(types))})"
        sql = _SELECT.format(types=narrowing, direction="DESC" if is_newest_first else "")
        while True:
            rows = fetch_all(sql, (after, until, *sorted(types or ()), self.limit))
            for event in _make_events(rows):
                if event.is_there(self.scope) and self.wanted.takes(event):
                    yield event
            if len(rows) < self.limit:
                return
            if is_newest_first:
                until = rows[-1][0] - 1
            else:
                after = rows[-1][0]


def list_events(
    after: int, *, limit: int, scope: Scope = WHOLE, wanted: EventFilter = EVERYTHING
) -> Page:
    """Return the next events behind an id that somebody may know of and wants.

    Args:
        after: The id behind which to begin.
        limit: How many to return at most.
        scope: What is there for whom it is.
        wanted: Which of them.
    """
    search = _Search(scope, wanted, limit)
    found: list[Event] = []
    position, looked_at = after, 0
    while True:
        [(last, number)] = fetch_all(_PIECE_BEHIND, (position, _PIECE))
        last = position if last is None else last
        looked_at += _PIECE
        for event in search.walk(position, last):
            found.append(event)
            if len(found) == limit:
                # Those behind it are looked at by the next question.
                has_more = number == _PIECE or event.id < last
                return Page(make_bodies(found), event.id, has_more)
        position = last
        if number < _PIECE or looked_at >= MAX_LOOKED_AT:
            return Page(make_bodies(found), position, number == _PIECE)


def find_newest(limit: int, *, scope: Scope = WHOLE, wanted: EventFilter = EVERYTHING) -> int:
    """Return the id behind which are the newest wanted events, so many of them at most."""
    oldest, latest = read_bounds()
    start = max(oldest - 1, latest - MAX_LOOKED_AT)
    found = _Search(scope, wanted, limit).walk(start, latest, is_newest_first=True)
    last = next(islice(found, limit - 1, None), None)
    return start if last is None else last.id - 1


def find_last(event_type: str) -> int:
    """Return the id of the last event of a type that is kept, or 0."""
    row = fetch_one("SELECT id FROM events WHERE type = ? ORDER BY id DESC LIMIT 1", (event_type,))
    return row[0] if row else 0


def find_oldest_time() -> str | None:
    """Return when the oldest event that is kept was noted."""
    row = fetch_one("SELECT created_at FROM events ORDER BY id LIMIT 1")
    return row[0] if row else None


def find_newest_time() -> str | None:
    """Return when the newest event that is kept was noted."""
    row = fetch_one("SELECT created_at FROM events ORDER BY id DESC LIMIT 1")
    return row[0] if row else None


def expire_events(*, before: str, keep: int) -> int:
    """Delete events from before a time, and all but the newest; return how many.

    Inside a transaction. A bounded number at once, for writers wait meanwhile.
    """
    return execute(
        "DELETE FROM events WHERE id IN (SELECT id FROM events WHERE id < max("
        "coalesce((SELECT id FROM events WHERE created_at >= ?1 ORDER BY id LIMIT 1),"
        " (SELECT max(id) + 1 FROM events)), (SELECT max(id) + 1 FROM events) - ?2)"
        " ORDER BY id LIMIT 10000)",
        (before, keep),
    )
