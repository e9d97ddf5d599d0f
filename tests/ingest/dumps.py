"""What an archive holds, without what depends on when and in how many steps it was read."""

from __future__ import annotations

from typing import Any

from observatory.store.database import fetch_all
from observatory.store.search_parts import list_parts

QUERIES = {
    "conversations": """
        SELECT c.id, c.kind, parent.id, p.path, c.agent_id, c.agent_type, c.workflow_run_id,
            c.title, c.title_rank, c.created_at, c.updated_at, c.cwd, c.git_branch,
            c.client_version, c.entrypoint, copied.id, c.message_count, c.prompt_count,
            c.copied_message_count, c.tool_use_count, c.error_count, c.api_call_count,
            c.unpriced_call_count, c.undercounted_call_count, c.input_tokens, c.output_tokens,
            c.cache_creation_input_tokens, c.cache_read_input_tokens, c.total_tokens,
            c.cost_nanodollars, c.models
        FROM conversations c LEFT JOIN conversations parent ON parent.key = c.parent_key
        LEFT JOIN conversations copied ON copied.key = c.copied_from_key
        LEFT JOIN projects p ON p.key = c.project_key ORDER BY c.id""",
    "messages": """
        SELECT m.id, c.id, m.position, f.filename, m.role, m.kind, m.parent_id, o.id, a.id,
            m.created_at, m.model, m.is_on_main_branch, m.is_superseded, m.cwd, m.git_branch,
            m.client_version, m.notes, m.blocks, m.content
        FROM messages m JOIN conversations c ON c.key = m.conversation_key
        LEFT JOIN transcript_files f ON f.key = m.file_key
        LEFT JOIN messages o ON o.key = m.copy_of_key
        LEFT JOIN api_calls a ON a.key = m.api_call_key ORDER BY m.id""",
    "api_calls": """
        SELECT a.id, c.id, f.filename, a.position, m.id, a.is_sidechain, a.request_id, a.model,
            a.created_at, a.stop_reason, a.input_tokens, a.output_tokens,
            a.cache_creation_input_tokens, a.cache_read_input_tokens,
            a.cache_creation_5m_input_tokens, a.cache_creation_1h_input_tokens,
            a.web_search_requests, a.is_fast, a.cost_nanodollars, a.usage_quality,
            a.input_cost_nanodollars, a.output_cost_nanodollars, a.cache_write_cost_nanodollars,
            a.cache_read_cost_nanodollars, a.uncached_cost_nanodollars, a.is_cost_reported
        FROM api_calls a JOIN conversations c ON c.key = a.conversation_key
        LEFT JOIN transcript_files f ON f.key = a.file_key
        LEFT JOIN messages m ON m.key = a.message_key ORDER BY a.id""",
    "tool_uses": """
        SELECT c.id, t.tool_use_id, m.id, r.id, t.name, t.server, t.status, t.is_error,
            t.error_category, t.started_at, t.finished_at, t.execution_time_ms,
            t.reported_duration_ms, t.subagent_id, t.parameters, t.result, hex(t.details)
        FROM tool_uses t JOIN conversations c ON c.key = t.conversation_key
        LEFT JOIN messages m ON m.key = t.message_key
        LEFT JOIN messages r ON r.key = t.result_message_key ORDER BY c.id, t.tool_use_id""",
    "files": """
        SELECT f.filename, f.role, c.id, f.size, f.byte_offset, hex(f.tail_hash), f.line_count,
            f.has_open_line, f.bad_line_count, f.record_counts, f.status
        FROM transcript_files f LEFT JOIN conversations c ON c.key = f.conversation_key
        ORDER BY f.path""",
    "errors": """
        SELECT f.filename, e.line, e.byte_start, e.byte_end, e.reason FROM transcript_errors e
        JOIN transcript_files f ON f.key = e.file_key ORDER BY f.path, e.line, e.byte_start""",
    "summaries": "SELECT leaf_id, summary FROM summaries ORDER BY leaf_id",
    "projects": "SELECT path, name FROM projects ORDER BY path",
    "waiting": """
        SELECT count(*) FROM messages WHERE key >
            (SELECT value FROM totals WHERE name = 'indexed_message_key')""",
    "total": "SELECT value FROM totals WHERE name = 'conversations'",
}


def dump() -> dict[str, list[tuple[Any, ...]]]:
    """Return all rows of the connected database, keys resolved and in a fixed order."""
    indexed = [fetch_all(f"SELECT id FROM {part.table}_docsize") for part in list_parts()]
    rows = {name: fetch_all(query) for name, query in QUERIES.items()}
    return rows | {"indexed": [(sum(map(len, indexed)),)]}


def check_sound() -> None:
    """Assert that SQLite finds nothing wrong with file, foreign keys and search index."""
    assert fetch_all("PRAGMA integrity_check") == [("ok",)]
    assert fetch_all("PRAGMA foreign_key_check") == []
    # FTS5 can not scan a view with json_tree in it, so only the index itself is checked here.
    for part in list_parts():
        fetch_all(f"INSERT INTO {part.table} ({part.table}) VALUES ('integrity-check')")
    fetch_all("INSERT INTO title_search (title_search, rank) VALUES ('integrity-check', 1)")
