"""Counters equal a recount by other means, after anything that can happen to an archive."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from observatory.ingest.running import ingest
from observatory.store import schema
from observatory.store.conversation_documents import make_documents
from observatory.store.conversation_removal import delete_conversation
from observatory.store.database import close, configure, connect, fetch_all
from observatory.store.scopes import WHOLE
from observatory.store.search_language import matching_query
from tests.ingest.dumps import check_sound
from tests.transcripts_for_tests import Transcript

SESSIONS = tuple(f"{number}" * 8 + "-1111-4111-8111-111111111111" for number in range(1, 4))
MODELS = ("claude-opus-4-5", "claude-haiku-4-5", "glm-5")
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


class Archive(RuleBasedStateMachine):
    """Files grow, shrink, are copied and vanish; conversations are deleted; all is read anew."""

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="observatory-test-"))
        self.transcripts: dict[str, Transcript] = {}
        path = self.folder / "archive.db"
        configure(path)
        connect()
        schema.migrate()

    def transcript(self, session: str) -> Transcript:
        if session not in self.transcripts:
            self.transcripts[session] = Transcript(session, prefix=session[0], version="2.1.30")
        return self.transcripts[session]

    @rule(session=st.sampled_from(SESSIONS), text=st.sampled_from(("apple", "pear plum")))
    def say(self, session: str, text: str) -> None:
        self.transcript(session).prompt(text)

    @rule(
        session=st.sampled_from(SESSIONS),
        model=st.sampled_from(MODELS),
        message=st.integers(1, 5),
        output=st.integers(0, 50),
        stop=st.sampled_from((None, "end_turn")),
        sidechain=st.booleans(),
    )
    def answer(
        self, session: str, model: str, message: int, output: int, stop: str, sidechain: bool
    ) -> None:
        self.transcript(session).answer(
            "cherry",
            message_id=f"msg_{message}",
            model=model,
            usage={"input_tokens": 1, "output_tokens": output, "cache_read_input_tokens": 7},
            stop_reason=stop,
            isSidechain=sidechain,
        )

    @rule(session=st.sampled_from(SESSIONS), number=st.integers(1, 3), failed=st.booleans())
    def use_tool(self, session: str, number: int, failed: bool) -> None:
        name = f"toolu_{number}"
        self.transcript(session).tool_use("Bash", {"command": "melon"}, tool_use_id=name)
        self.transcript(session).tool_result("fig", tool_use_id=name, is_error=failed)

    @rule(session=st.sampled_from(SESSIONS))
    def orphan_result(self, session: str) -> None:
        self.transcript(session).tool_result("fig", tool_use_id="toolu_lost", is_error=True)

    @rule(session=st.sampled_from(SESSIONS), lines=st.integers(0, 4))
    def cut(self, session: str, lines: int) -> None:
        del self.transcript(session).records[lines:]

    @rule(source=st.sampled_from(SESSIONS), into=st.sampled_from(SESSIONS))
    def copy(self, source: str, into: str) -> None:
        if source != into:
            copied = self.transcript(source).records[:3]
            self.transcript(into).records[:0] = [{**r, "sessionId": into} for r in copied]

    @rule(session=st.sampled_from(SESSIONS))
    def write_and_read(self, session: str) -> None:
        path = self.folder / "projects" / f"{session}.jsonl"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(self.transcript(session).bytes())
        ingest([str(path.parent)], batch_bytes=1000)

    @rule(position=st.integers(0, 5))
    def delete(self, position: int) -> None:
        ids = [row[0] for row in fetch_all("SELECT id FROM conversations ORDER BY id")]
        if position < len(ids):
            delete_conversation(ids[position], scope=WHOLE)

    @invariant()
    def counters_equal_a_recount(self) -> None:
        assert fetch_all(KEPT) == fetch_all(COUNTED)
        [(total,)] = fetch_all("SELECT value FROM totals WHERE name = 'conversations'")
        assert [(total,)] == fetch_all("SELECT count(*) FROM conversations")
        for key, *documents in fetch_all("SELECT key, document, details FROM conversations"):
            assert tuple(documents) == make_documents(key)

    @invariant()
    def the_index_holds_the_messages(self) -> None:
        check_sound()
        for word in ("apple", "plum", "cherry", "melon", "fig"):
            found = fetch_all(
                "SELECT count(*) FROM message_search WHERE message_search MATCH ?",
                (matching_query(word),),
            )
            said = fetch_all(
                "SELECT count(*) FROM messages m WHERE copy_of_key IS NULL AND (content LIKE ?1"
                " OR EXISTS (SELECT 1 FROM tool_uses WHERE message_key = m.key"
                " AND parameters LIKE ?1))",
                (f"%{word}%",),
            )
            assert found == said, word

    def teardown(self) -> None:
        close()
        shutil.rmtree(self.folder)


TestArchive = Archive.TestCase
TestArchive.settings = settings(
    max_examples=60,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
