"""What an exported archive consists of: types of records, their fields, and what these may hold.

A record names others by ids that mean the same in every archive, never by keys of rows: the path
of a project or a transcript, the id of a conversation, message or model call. A field that is
``null`` is left out. The types come in the order of RECORDS: what a record names stands before it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from observatory.timestamps import parse_timestamp

FORMAT = "observatory-archive"
# Another major number is of records that a reader of this one would misunderstand; a higher minor
# one may have types and fields more, which are passed over.
MAJOR, MINOR = 1, 0
HEADER = "header"
END = "end"

_INT64 = 2**63
_MAX_TOKENS = 2**40
_MAX_NANODOLLARS = 2**60
_MAX_TITLE = 5000

# Says what is wrong with a value, or nothing.
Check = Callable[[Any], str | None]


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a record: what it may hold, and whether it may be left out."""

    check: Check
    is_optional: bool = False


def _text(value: Any) -> str | None:
    if not isinstance(value, str):
        return "is no text"
    return "has a NUL in it" if "\0" in value else None


def _name(value: Any) -> str | None:
    return _text(value) or (None if value else "is empty")


def _title(value: Any) -> str | None:
    # Titles are cut to far less; a word of more than 32 KiB the search index cuts in a character.
    too_long = f"has more than {_MAX_TITLE} characters"
    return _text(value) or (too_long if len(value) > _MAX_TITLE else None)


def _time(value: Any) -> str | None:
    return None if parse_timestamp(value) == value and value else "is no time such as" + _EXAMPLE


_EXAMPLE = " 2026-01-31T12:00:00.000Z"


def _flag(value: Any) -> str | None:
    return None if isinstance(value, bool) else "is neither true nor false"


def _number(least: int = 0, most: int = _INT64 - 1) -> Check:
    def check(value: Any) -> str | None:
        if type(value) is int and least <= value <= most:
            return None
        return f"is no whole number from {least} to {most}"

    return check


def _one_of(*values: str) -> Check:
    def check(value: Any) -> str | None:
        # What is no text may not be a key.
        if isinstance(value, str) and value in values:
            return None
        return f"is none of {', '.join(values)}"

    return check


def _hex(value: Any) -> str | None:
    try:
        bytes.fromhex(value)
    except (TypeError, ValueError):
        return "is no hexadecimal text"
    return None


def _json(*types: type) -> Check:
    def check(value: Any) -> str | None:
        if not isinstance(value, types):
            return "is no JSON of the kind that belongs there"
        return _unkeepable(value)

    return check


def _unkeepable(value: Any) -> str | None:
    """Say what in JSON data the database can not keep, or nothing."""
    waiting: list[Any] = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            if "\0" in item:
                return "has a NUL in it"
        elif isinstance(item, dict):
            waiting += item.keys()
            waiting += item.values()
        elif isinstance(item, list):
            waiting += item
    return None


def _list_of_names(value: Any) -> str | None:
    if not isinstance(value, list):
        return "is no list"
    wrong = next(filter(None, map(_name, value)), None)
    return f"has one that {wrong}" if wrong else None


def _counts(value: Any) -> str | None:
    number = _number()
    if not isinstance(value, dict):
        return "is no object"
    return next(
        (f"has one that {wrong}" for item in value.values() if (wrong := number(item))), None
    )


def _maybe(check: Check) -> Field:
    return Field(check, is_optional=True)


_count = _number()
_tokens = _number(0, _MAX_TOKENS)
_cost = _number(0, _MAX_NANODOLLARS)
_signed = _number(-_INT64)

Fields = Mapping[str, Field]


def _fields(required: Mapping[str, Check], optional: Mapping[str, Check]) -> Fields:
    return {
        **{name: Field(check) for name, check in required.items()},
        **{name: _maybe(check) for name, check in optional.items()},
    }


