"""Growing files: many small readings give what one reading gives."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from observatory.ingest.running import ingest
from observatory.store.database import close, configure, connect
from tests.ingest.dumps import check_sound, dump

SESSIONS = (
    "768de5d6-9fad-475b-8a4f-dfa7ddc01bb0",
    "cc432c40-914a-4c1a-a972-0103199a736a",
    "f736da47-b2ca-4f86-bb32-a1bbe582e464",
)


def read_stepwise(steps: list[bytes], target: Path, database: Path, empty: Path) -> dict:
    """Return what an archive holds after a file grew through some contents."""
    shutil.copy(empty, database)
    configure(database)
    connect()
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    target.touch()
    for step in steps:
        with target.open("r+b") as stream:
            stream.write(step)
        ingest([str(target)])
    check_sound()
    held = dump()
    close()
    return held


@pytest.mark.parametrize("session", SESSIONS)
def test_snapshots_one_after_another_equal_the_last_alone(
    session: str, shared: Path, tmp_path: Path, empty_database: Path
) -> None:
    steps = [path.read_bytes() for path in sorted((shared / "growth" / session).glob("*.jsonl"))]
    assert len(steps) >= 4
    target = tmp_path / "projects" / f"{session}.jsonl"
    grown = read_stepwise(steps, target, tmp_path / "grown.db", empty_database)
    alone = read_stepwise(steps[-1:], target, tmp_path / "alone.db", empty_database)
    assert len(alone["messages"]) > 20
    assert grown == alone


@pytest.mark.parametrize("step_bytes", [1_000, 33_333])
def test_any_cut_equals_the_whole(
    step_bytes: int, shared: Path, tmp_path: Path, empty_database: Path
) -> None:
    session = SESSIONS[0]
    whole = (shared / "growth" / session / "01.jsonl").read_bytes()[:150_000]
    steps = [whole[:end] for end in range(step_bytes, len(whole), step_bytes)] + [whole]
    target = tmp_path / "projects" / f"{session}.jsonl"
    grown = read_stepwise(steps, target, tmp_path / "grown.db", empty_database)
    alone = read_stepwise([whole], target, tmp_path / "alone.db", empty_database)
    assert grown == alone
