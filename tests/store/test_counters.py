"""Counters equal a recount by other means, after anything that can happen to an archive."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import invariant

from observatory.store import search_parts
from observatory.store.conversation_documents import make_documents
from observatory.store.database import fetch_all
from observatory.store.search_language import matching_query
from observatory.store.search_parts import list_parts
from tests.ingest.dumps import check_sound
from tests.store.archives import AnyArchive

COUNTED = """
    SELECT c.id,
        (SELECT count(*) FROM messages WHERE conversation_key = c.key),
        (SELECT count(copy_of_key) FROM messages WHERE conversation_key = c.key),
        (SELECT count(*) FROM messages WHERE conversation_key = c.key AND kind = 'prompt'),
        (SELECT count(message_key) FROM tool_uses WHERE conversation_key = c.key),
        (SELECT coalesce(sum(is_error), 0) FROM tool_uses WHERE conversation_key = c.key),
        count(a.key), sum(a.key IS NOT NULL AND a.cost_nanodollars IS NULL),
        coalesce(sum(a.usage_quality = 'undercounted'), 0),
        coalesce(sum(a.input_tokens), 0), coalesce(sum(a.output_tokens), 0),
        coalesce(sum(a.cache_creation_input_tokens), 0),
        coalesce(sum(a.cache_read_input_tokens), 0), coalesce(sum(a.input_tokens
            + a.output_tokens + a.cache_creation_input_tokens + a.cache_read_input_tokens), 0),
        coalesce(sum(a.cost_nanodollars), 0)
    FROM conversations c LEFT JOIN api_calls a ON a.conversation_key = c.key
    GROUP BY c.key ORDER BY c.id
"""
KEPT = """
    SELECT id, message_count, copied_message_count, prompt_count, tool_use_count, error_count,
        api_call_count, unpriced_call_count, undercounted_call_count, input_tokens, output_tokens,
        cache_creation_input_tokens, cache_read_input_tokens, total_tokens, cost_nanodollars
    FROM conversations ORDER BY id
"""

SUMMED = """
    SELECT p.path, count(c.key), count(iif(c.kind = 'session', 1, NULL)), {sums}
    FROM projects p LEFT JOIN conversations c ON c.project_key = p.key AND c.deleted_at IS NULL
    GROUP BY p.key ORDER BY p.path
"""
SUMS = (
    "message_count", "tool_use_count", "error_count", "api_call_count", "unpriced_call_count",
    "input_tokens", "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens",
    "total_tokens", "cost_nanodollars",
)  # fmt: skip


class Archive(AnyArchive):
    """Counters, documents and the search index are as they should be at every moment."""

    @invariant()
    def counters_equal_a_recount(self) -> None:
        assert fetch_all(KEPT) == fetch_all(COUNTED)
        [(total,)] = fetch_all("SELECT value FROM totals WHERE name = 'conversations'")
        assert [(total,)] == fetch_all("SELECT count(*) FROM conversations")
        kept = fetch_all("SELECT document, details, key FROM conversations ORDER BY key")
        assert kept == make_documents([key for *_, key in kept])

    @invariant()
    def sums_equal_those_over_conversations(self) -> None:
        kept = fetch_all(
            f"SELECT path, conversation_count, session_count, {', '.join(SUMS)} FROM projects"
            " ORDER BY path"
        )
        sums = ", ".join(f"coalesce(sum(c.{name}), 0)" for name in SUMS)
        assert kept == fetch_all(SUMMED.format(sums=sums))
        totals = dict(fetch_all("SELECT name, value FROM totals"))
        [counted] = fetch_all(
            "SELECT (SELECT count(*) FROM messages), (SELECT count(message_key) FROM tool_uses)"
        )
        assert (totals["messages"], totals["tool_uses"]) == counted

    @invariant()
    def the_index_holds_the_messages(self) -> None:
        check_sound()
        for word in ("apple", "plum", "cherry", "melon", "fig"):
            found = [
                fetch_all(f"SELECT rowid FROM {part.table}(?)", (matching_query(word),))
                for part in list_parts()
            ]
            said = fetch_all(
                "SELECT count(*) FROM messages m WHERE copy_of_key IS NULL AND (content LIKE ?1"
                " OR EXISTS (SELECT 1 FROM tool_uses WHERE message_key = m.key"
                " AND parameters LIKE ?1))",
                (f"%{word}%",),
            )
            assert [(sum(map(len, found)),)] == said, word


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    """Have the search index in many parts."""
    monkeypatch.setattr(search_parts, "PART_KEYS", 5)


TestArchive = Archive.TestCase
TestArchive.settings = settings(
    max_examples=60,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
