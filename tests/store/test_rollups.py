"""Sums for reports equal a recount, after anything that can happen to an archive."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule

from observatory.errors import Conflict, NotFound
from observatory.ingest.running import ingest
from observatory.store.archive import ApiCallRow
from observatory.store.conversation_changes import restore_conversation, trash_conversation
from observatory.store.counters import refresh_conversations
from observatory.store.database import execute, fetch_all, writing
from observatory.store.message_changes import NewMessage, NewToolCall, insert_messages
from observatory.store.rollup_building import build_rollups, verify_rollups
from observatory.store.scopes import WHOLE
from observatory.store.secret_rows import update_project
from tests.store.archives import MODELS, SESSIONS, AnyArchive
from tests.store.new_conversations import make_conversation
from tests.transcripts_for_tests import Transcript

AGENTS = ("a4c69c858dab2afd6", "b1d2f3a4c5e6f7089")
FOLDERS = ("/home/ada/engine", "/home/ada/wheel", "/srv/mill")
# A quarter of an hour, an hour, a day, most of a month: in seconds, which records are apart.
SPANS = (901, 3_700, 86_500, 2_600_000)
TIMES = ("2026-03-04T05:14:59.999Z", "2026-03-31T23:59:59.999Z", "2026-04-01T00:00:00.000Z", None)
USED = ("input_tokens", "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
COMPARED = (
    "messages", "prompts", "sessions", "subagents", "api_calls", "unpriced_calls",
    "undercounted_calls", "cost_nanodollars", *USED,
)  # fmt: skip


class SummedArchive(AnyArchive):
    """Also: time passes, subagents run elsewhere, clients write, all is trashed and restored."""

    @initialize()
    def begin(self) -> None:
        """Begin with a session whose subagent ran in another project, and with a third one."""
        super().begin()
        self.say(SESSIONS[0], "go")
        self.answer(SESSIONS[0], MODELS[0], 9, 5, "end_turn", False)
        self.write_and_read(SESSIONS[0])
        self.run_subagent(SESSIONS[0], AGENTS[0], FOLDERS[1], SPANS[0], MODELS[1])
        self.make_conversation(FOLDERS[2])

    @rule(session=st.sampled_from(SESSIONS), seconds=st.sampled_from(SPANS))
    def let_time_pass(self, session: str, seconds: int) -> None:
        self.transcript(session).number += seconds

    @rule(session=st.sampled_from(SESSIONS), folder=st.sampled_from(FOLDERS))
    def go_elsewhere(self, session: str, folder: str) -> None:
        self.transcript(session).common["cwd"] = folder

    @rule(
        session=st.sampled_from(SESSIONS),
        tool=st.sampled_from(("Read", "Edit", "Write")),
        file=st.sampled_from("ab"),
        seconds=st.sampled_from((0, *SPANS)),
        failed=st.booleans(),
    )
    def use_file(self, session: str, tool: str, file: str, seconds: int, failed: bool) -> None:
        """Use a file, and read what came of it later than that it was begun."""
        transcript = self.transcript(session)
        name = f"toolu_{tool}_{transcript.number}"
        transcript.tool_use(tool, {"file_path": f"/{file}.py"}, tool_use_id=name)
        self.write_and_read(session)
        transcript.number += seconds
        transcript.tool_result("fig", tool_use_id=name, is_error=failed)
        self.write_and_read(session)

    @rule(
        session=st.sampled_from(SESSIONS),
        agent=st.sampled_from(AGENTS),
        folder=st.sampled_from(FOLDERS),
        seconds=st.sampled_from(SPANS),
        model=st.sampled_from(MODELS),
    )
    def run_subagent(self, session: str, agent: str, folder: str, seconds: int, model: str) -> None:
        name = f"{session}/{agent}"
        if name not in self.transcripts:
            transcript = Transcript(session, prefix=agent[0], cwd=folder)
            transcript.common.update(isSidechain=True, agentId=agent)
            self.transcripts[name] = transcript
        self.transcripts[name].prompt("look")
        self.transcripts[name].number += seconds
        self.transcripts[name].answer("cherry", model=model)
        path = self.projects / session / "subagents" / f"agent-{agent}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.transcripts[name].bytes())
        ingest([str(self.projects)], batch_bytes=1000)

    @rule(session=st.sampled_from(SESSIONS))
    def lose_file(self, session: str) -> None:
        (self.projects / f"{session}.jsonl").unlink(missing_ok=True)
        ingest([str(self.projects)])

    @rule(folder=st.sampled_from((None, *FOLDERS)))
    def make_conversation(self, folder: str | None) -> None:
        make_conversation(folder)

    @rule(
        position=st.integers(0, 5),
        role=st.sampled_from(("user", "assistant")),
        moment=st.sampled_from(TIMES),
        price=st.sampled_from((None, 1500)),
        status=st.sampled_from((None, "success", "error")),
    )
    def write_message(
        self, position: int, role: str, moment: str | None, price: int | None, status: str | None
    ) -> None:
        calls = []
        if status:
            for tool, file in (("Read", "a"), ("Edit", "a"), ("Write", "b"), ("Edit", "a")):
                path = f'{{"file_path": "/{file}{position % 2}.py"}}'
                calls.append(NewToolCall(tool, path, status=status, execution_time_ms=70))

        def set_price(rows: Sequence[ApiCallRow]) -> None:
            for row in rows:
                row.cost_nanodollars = price

        message = NewMessage(
            role,
            "fig",
            timestamp=moment,
            model="claude-opus-4-5" if role == "assistant" else None,
            tokens=dict.fromkeys(USED, 5) if role == "assistant" else None,
            tool_calls=calls,
        )
        self.try_on(
            position,
            lambda name: insert_messages(name, [message], scope=WHOLE, price=set_price),
        )

    @rule(position=st.integers(0, 5))
    def trash(self, position: int) -> None:
        self.try_on(position, lambda name: trash_conversation(name, scope=WHOLE))

    @rule(position=st.integers(0, 5))
    def restore(self, position: int) -> None:
        self.try_on(position, lambda name: restore_conversation(name, scope=WHOLE))

    @rule(position=st.integers(0, 2), folder=st.sampled_from(FOLDERS))
    def rename_project(self, position: int, folder: str) -> None:
        keys = [key for (key,) in fetch_all("SELECT key FROM projects ORDER BY key")]
        if position < len(keys):
            with writing():
                update_project(keys[position], path=folder, name="masked")

    @rule(position=st.integers(0, 3), parent=st.integers(-1, 2))
    def change_parent(self, position: int, parent: int) -> None:
        """Hang a subagent below another session, or below none."""
        keys = {kind: [] for kind in ("session", "subagent")}
        for key, kind in fetch_all("SELECT key, kind FROM conversations ORDER BY id"):
            keys[kind].append(key)
        if position < len(keys["subagent"]) and parent < len(keys["session"]):
            key = keys["subagent"][position]
            above = None if parent < 0 else keys["session"][parent]
            with writing():
                execute("UPDATE conversations SET parent_key = ? WHERE key = ?", (above, key))
                refresh_conversations([key])

    @rule()
    def build_anew(self) -> None:
        with writing():
            execute("UPDATE totals SET value = 0 WHERE name = 'rollups_version'")
        build_rollups()

    @invariant()
    def sums_equal_a_recount(self) -> None:
        found = verify_rollups()
        assert found.are_none, found

    @invariant()
    def places_are_where_conversations_stand(self) -> None:
        rows = fetch_all("SELECT key, parent_key, project_key, place_key FROM conversations")
        known = {key: (parent, project or 0) for key, parent, project, _ in rows}
        places = {key: (own, above) for key, own, above in fetch_all("SELECT * FROM places")}
        for key, _, project, place in rows:
            above = sorted({known[each][1] for each in climb(key, known)})
            own, stored = places[place]
            assert (own, json.loads(stored)) == (project or 0, above)

    @invariant()
    def days_equal_a_count_in_python(self) -> None:
        for is_of_projects in (False, True):
            usage, tools = count_in_python(is_of_projects=is_of_projects)
            assert usage == read_usage(is_of_projects=is_of_projects)
            assert tools == read_tools(is_of_projects=is_of_projects)

    @invariant()
    def files_equal_a_count_in_python(self) -> None:
        counted: dict[str, Counter[str]] = {}
        edited: set[tuple[int, str]] = set()
        for conversation, name, parameters in fetch_all(
            "SELECT t.conversation_key, t.name, t.parameters FROM tool_uses t"
            " JOIN conversations c ON c.key = t.conversation_key AND c.deleted_at IS NULL"
            " WHERE t.status = 'success' AND t.started_at IS NOT NULL AND parameters IS NOT NULL"
            " ORDER BY t.started_at"
        ):
            path = json.loads(parameters).get("file_path")
            if path is None:
                continue
            found = counted.setdefault(path, Counter())
            found["reads"] += name == "Read"
            found["edits"] += name in ("Edit", "Write")
            found["reworks"] += name in ("Edit", "Write") and (conversation, path) in edited
            if name in ("Edit", "Write"):
                edited.add((conversation, path))
        rows = fetch_all(
            "SELECT p.path, sum(reads), sum(edits), sum(reworks) FROM file_paths p"
            " LEFT JOIN file_rollups r ON r.path_key = p.key AND level = 3 AND place_key = 0"
            " GROUP BY p.key"
        )
        names = ("reads", "edits", "reworks")
        assert {row[0]: row[1:] for row in rows} == {
            path: tuple(found[name] for name in names) for path, found in counted.items()
        }

    @property
    def projects(self) -> Any:
        folder = self.folder / "projects"
        folder.mkdir(exist_ok=True)
        return folder

    def try_on(self, position: int, change: Callable[[str], object]) -> None:
        """Change the conversation at a position, if it is there and can be changed so."""
        ids = [row[0] for row in fetch_all("SELECT id FROM conversations ORDER BY id")]
        if position < len(ids):
            try:
                change(ids[position])
            except (NotFound, Conflict):
                return


def climb(key: int, known: dict[int, tuple[int | None, int]]) -> Iterator[int]:
    """Yield a conversation and all above it."""
    at: int | None = key
    while at is not None:
        yield at
        at = known[at][0]


def count_in_python(*, is_of_projects: bool) -> tuple[dict[Any, Any], dict[Any, Any]]:
    """Return measures by day and model, and uses and failures by day and tool."""
    there = {
        key: (project or 0) if is_of_projects else None
        for key, project, deleted in fetch_all(
            "SELECT key, project_key, deleted_at FROM conversations"
        )
        if deleted is None
    }
    usage: dict[Any, Counter[str]] = {}

    def add(conversation: int, moment: str, model: str | None, **numbers: int) -> None:
        if conversation in there:
            name = (there[conversation], moment[:10], model or "")
            usage.setdefault(name, Counter()).update(numbers)

    for key, moment, kind in fetch_all("SELECT key, created_at, kind FROM conversations"):
        add(key, moment, None, sessions=kind == "session", subagents=kind == "subagent")
    for key, moment, model, kind, copied in fetch_all(
        "SELECT conversation_key, created_at, model, kind, copy_of_key FROM messages"
    ):
        if copied is None:
            add(key, moment, model, messages=1, prompts=kind in ("prompt", "queued_prompt"))
    for key, moment, model, quality, price, *tokens in fetch_all(
        "SELECT conversation_key, created_at, model, usage_quality, cost_nanodollars,"
        f" {', '.join(USED)} FROM api_calls"
    ):
        add(
            key, moment, model, api_calls=1, unpriced_calls=price is None,
            undercounted_calls=quality == "undercounted", cost_nanodollars=price or 0,
            **dict(zip(USED, tokens, strict=True)),
        )  # fmt: skip
    tools: dict[Any, tuple[int, int]] = {}
    for key, moment, tool, failed, message in fetch_all(
        "SELECT conversation_key, started_at, name, is_error, message_key FROM tool_uses"
    ):
        if key in there and moment is not None and message is not None:
            name = (there[key], moment[:10], tool)
            uses, failures = tools.get(name, (0, 0))
            tools[name] = (uses + 1, failures + failed)
    counted = {name: tuple(row[each] for each in COMPARED) for name, row in usage.items()}
    return counted, tools


def read_usage(*, is_of_projects: bool) -> dict[Any, Any]:
    rows = fetch_all(_sums("usage_rollups", "model", COMPARED, is_of_projects))
    return {tuple(row[:3]): tuple(row[3:]) for row in rows}


def read_tools(*, is_of_projects: bool) -> dict[Any, Any]:
    rows = fetch_all(_sums("tool_rollups", "tool", ("uses", "failures"), is_of_projects))
    return {tuple(row[:3]): tuple(row[3:]) for row in rows}


def _sums(table: str, name: str, measures: tuple[str, ...], is_of_projects: bool) -> str:
    """Return what reads the sums of days: of each project, or of all together."""
    summed = ", ".join(f"sum(r.{measure})" for measure in measures)
    whose = "JOIN places p ON p.key = r.place_key" if is_of_projects else ""
    return (
        f"SELECT {'p.project_key' if is_of_projects else 'NULL'}, date(start, 'unixepoch'), {name},"
        f" {summed} FROM {table} r {whose} WHERE level = 2"
        f"{'' if is_of_projects else ' AND place_key = 0'} GROUP BY 1, 2, 3"
    )


TestSummedArchive = SummedArchive.TestCase
TestSummedArchive.settings = settings(
    max_examples=60,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
