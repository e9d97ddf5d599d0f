"""The archive as records, one after the other, for an export: rows in, plain data out.

The caller holds one moment (``database.one_moment``). Each type is read in the order of its keys,
so that an import gives new keys in that order, and lists that are ordered by them stay the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
import zstandard

from observatory.store.database import fetch_one, iterate_named

_MESSAGES = """
    SELECT m.id, c.id AS conversation, m.position, f.path AS file, m.generation, m.role, m.kind,
        m.parent_id, o.id AS copy_of, a.id AS api_call,
        nullif(coalesce(a.message_key = m.key, 0), 0) AS ends_api_call, m.created_at, m.model,
        m.is_on_main_branch, m.is_superseded, m.cwd, m.git_branch, m.client_version, m.notes,
        m.blocks, m.content
    FROM messages m JOIN conversations c ON c.key = m.conversation_key
    LEFT JOIN transcript_files f ON f.key = m.file_key
    LEFT JOIN messages o ON o.key = m.copy_of_key
    LEFT JOIN api_calls a ON a.key = m.api_call_key
"""
_COSTS = (
    "a.cost_nanodollars, a.input_cost_nanodollars, a.output_cost_nanodollars,"
    " a.cache_write_cost_nanodollars, a.cache_read_cost_nanodollars, a.uncached_cost_nanodollars"
)
_FLAGS = frozenset(
    {
        "is_sidechain", "is_fast", "is_cost_reported", "is_on_main_branch", "is_superseded",
        "ends_api_call", "is_error", "has_open_line", "is_reread",
    }
)  # fmt: skip
_JSON = frozenset({"metadata", "tags", "notes", "blocks", "parameters", "record_counts"})
_decompress = zstandard.ZstdDecompressor().decompress


@dataclass(frozen=True, slots=True)
class _Type:
    """A type of record: what counts its rows, and the statements that return them in order."""

    table: str
    statements: tuple[str, ...]


_TYPES: Mapping[str, _Type] = {
    "price": _Type(
        "prices",
        (
            "SELECT model, valid_from, input, output, cache_write_5m, cache_write_1h, cache_read,"
            " fast_multiplier, source, created_at FROM prices ORDER BY model, valid_from",
        ),
    ),
    "project": _Type(
        "projects",
        (
            "SELECT p.path, p.name, p.visibility, r.days AS retention_days,"
            " r.action AS retention_action, r.updated_at AS retention_updated_at"
            " FROM projects p LEFT JOIN project_retention r ON r.project_key = p.key"
            " ORDER BY p.key",
        ),
    ),
    "deleted_conversation": _Type(
        "deleted_conversations",
        ("SELECT id, deleted_at, kind FROM deleted_conversations ORDER BY id",),
    ),
    "deleted_message": _Type(
        "deleted_messages",
        (
            "SELECT id, conversation_id AS conversation FROM deleted_messages"
            " ORDER BY id, conversation_id",
        ),
    ),
    "conversation": _Type(
        "conversations",
        (
            "SELECT c.id, c.kind, parent.id AS parent, p.path AS project, c.agent_id,"
            " c.agent_type, c.workflow_run_id, c.title, c.title_rank, c.created_at, c.updated_at,"
            " c.cwd, c.git_branch, c.client_version, c.entrypoint, copied.id AS copied_from,"
            " c.metadata, c.deleted_at, c.source, r.restored_at,"
            " (SELECT json_group_array(tag) FROM (SELECT tag FROM conversation_tags"
            " WHERE conversation_key = c.key ORDER BY tag)) AS tags"
            " FROM conversations c LEFT JOIN conversations parent ON parent.key = c.parent_key"
            " LEFT JOIN conversations copied ON copied.key = c.copied_from_key"
            " LEFT JOIN projects p ON p.key = c.project_key"
            " LEFT JOIN restored_conversations r ON r.conversation_key = c.key ORDER BY c.key",
        ),
    ),
    "transcript_file": _Type(
        "transcript_files",
        (
            "SELECT f.path, f.filename, f.role, c.id AS conversation, f.created_at"
            " FROM transcript_files f LEFT JOIN conversations c ON c.key = f.conversation_key"
            " ORDER BY f.key",
        ),
    ),
    "api_call": _Type(
        "api_calls",
        (
            "SELECT a.id, c.id AS conversation, f.path AS file, a.position, a.is_sidechain,"
            " u.path AS usage_file, a.request_id, a.model, a.created_at, a.stop_reason,"
            " a.input_tokens, a.output_tokens, a.cache_creation_input_tokens,"
            " a.cache_read_input_tokens, a.cache_creation_5m_input_tokens,"
            " a.cache_creation_1h_input_tokens, a.web_search_requests, a.is_fast,"
            f" a.usage_quality, {_COSTS}, a.is_cost_reported"
            " FROM api_calls a JOIN conversations c ON c.key = a.conversation_key"
            " LEFT JOIN transcript_files f ON f.key = a.file_key"
            " LEFT JOIN transcript_files u ON u.key = a.usage_file_key ORDER BY a.key",
        ),
    ),
    # A copy stands behind its original, whatever their keys are.
    "message": _Type(
        "messages",
        (
            f"{_MESSAGES} WHERE m.copy_of_key IS NULL OR m.copy_of_key < m.key ORDER BY m.key",
            f"{_MESSAGES} WHERE m.copy_of_key > m.key ORDER BY m.key",
        ),
    ),
    "tool_use": _Type(
        "tool_uses",
        (
            "SELECT c.id AS conversation, t.tool_use_id AS id, m.id AS message,"
            " r.id AS result_message, t.name, t.server, t.status, t.is_error, t.error_category,"
            " t.started_at, t.finished_at, t.execution_time_ms, t.reported_duration_ms,"
            " t.subagent_id, t.parameters, t.result, t.details"
            " FROM tool_uses t JOIN conversations c ON c.key = t.conversation_key"
            " LEFT JOIN messages m ON m.key = t.message_key"
            " LEFT JOIN messages r ON r.key = t.result_message_key ORDER BY t.key",
        ),
    ),
    "summary": _Type(
        "summaries", ("SELECT leaf_id AS message, summary FROM summaries ORDER BY leaf_id",)
    ),
    "secret_finding": _Type(
        "secret_findings",
        (
            "SELECT m.id AS message, c.id AS conversation, s.kind, s.place, s.hash, s.count,"
            " s.created_at FROM secret_findings s LEFT JOIN messages m ON m.key = s.message_key"
            " LEFT JOIN conversations c ON c.key = s.conversation_key ORDER BY s.key",
        ),
    ),
    "budget": _Type(
        "budgets",
        (
            "SELECT name, period, timezone, project_path AS project, model, limit_nanodollars,"
            " limit_tokens, created_at, updated_at, noted_period, noted_percent"
            " FROM budgets ORDER BY key",
        ),
    ),
    "transcript_error": _Type(
        "transcript_errors",
        (
            "SELECT f.path AS file, e.line, e.byte_start, e.byte_end, e.reason"
            " FROM transcript_errors e JOIN transcript_files f ON f.key = e.file_key"
            " ORDER BY e.key",
        ),
    ),
    "transcript_state": _Type(
        "transcript_files",
        (
            # What is being read at the moment is to be read on.
            "SELECT path AS file, device, inode, size, modified_ns, changed_ns, byte_offset,"
            " tail_hash, line_count, has_open_line, record_counts, generation,"
            " CASE status WHEN 'processing' THEN 'pending' ELSE status END AS status,"
            " is_reread, error_message, last_modified, processed_at"
            " FROM transcript_files ORDER BY key",
        ),
    ),
}


def count_records() -> dict[str, int]:
    """Return how many records of each type the archive has."""
    counted = {}
    for name, each in _TYPES.items():
        row = fetch_one(f"SELECT count(*) FROM {each.table}")
        assert row is not None
        counted[name] = int(row[0])
    return counted


def read_records() -> Iterator[dict[str, Any]]:
    """Yield all records, in the order of ``archive_records.RECORDS``."""
    for name, each in _TYPES.items():
        for statement in each.statements:
            for row in iterate_named(statement):
                yield _record(name, row)


def _record(record_type: str, row: dict[str, Any]) -> dict[str, Any]:
    record: dict[str, Any] = {"type": record_type}
    for column, value in row.items():
        if value is None:
            continue
        read = _READERS.get(column)
        record[column] = read(value) if read else value
    return record


def _read_details(blob: bytes) -> Any:
    return orjson.loads(_decompress(blob))


def _read_hash(blob: bytes) -> str:
    return bytes(blob).hex()


# Stored JSON is read and written anew: whoever wrote it, the same data is the same bytes.
_READERS: Mapping[str, Callable[[Any], Any]] = {
    **dict.fromkeys(_FLAGS, bool),
    **dict.fromkeys(_JSON, orjson.loads),
    "details": _read_details,
    "tail_hash": _read_hash,
}
