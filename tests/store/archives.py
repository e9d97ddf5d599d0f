"""What can happen to an archive, as rules of a state machine; tests add what must hold."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from observatory.ingest.running import ingest
from observatory.store import schema
from observatory.store.conversation_removal import delete_conversation
from observatory.store.database import close, configure, connect, fetch_all
from observatory.store.scopes import WHOLE
from tests.transcripts_for_tests import Transcript

SESSIONS = tuple(f"{number}" * 8 + "-1111-4111-8111-111111111111" for number in range(1, 4))
MODELS = ("claude-opus-4-5", "claude-haiku-4-5", "glm-5")


class AnyArchive(RuleBasedStateMachine):
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

    def teardown(self) -> None:
        close()
        shutil.rmtree(self.folder)
