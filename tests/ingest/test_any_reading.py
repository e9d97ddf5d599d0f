"""However a folder is read, in one run or in many, the archive is the same."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from observatory.ingest import reading
from observatory.ingest.running import ingest
from observatory.store.database import close, configure, connect
from tests.ingest.dumps import check_sound, dump
from tests.transcripts_for_tests import encode, timestamp

SESSION = "11111111-1111-4111-8111-111111111111"
UUIDS = [f"aaaaaaaa-0000-4000-8000-{number:012d}" for number in range(12)]
# What a run says must depend on the change alone; with EXPLORE=1 each looks elsewhere, and longer.
EXPLORES = bool(os.environ.get("EXPLORE"))


def looking_at(examples: int, *, exploring: int | None = None) -> settings:
    """Return how a property is looked at: with how many examples, and which."""
    return settings(
        max_examples=(exploring or examples) if EXPLORES else examples,
        deadline=None,
        derandomize=not EXPLORES,
        suppress_health_check=list(HealthCheck),
    )


USAGE = st.builds(
    lambda output: {"input_tokens": 7, "output_tokens": output}, st.integers(0, 400).map(int)
)
PROMPT = {"description": "Find it", "prompt": "Look", "subagent_type": "Explore"}


@st.composite
def a_record(draw: st.DrawFn) -> dict[str, Any]:
    """One record of any of the kinds that depend on what stood before."""
    kind = draw(st.sampled_from(["prompt", "answer", "task", "result", "title", "queued"]))
    common: dict[str, Any] = {
        "sessionId": SESSION,
        "cwd": draw(st.sampled_from(["/home/ada/engine", "/home/ada/loom"])),
        "version": "2.1.120",
        "timestamp": timestamp(draw(st.integers(0, 50))),
        "parentUuid": draw(st.sampled_from([None, *UUIDS, "nobody"])),
        "isSidechain": draw(st.booleans()),
    }
    if draw(st.integers(0, 4)):
        # One id stands for one record, now and then twice, and not for two in two threads.
        common["uuid"] = draw(st.sampled_from(UUIDS[common["isSidechain"] :: 2]))
    tool_use_id = draw(st.sampled_from(["toolu_1", "toolu_2"]))
    if kind == "prompt":
        text = draw(st.sampled_from(["Look", "go on", "/compact"]))
        return {**common, "type": "user", "message": {"role": "user", "content": text}}
    if kind == "title":
        return {"type": "ai-title", "aiTitle": draw(st.sampled_from(["One", "Two"]))}
    if kind == "queued":
        attachment = {"type": "queued_command", "prompt": "meanwhile", "commandMode": "prompt"}
        return {**common, "type": "attachment", "attachment": attachment}
    if kind == "result":
        block = {"type": "tool_result", "tool_use_id": tool_use_id, "content": "found"}
        return {**common, "type": "user", "message": {"role": "user", "content": [block]}}
    block = {"type": "text", "text": "hello"}
    if kind == "task":
        block = {"type": "tool_use", "id": tool_use_id, "name": "Task", "input": PROMPT}
    message = {
        "id": draw(st.sampled_from(["msg_1", "msg_2"])),
        "role": "assistant",
        "model": "claude-opus-4-5-20251101",
        "content": [block],
        "usage": draw(USAGE),
    }
    return {**common, "type": "assistant", "message": message}


@st.composite
def a_file(draw: st.DrawFn) -> bytes:
    """Lines of records, some of them glued, broken or blank."""
    lines = []
    for record in draw(st.lists(a_record(), min_size=2, max_size=14)):
        kind = draw(st.integers(0, 12))
        if kind == 0:
            lines.append(b'{"type":"user","message":7}')
        elif kind == 1:
            lines.append(b"")
        if kind == 2 and lines:
            lines[-1] += encode(record)
        else:
            lines.append(encode(record))
    return b"\n".join(lines) + draw(st.sampled_from([b"\n", b""]))


@pytest.fixture(scope="module")
def empty(empty_database: Path) -> Path:
    return empty_database


def read(steps: list[bytes], folder: Path, empty: Path) -> dict[str, Any]:
    """Return the archive of a session file that grew through some contents."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    shutil.copy(empty, folder / "observatory.db")
    configure(folder / "observatory.db")
    connect()
    target = folder / f"{SESSION}.jsonl"
    target.touch()
    for step in steps:
        with target.open("r+b") as stream:
            stream.write(step)
        # Where no record tells its time, the file's counts.
        os.utime(target, ns=(10**18, 10**18))
        ingest([str(target)])
    check_sound()
    held = dump()
    close()
    return held


def differences(one: dict[str, Any], other: dict[str, Any], whole: bytes) -> str:
    """Say in which rows two archives differ."""
    told = [whole.decode()]
    for name, rows in one.items():
        if rows != other[name]:
            told += [name, *(f"- {row}" for row in rows if row not in other[name])]
            told += [f"+ {row}" for row in other[name] if row not in rows]
    return "\n".join(told)


@given(whole=a_file(), cuts=st.lists(st.floats(0, 1), max_size=4), chunk_bytes=st.integers(1, 2000))
@looking_at(100, exploring=3000)
def test_any_growth_equals_the_whole(
    whole: bytes, cuts: list[float], chunk_bytes: int, tmp_path: Path, empty: Path
) -> None:
    ends = sorted(int(cut * len(whole)) for cut in cuts)
    alone = read([whole], tmp_path / "alone", empty)
    grown = read([*(whole[:end] for end in ends), whole], tmp_path / "grown", empty)
    assert grown == alone, differences(grown, alone, whole)
    patched = pytest.MonkeyPatch()
    with patched.context() as patch:
        patch.setattr(reading.read_chunks, "__kwdefaults__", {"chunk_bytes": chunk_bytes})
        chunked = read([whole], tmp_path / "chunked", empty)
    assert chunked == alone, differences(chunked, alone, whole)


@given(whole=a_file())
@looking_at(30)
def test_reading_again_changes_nothing(whole: bytes, tmp_path: Path, empty: Path) -> None:
    alone = read([whole], tmp_path / "alone", empty)
    longer = b"\n" + whole
    again = read([whole, longer], tmp_path / "again", empty)
    for name in ("messages", "api_calls", "tool_uses"):
        assert len(again[name]) >= len(alone[name])
    by_id = {row[0]: row for row in again["api_calls"]}
    for row in alone["api_calls"]:
        assert by_id[row[0]][10:] == row[10:]
