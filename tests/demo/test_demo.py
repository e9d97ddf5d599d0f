"""The demo is the same for the same moment, recent, and read without a remark but those planned."""

import hashlib
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from observatory.store.database import fetch_all
from tests.demo.generate import Demo, write_demo
from tests.demo.going_on import go_on
from tests.processes import ROOT, finish

NOW = datetime(2026, 11, 27, 16, 30, tzinfo=UTC)


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> tuple[Path, Demo]:
    folder = tmp_path_factory.mktemp("demo")
    return folder, write_demo(folder, now=NOW)


def hashes(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def records(folder: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(folder.rglob("*.jsonl")):
        for line in path.read_bytes().splitlines():
            try:
                yield orjson.loads(line)
            except orjson.JSONDecodeError:
                continue


def test_the_same_moment_and_seed_give_the_same_bytes(demo, tmp_path):
    write_demo(tmp_path, now=NOW)
    assert hashes(tmp_path) == hashes(demo[0])


def test_another_seed_gives_other_sessions(demo, tmp_path):
    write_demo(tmp_path, now=NOW, seed=2)
    assert not {*hashes(tmp_path)} & {*hashes(demo[0])}


@pytest.mark.parametrize("seed", range(1, 6))
def test_all_of_it_lies_in_the_sixty_days_before(tmp_path, seed):
    write_demo(tmp_path, now=NOW, seed=seed)
    times = [
        datetime.fromisoformat(record["timestamp"])
        for record in records(tmp_path)
        if "timestamp" in record
    ]
    assert NOW - timedelta(days=61) < min(times) < NOW - timedelta(days=55)
    assert NOW - timedelta(minutes=4) < max(times) <= NOW
    changed = [path.stat().st_mtime for path in tmp_path.rglob("*.jsonl")]
    assert max(changed) <= NOW.timestamp()


def test_all_of_it_is_read_but_the_planned_lines(demo, ingest):
    folder, written = demo
    totals = written.totals
    summary = ingest(folder)
    assert (summary.files, summary.lines) == (totals.files, totals.lines)
    assert (summary.bad_lines, summary.failed_files) == (written.bad_lines, 0)
    assert summary.conversations == totals.sessions + totals.subagents
    assert summary.tool_uses == totals.tool_uses
    assert summary.tokens == {
        name: getattr(totals, name)
        for name in (
            "input_tokens",
            "output_tokens",
            "cache_creation_input_tokens",
            "cache_read_input_tokens",
        )
    }


def test_there_is_one_of_everything_that_can_be_shown(demo, ingest):
    ingest(demo[0])

    def counted(sql: str) -> Counter[Any]:
        return Counter(dict(fetch_all(sql)))

    statuses = counted("SELECT status, count(*) FROM tool_uses GROUP BY 1")
    assert {"success", "error", "rejected", "interrupted"} <= set(statuses)
    kinds = counted("SELECT kind, count(*) FROM messages GROUP BY 1")
    assert {"prompt", "answer", "thinking", "tool_use", "tool_result", "compaction"} <= set(kinds)
    assert {"queued_prompt", "api_error", "retry", "summary"} <= set(kinds)
    assert counted("SELECT is_on_main_branch, count(*) FROM messages GROUP BY 1")[0] > 1
    names = set(counted("SELECT name, count(*) FROM tool_uses GROUP BY 1"))
    assert {"Bash", "Edit", "Write", "Read", "Grep", "TodoWrite", "Agent", "WebSearch"} <= names
    assert {"ExitPlanMode", "AskUserQuestion"} <= names
    assert counted("SELECT 1, count(*) FROM api_calls WHERE cost_nanodollars IS NULL")[1] == 0


def test_its_secret_is_masked(demo, ingest):
    ingest(demo[0])
    [[text]] = fetch_all("SELECT content FROM messages WHERE content LIKE '%STRIPE_SECRET=%'")
    assert "sk_live" not in text


def test_a_folder_that_holds_something_is_refused(tmp_path):
    (tmp_path / "mine.jsonl").touch()
    with pytest.raises(FileExistsError):
        write_demo(tmp_path, now=NOW)


class Enough(Exception):
    """So many records are enough."""


def test_sessions_go_on_with_times_of_now(projects, ingest):
    write_demo(projects, now=NOW)
    before = hashes(projects)
    left = iter(range(40))

    def sleep(_seconds: float) -> None:
        if next(left, None) is None:
            raise Enough

    began = datetime.now(UTC) - timedelta(seconds=1)
    with pytest.raises(Enough):
        go_on(projects, sleep=sleep)
    added = {*hashes(projects)} - {*before}
    lines = [line for name in added for line in (projects / name).read_bytes().splitlines()]
    assert len(lines) == 41
    told = [orjson.loads(line).get("timestamp") for line in lines]
    assert all(datetime.fromisoformat(time) > began for time in told if time)
    assert ingest(projects).bad_lines == 2


def run_demo(*arguments: str, **variables: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.demo", *arguments],
        cwd=ROOT,
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_one_command_shows_it_and_touches_nothing_else(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    demo = run_demo(
        "--folder", f"{tmp_path / 'demo'}", HOME=f"{home}", DB_PATH=f"{home / 'mine.db'}"
    )
    assert demo.stdout is not None
    printed = []
    for line in demo.stdout:
        printed.append(line)
        if "/login?token=" in line:
            break
    assert "/login?token=" in printed[-1], printed
    demo.send_signal(signal.SIGTERM)
    ended = finish(demo)
    assert ended.returncode == 0, ended.stdout
    assert list(home.iterdir()) == []
    assert (tmp_path / "demo" / "data" / "observatory.db").exists()


def test_a_folder_of_somebody_else_is_left_alone(tmp_path):
    (tmp_path / "mine").write_text("mine")
    ended = finish(run_demo("--folder", f"{tmp_path}"))
    assert (ended.returncode, (tmp_path / "mine").read_text()) == (1, "mine")
    assert "choose another --folder" in ended.stdout