RECORDS: Mapping[str, Fields] = {
    "price": _fields(
        {
            "model": _name, "valid_from": _text, "input": _cost, "output": _cost,
            "cache_write_5m": _cost, "cache_write_1h": _cost, "cache_read": _cost,
            "fast_multiplier": _number(1, 1000), "source": _text, "created_at": _time,
        },
        {},
    ),
    "project": _fields(
        {"path": _name, "name": _text, "visibility": _one_of("everyone", "listed")},
        {
            "retention_days": _number(1, 36_500), "retention_action": _one_of("trash", "remove"),
            "retention_updated_at": _time,
        },
    ),
    "deleted_conversation": _fields(
        {"id": _name, "deleted_at": _time, "kind": _one_of("session", "subagent", "")}, {}
    ),
    "deleted_message": _fields({"id": _name, "conversation": _name}, {}),
    "conversation": _fields(
        {
            "id": _name, "kind": _one_of("session", "subagent"), "title": _title,
            "title_rank": _number(0, 9), "created_at": _time, "updated_at": _time,
            "metadata": _json(dict), "source": _one_of("transcript", "api"),
            "tags": _list_of_names,
        },
        {
            "parent": _name, "project": _name, "agent_id": _text, "agent_type": _text,
            "workflow_run_id": _text, "cwd": _text, "git_branch": _text, "client_version": _text,
            "entrypoint": _text, "copied_from": _name, "deleted_at": _time, "restored_at": _time,
        },
    ),
    "transcript_file": _fields(
        {"path": _name, "filename": _text, "role": _name, "created_at": _time},
        {"conversation": _name},
    ),
    "api_call": _fields(
        {
            "id": _name, "conversation": _name, "position": _count, "is_sidechain": _flag,
            "model": _text, "created_at": _time, "input_tokens": _tokens,
            "output_tokens": _tokens, "cache_creation_input_tokens": _tokens,
            "cache_read_input_tokens": _tokens, "cache_creation_5m_input_tokens": _tokens,
            "cache_creation_1h_input_tokens": _tokens, "web_search_requests": _tokens,
            "is_fast": _flag, "usage_quality": _one_of("exact", "undercounted"),
            "is_cost_reported": _flag,
        },
        {
            "file": _name, "usage_file": _name, "request_id": _text, "stop_reason": _text,
            "cost_nanodollars": _cost, "input_cost_nanodollars": _cost,
            "output_cost_nanodollars": _cost, "cache_write_cost_nanodollars": _cost,
            "cache_read_cost_nanodollars": _cost, "uncached_cost_nanodollars": _cost,
        },
    ),
    "message": _fields(
        {
            "id": _name, "conversation": _name, "position": _count, "generation": _count,
            "role": _one_of("user", "assistant", "system"), "kind": _name, "created_at": _time,
            "is_on_main_branch": _flag, "is_superseded": _flag, "content": _text,
        },
        {
            "file": _name, "parent_id": _text, "copy_of": _name, "api_call": _name,
            "ends_api_call": _flag, "model": _text, "cwd": _text, "git_branch": _text,
            "client_version": _text, "notes": _json(dict, list), "blocks": _json(dict, list),
        },
    ),
    "tool_use": _fields(
        {
            "conversation": _name, "id": _name, "name": _text,
            "status": _one_of("success", "error", "rejected", "interrupted", "running"),
            "is_error": _flag,
        },
        {
            "message": _name, "result_message": _name, "server": _text, "error_category": _text,
            "started_at": _time, "finished_at": _time, "execution_time_ms": _count,
            "reported_duration_ms": _signed, "subagent_id": _text,
            "parameters": _json(dict, list, str, int, float, bool), "result": _text,
            "details": _json(dict, list),
        },
    ),
    "summary": _fields({"message": _name, "summary": _text}, {}),
    "secret_finding": _fields(
        {"kind": _name, "place": _name, "hash": _name, "count": _count, "created_at": _time},
        {"message": _name, "conversation": _name},
    ),
    "budget": _fields(
        {
            "name": _text, "period": _one_of("day", "week", "month"), "timezone": _name,
            "created_at": _time, "updated_at": _time, "noted_percent": _count,
        },
        {
            "project": _name, "model": _name, "limit_nanodollars": _number(1),
            "limit_tokens": _number(1), "noted_period": _text,
        },
    ),
    "transcript_error": _fields(
        {
            "file": _name, "line": _count, "byte_start": _count, "byte_end": _count,
            "reason": _text,
        },
        {},
    ),
    "transcript_state": _fields(
        {
            "file": _name, "device": _signed, "inode": _signed, "size": _count,
            "modified_ns": _signed, "changed_ns": _signed, "byte_offset": _count,
            "line_count": _count, "has_open_line": _flag, "record_counts": _counts,
            "generation": _count, "status": _one_of("pending", "completed", "error"),
            "is_reread": _flag,
        },
        {
            "tail_hash": _hex, "error_message": _text, "last_modified": _time,
            "processed_at": _time,
        },
    ),
}  # fmt: skip


def find_fault(record_type: str, values: Mapping[str, Any]) -> str | None:
    """Say what is wrong with a record by itself, or nothing; fields that are not known may be."""
    for name, field in RECORDS[record_type].items():
        value = values.get(name)
        if value is None:
            if not field.is_optional:
                return f"it lacks {name}"
        elif wrong := field.check(value):
            return f"{name} {wrong}"
    return _find_contradiction(record_type, values)


def _find_contradiction(record_type: str, values: Mapping[str, Any]) -> str | None:
    given = _given(values)
    if record_type == "message" and "copy_of" in given and values["copy_of"] == values["id"]:
        return "it is a copy of itself"
    if record_type == "conversation":
        if "parent" in given and values["kind"] != "subagent":
            return "only a subagent has a parent"
        if values["updated_at"] < values["created_at"]:
            return "updated_at is before created_at"
    if record_type == "secret_finding" and ("message" in given) == ("conversation" in given):
        return "it takes either message or conversation"
    if record_type == "budget" and ("limit_tokens" in given) == ("limit_nanodollars" in given):
        return "it takes either limit_tokens or limit_nanodollars"
    return None


def _given(values: Mapping[str, Any]) -> Collection[str]:
    return {name for name, value in values.items() if value is not None}
