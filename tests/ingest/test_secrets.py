"""Secrets in transcripts: wherever one stands, the database does not have it."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from observatory.ingest import reading
from observatory.ingest.running import ingest as run_ingest
from observatory.redaction import masking
from observatory.store import search
from observatory.store.conversation_removal import delete_conversation
from observatory.store.database import close, configure, connect, fetch_all
from observatory.store.scopes import WHOLE
from observatory.store.search_matches import SearchRequest, find_matches
from tests.ingest.dumps import check_sound, dump
from tests.ingest.test_any_reading import EXPLORES
from tests.planted import PLANTS, drawn, places_of
from tests.transcripts_for_tests import Transcript

TOKEN = "gh" + "p_" + drawn(random.Random(7), 36)


@pytest.fixture(autouse=True)
def setting():
    masking.configure("mask", "k" * 40)
    yield
    masking.configure("mask", "k" * 40)


def bash_result(t: Transcript, text: str, details: Any, **fields: Any) -> None:
    t.tool_use("Bash", {"command": "x"})
    t.tool_result(text, toolUseResult=details, **fields)


def nested(value: Any, depth: int) -> Any:
    for _ in range(depth):
        value = {"x": value}
    return value


# Each writes a text into one place of a transcript.
PLACES: dict[str, Callable[[Transcript, str], Any]] = {
    "prompt": lambda t, s: t.prompt(s),
    "prompt blocks": lambda t, s: t.prompt([{"type": "text", "text": s}, {"type": "image"}]),
    "unknown block": lambda t, s: t.prompt([{"type": "new", "data": {"x": s}}]),
    "answer": lambda t, s: t.answer(s),
    "thinking": lambda t, s: t.answer(blocks=[{"type": "thinking", "thinking": s}]),
    "tool input": lambda t, s: t.tool_use("Bash", {"command": s}),
    "nested input": lambda t, s: t.tool_use("X", {"a": [{"b": {"c": ["x", s]}}]}),
    "input of a task": lambda t, s: t.tool_use("Task", {"prompt": s, "description": s}),
    "deep input": lambda t, s: t.tool_use("X", nested({"a": s, "b": [s]}, 230)),
    "deep details": lambda t, s: bash_result(t, "ok", nested([s], 230)),
    "tool of a server": lambda t, s: t.tool_use(f"mcp__{s}__x", {}),
    "tool input as text": lambda t, s: t.tool_use("X", s),
    "name of a field": lambda t, s: t.tool_use("X", {s: 1}),
    "result": lambda t, s: bash_result(t, s, None),
    "result blocks": lambda t, s: bash_result(
        t, [{"type": "text", "text": s}, {"type": "image", "source": {"note": s}}], None
    ),
    "failed result": lambda t, s: bash_result(t, s, f"Error: {s}", is_error=True),
    "details": lambda t, s: bash_result(t, "ok", {"stdout": s, "file": {"content": s}}),
    "list of details": lambda t, s: bash_result(t, "ok", [{"text": s}]),
    "ai title": lambda t, s: t.side("ai-title", aiTitle=s),
    "custom title": lambda t, s: t.side("custom-title", customTitle=s),
    "summary": lambda t, s: t.side("summary", summary=s, leafUuid=t.uuid(1)),
    "queued prompt": lambda t, s: t.chain(
        "attachment", attachment={"type": "queued_command", "prompt": s, "commandMode": "prompt"}
    ),
    "command": lambda t, s: t.prompt(
        f"<command-name>/x</command-name><command-args>{s}</command-args>"
    ),
    "renaming": lambda t, s: t.chain(
        "system",
        subtype="local_command",
        content=f"<command-name>/rename</command-name><command-args>{s}</command-args>",
    ),
    "notice": lambda t, s: t.chain("system", subtype="x", content=s),
    "notes": lambda t, s: t.chain("system", subtype="x", hookErrors=[s], stopReason=s),
    "error": lambda t, s: t.answer("x", isApiErrorMessage=True, error=s),
    "unknown record": lambda t, s: t.side("new", text=s),
    "progress": lambda t, s: t.side("progress", data={"type": "bash_progress", "output": s}),
    "branch": lambda t, s: t.prompt("x", gitBranch=s),
    "folder": lambda t, s: t.prompt("x", cwd=f"/home/ada/{s}"),
    "no uuid": lambda t, s: t.records.append(
        {**t.common, "type": "user", "message": {"role": "user", "content": s}}
    ),
    "sidechain": lambda t, s: t.prompt(s, isSidechain=True, parentUuid=None),
    "broken line": lambda t, s: t.raw(b'{"type":"user","message":' + json.dumps(s).encode()),
    "glued lines": lambda t, s: t.raw(
        b'{"type":"ai-title","aiTitle":"x"}'
        + json.dumps({"type": "ai-title", "aiTitle": s}).encode()
    ),
}


def fresh(folder: Path, empty: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    shutil.copy(empty, folder / "observatory.db")
    configure(folder / "observatory.db")
    connect()


def read(folder: Path, empty: Path, steps: list[bytes]) -> dict[str, Any]:
    """Return the archive of a session file that grew through some contents."""
    fresh(folder, empty)
    target = folder / "11111111-1111-4111-8111-111111111111.jsonl"
    for step in steps:
        target.write_bytes(step) if not target.exists() else _grow(target, step)
        os.utime(target, ns=(10**18, 10**18))
        run_ingest([str(target)])
    check_sound()
    return dump()


def _grow(target: Path, step: bytes) -> None:
    with target.open("r+b") as stream:
        stream.write(step)


@given(
    plant=st.sampled_from(PLANTS),
    seed=st.integers(0, 2**32),
    place=st.sampled_from(sorted(PLACES)),
    around=st.sampled_from(["%", "a %", "\n%\n", "日本 %", "- %", '"%"', "é % 調用 x"]),
    cuts=st.lists(st.floats(0, 1), max_size=3),
    chunk_bytes=st.integers(1, 3000),
    is_escaped=st.booleans(),
)
@settings(
    max_examples=2000 if EXPLORES else 100,
    deadline=None,
    derandomize=not EXPLORES,
    suppress_health_check=list(HealthCheck),
)
def test_a_secret_is_nowhere_in_the_database(
    plant, seed, place, around, cuts, chunk_bytes, is_escaped, tmp_path, empty_database
):
    planted = plant(random.Random(seed))
    transcript = Transcript()
    transcript.prompt("hello")
    PLACES[place](transcript, around.replace("%", planted.text))
    transcript.answer("bye")
    whole = transcript.bytes()
    if is_escaped:
        whole = whole.replace(b"-", b"\\u002d").replace(b"_", b"\\u005f")
    ends = sorted(int(cut * len(whole)) for cut in cuts)
    database = tmp_path / "once" / "observatory.db"
    once = read(database.parent, empty_database, [whole])
    assert places_of(planted.secret, database) == []
    close()
    grown = read(tmp_path / "grown", empty_database, [*(whole[:end] for end in ends), whole])
    close()
    patched = pytest.MonkeyPatch()
    with patched.context() as patch:
        patch.setattr(reading.read_chunks, "__kwdefaults__", {"chunk_bytes": chunk_bytes})
        chunked = read(tmp_path / "chunked", empty_database, [whole])
    close()
    assert once == grown == chunked


@pytest.mark.parametrize("place", sorted(PLACES))
def test_what_is_kept_of_a_place_has_a_secret_when_it_is_not_masked(place, write, ingest, db):
    """The places are such that the test above would see it."""
    masking.configure("off", "k" * 40)
    transcript = Transcript()
    transcript.prompt("hello")
    PLACES[place](transcript, TOKEN)
    write(transcript)
    ingest()
    is_kept = place not in ("unknown record", "progress", "broken line")
    assert bool(places_of(TOKEN, db)) == is_kept


def findings() -> list[tuple[Any, ...]]:
    return fetch_all(
        "SELECT m.id, c.id, f.kind, f.place, f.count FROM secret_findings f"
        " LEFT JOIN messages m ON m.key = f.message_key"
        " LEFT JOIN conversations c ON c.key = f.conversation_key ORDER BY f.key"
    )


def test_findings_tell_where_a_secret_was(write, ingest, db):
    transcript = Transcript()
    transcript.prompt(f"{TOKEN} and {TOKEN}")
    transcript.tool_use("Bash", {"command": f"echo {TOKEN}"})
    transcript.tool_result(TOKEN, toolUseResult={"stdout": TOKEN})
    transcript.side("ai-title", aiTitle=TOKEN)
    write(transcript)
    ingest()
    one, two, three = map(transcript.uuid, (1, 2, 3))
    assert findings() == [
        (one, None, "github_token", "content", 2),
        (two, None, "github_token", "parameters", 1),
        (three, None, "github_token", "content", 1),
        (three, None, "github_token", "details", 1),
        (None, transcript.session_id, "github_token", "title", 1),
    ]
    assert len(set(fetch_all("SELECT hash FROM secret_findings"))) == 1


def test_reading_again_finds_nothing_new(write, ingest):
    transcript = Transcript()
    transcript.prompt(TOKEN)
    path = write(transcript)
    ingest()
    before = findings()
    path.write_bytes(b"\n" + path.read_bytes())
    ingest()
    assert findings() == before


def test_flagging_keeps_the_text_and_notes_it(write, ingest, db):
    masking.configure("flag", "k" * 40)
    transcript = Transcript()
    transcript.prompt(TOKEN)
    write(transcript)
    ingest()
    assert findings() == [(transcript.uuid(1), None, "github_token", "content", 1)]
    assert fetch_all("SELECT content FROM messages") == [(TOKEN,)]


def test_a_masked_text_is_found_by_its_kind(write, ingest):
    transcript = Transcript()
    transcript.prompt(f"use {TOKEN} here")
    transcript.tool_use("Bash", {"command": TOKEN})
    write(transcript)
    ingest()
    for q in ("github_token", '"secret github_token"'):
        assert len(find_matches(SearchRequest(q=q), scope=WHOLE).candidates) == 2
    assert find_matches(SearchRequest(q=TOKEN), scope=WHOLE).candidates == []


def test_findings_go_with_their_message(write, ingest):
    transcript = Transcript()
    transcript.prompt(TOKEN)
    transcript.side("ai-title", aiTitle=TOKEN)
    write(transcript)
    ingest()
    delete_conversation(transcript.session_id, scope=WHOLE)
    assert findings() == []


def test_findings_go_over_to_who_takes_the_message(write, ingest):
    original = Transcript()
    original.prompt(TOKEN)
    write(original)
    ingest()
    copy = Transcript("22222222-2222-4222-8222-222222222222")
    copy.prompt(TOKEN)
    copy.prompt("more")
    write(copy)
    ingest()
    delete_conversation(original.session_id, scope=WHOLE)
    assert findings() == [(copy.uuid(1), None, "github_token", "content", 1)]


@pytest.mark.parametrize("mode", ["off", "flag", "mask"])
def test_a_record_without_an_id_is_the_same_whatever_becomes_of_secrets(mode, write, ingest):
    transcript = Transcript()
    transcript.prompt("hello")
    PLACES["no uuid"](transcript, f"my {TOKEN}")
    path = write(transcript)
    path.write_bytes(path.read_bytes().replace(b'"hello"', b'"hell"'))
    masking.configure(mode, "k" * 40)
    ingest()
    before = fetch_all("SELECT id, content FROM messages ORDER BY key")
    for number, other in enumerate(("mask", "flag", "off", "mask", "mask")):
        masking.configure(other, f"{number}" * 40)
        path.write_bytes(path.read_bytes().replace(b'"hell', b'"hell%d' % number, 1))
        assert ingest().files == 1
    rows = fetch_all("SELECT id, content FROM messages ORDER BY key")
    assert rows == before


def test_chinese_words_beside_a_secret_are_found(write, ingest, db):
    transcript = Transcript()
    transcript.prompt(f"调用 {TOKEN} 函数")
    write(transcript)
    ingest()
    assert len(find_matches(SearchRequest(q="函数"), scope=WHOLE).candidates) == 1
    assert places_of(TOKEN, db) == []
    assert search.count_waiting_messages() == 0
