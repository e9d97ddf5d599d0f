"""``observatory usage``, as a process."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from observatory.local_zone import find_local_zone
from observatory.store.locks import held
from observatory.store.watcher_status import read_watcher_status
from tests.api.sessions import numbered, session_id
from tests.processes import DEADLINE_SECONDS, Home, finish, wait_for
from tests.transcripts_for_tests import Transcript

ESCAPE = "\x1b"
DAY = 86_400
BIG = {
    "input_tokens": 12_345_678,
    "output_tokens": 2_345_678,
    "cache_creation_input_tokens": 54_321_000,
    "cache_read_input_tokens": 1_234_567_890,
}
SMALL = {"input_tokens": 1000, "output_tokens": 200}


def answered(number: int, *, days: float, cwd: str = "/home/ada/engine", **fields) -> Transcript:
    """Return a session with one answer, so many days after 2026-03-04T05:06:07Z."""
    transcript = numbered(number, cwd=cwd)
    transcript.number = int(days * DAY)
    transcript.prompt(f"{ESCAPE}[31mlook [bold]at\u202e it")
    transcript.answer("done", usage=fields.pop("usage", SMALL), **fields)
    return transcript


def write(home: Home, *transcripts: Transcript) -> None:
    folder = home.projects / "-work"
    folder.mkdir(parents=True, exist_ok=True)
    for transcript in transcripts:
        (folder / f"{transcript.session_id}.jsonl").write_bytes(transcript.bytes())


@pytest.fixture(scope="module")
def filled(tmp_path_factory) -> Home:
    """A home with three sessions on two days, of two projects of one name, one without a price."""
    home = Home(tmp_path_factory.mktemp("filled"), {"TZ": "UTC"})
    write(
        home,
        answered(1, days=0, usage=BIG),
        answered(2, days=0, cwd="/home/bob/engine", model="claude-haiku-4-5-20251001"),
        answered(3, days=31, cwd="/srv/mill", model="glm-5"),
    )
    assert home.run("ingest").returncode == 0
    return home


@pytest.fixture
def home(tmp_path) -> Home:
    return Home(tmp_path, {"TZ": "UTC"})


def usage(home: Home, *arguments: str, code: int = 0, **variables: str) -> str:
    """Return what the command printed, which must have nothing else to say."""
    ended = home.run("usage", *arguments, **variables)
    assert (ended.returncode, ended.stderr) == (code, "")
    return ended.stdout


def read_json(home: Home, *arguments: str, **variables: str) -> dict:
    printed = usage(home, *arguments, "--json", **variables)
    assert printed.count("\n") == 1
    return json.loads(printed)


def rows_of(table: str) -> list[list[str]]:
    """Return the cells of a table's rows without those above the line."""
    lines = table.splitlines()
    first = next(place for place, line in enumerate(lines) if line.startswith("──"))
    return [re.split(r"  +", line.strip()) for line in lines[first + 1 :] if "──" not in line]


def test_days_are_told_with_models_tokens_costs_and_sums(filled):
    printed = usage(filled)
    assert printed.splitlines()[1].split() == ["Date", "Models", "Input", "Output", "Create",
                                               "Read", "Tokens", "(USD)"]  # fmt: skip
    assert rows_of(printed) == [
        ["2026-03-04", "haiku-4-5", "12,346,678", "2,345,878", "54,321,000", "1,234,567,890",
         "1,303,581,446", "1,077.16"],
        ["opus-4-5"],
        ["2026-04-04", "glm-5", "1,000", "200", "0", "0", "1,200", "?"],
        ["Total", "12,347,678", "2,346,078", "54,321,000", "1,234,567,890", "1,303,582,646",
         "1,077.16+?"],
        ["? No price is known of glm-5 (1,200 tokens)."],
    ]  # fmt: skip
    assert usage(filled, "daily") == printed


def test_json_is_what_the_api_answers(filled):
    told = read_json(filled)
    assert set(told) == {"report", "period", "group_by", "rows", "totals", "unpriced_models"}
    assert (told["report"], told["group_by"]) == ("token-usage", "day")
    assert told["period"]["from"] == "2026-03-04T05:00:00.000Z"
    assert told["period"]["timezone"] == "UTC"
    first, second = told["rows"]
    assert first["models"] == ["claude-haiku-4-5-20251001", "claude-opus-4-5-20251101"]
    assert (first["date"], first["output_tokens"]) == ("2026-03-04", 2_345_878)
    assert (second["cost_microdollars"], second["cost_complete"]) == (None, False)
    assert told["totals"]["total_tokens"] == first["total_tokens"] + second["total_tokens"]
    assert told["unpriced_models"] == [{"model": "glm-5", "api_calls": 1, "total_tokens": 1200}]


@pytest.mark.parametrize(
    ("report", "label"),
    [("weekly", "2026-03-02"), ("monthly", "2026-03"), ("session", "00000001"),
     ("blocks", "2026-03-04 05:00"), ("models", "claude-opus-4-5-20251101")],
)  # fmt: skip
def test_every_report_has_the_same_sums(filled, report, label):
    table = rows_of(usage(filled, report))
    assert table[0][0] == label
    assert table[-2] == rows_of(usage(filled))[-2]
    told = read_json(filled, report)
    assert told["totals"]["total_tokens"] == 1_303_582_646
    assert sum(row["total_tokens"] for row in told["rows"]) == 1_303_582_646


def test_tools_are_counted(home):
    transcript = answered(1, days=0)
    transcript.tool_use("Bash", {"command": "ls"})
    transcript.tool_result("no", is_error=True)
    write(home, transcript)
    home.run("ingest")
    assert rows_of(usage(home, "tools"))[0][:3] == ["Bash", "1", "1"]
    assert read_json(home, "tools")["totals"]["uses"] == 1


def test_a_breakdown_tells_what_each_model_used(filled):
    table = rows_of(usage(filled, "-b"))
    assert [row[0] for row in table[:3]] == ["2026-03-04", "opus-4-5", "haiku-4-5"]
    assert table[2][-1] == "0.00"
    [day, _] = read_json(filled, "--breakdown")["rows"]
    assert [part["model"] for part in day["breakdown"]] == [
        "claude-opus-4-5-20251101", "claude-haiku-4-5-20251001",
    ]  # fmt: skip
    session = read_json(filled, "session", "-b")["rows"][0]
    assert session["breakdown"][0]["total_tokens"] == session["total_tokens"]


def test_orders(filled):
    days = [row["date"] for row in read_json(filled)["rows"]]
    assert days == sorted(days)
    assert [row["date"] for row in read_json(filled, "--order", "desc")["rows"]] == days[::-1]
    costs = [row["cost_microdollars"] or 0 for row in read_json(filled, "session")["rows"]]
    assert costs == sorted(costs, reverse=True)
    told = read_json(filled, "session", "--order", "asc")["rows"]
    assert [row["cost_microdollars"] or 0 for row in told] == costs[::-1]


@pytest.mark.parametrize(
    ("arguments", "days"),
    [
        (("--since", "20260305"), ["2026-04-04"]),
        (("--until", "2026-03-04"), ["2026-03-04"]),
        (("--since", "2026-03-04", "--until", "20260404"), ["2026-03-04", "2026-04-04"]),
        (("--since", "20260404", "--until", "20260404"), ["2026-04-04"]),
        # Behind the day in New York is midnight in UTC.
        (("--until", "20260303", "-z", "America/New_York"), []),
        (("--timezone", "Pacific/Honolulu"), ["2026-03-03", "2026-04-03"]),
        (("--since", "20990101"), []),
    ],
)
def test_days_from_and_to_with_their_last_day(filled, arguments, days):
    assert [row["date"] for row in read_json(filled, *arguments)["rows"]] == days


@pytest.mark.parametrize("zone", ["Pacific/Honolulu", ":Pacific/Honolulu",
                                  "/usr/share/zoneinfo/Pacific/Honolulu"])  # fmt: skip
def test_days_are_of_the_local_zone(filled, zone):
    told = read_json(filled, TZ=zone)
    assert told["period"]["timezone"] == "Pacific/Honolulu"
    assert told["rows"][0]["date"] == "2026-03-03"


def test_a_local_zone_without_a_name_is_told(filled):
    ended = filled.run("usage", "--json", TZ="<+03>-3")
    assert json.loads(ended.stdout)["period"]["timezone"] == "UTC"
    assert "--timezone" in ended.stderr


def test_the_local_zone_is_that_of_a_link_or_a_name(tmp_path):
    link, name = tmp_path / "localtime", tmp_path / "timezone"
    assert find_local_zone(None, localtime=link, name=name) is None
    name.write_text("Asia/Kathmandu\n")
    assert find_local_zone(None, localtime=link, name=name) == ZoneInfo("Asia/Kathmandu")
    link.symlink_to("/var/db/timezone/zoneinfo/Europe/Berlin")
    assert find_local_zone(None, localtime=link, name=name) == ZoneInfo("Europe/Berlin")
    assert find_local_zone("", localtime=link, name=name) == ZoneInfo("UTC")
    assert find_local_zone("nowhere", localtime=link, name=name) is None


def test_a_project_by_its_path_or_name(filled):
    assert len(read_json(filled, "-p", "/home/ada/engine")["rows"]) == 1
    assert read_json(filled, "--project", "mill")["totals"]["total_tokens"] == 1200
    for report in ("session", "blocks", "models"):
        assert len(read_json(filled, report, "-p", "mill")["rows"]) == 1
    ended = filled.run("usage", "-p", "engine")
    assert (ended.returncode, ended.stdout) == (2, "")
    listed = "/home/ada/engine, /home/bob/engine"
    assert ended.stderr == f"engine could be {listed}; name one project.\n"
    ended = filled.run("usage", "-p", f"no{ESCAPE}")
    assert (ended.returncode, ended.stderr) == (2, "There is no project no␛.\n")


@pytest.mark.parametrize(
    "arguments",
    [("--since", "yesterday"), ("--since", "20261301"), ("--since", "2026-0101"), ("yearly",),
     ("--since", "00010101"), ("-z", "Mars/Olympus"), ("-z", "../etc"), ("--order", "up"),
     ("--since", "20260105", "--until", "20260104"), ("--active",), ("models", "--breakdown")],
)  # fmt: skip
def test_a_wrong_command_line_is_a_usage_error(home, arguments):
    ended = home.run("usage", *arguments)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "Traceback" not in ended.stderr
    assert not home.database.exists()


def test_undercounted_output_is_told(home):
    transcript = Transcript(session_id(1), version="2.1.30")
    transcript.prompt("hello")
    transcript.answer("hi", usage=SMALL, stop_reason=None)
    write(home, transcript)
    home.run("ingest")
    assert "Output is more than that: 200 of these tokens" in usage(home)
    assert read_json(home)["totals"]["usage_quality"] == "undercounted"


def test_blocks_that_go_on_or_are_of_late(filled, home):
    assert usage(filled, "blocks", "--active") == "No block is going on.\n"
    assert usage(filled, "blocks", "--recent") == "No usage in what was asked for.\n"
    assert read_json(filled, "blocks", "--active")["totals"]["total_tokens"] == 0
    lately = numbered(1)
    for seconds in (120, 1):
        lately.answer("hi", usage=SMALL, timestamp=ago(seconds))
    write(home, lately, answered(2, days=0))
    printed = usage(home, "blocks", "--active")
    assert re.search(r"active, \d+ (h \d+ )?min left", printed)
    assert re.search(r"Burn rate: [\d,]+ tokens a minute, [\d,.]+ USD an hour\.", printed)
    assert re.search(r"At that rate: [\d,]+ tokens and [\d,.]+ USD by 20", printed)
    assert len(read_json(home, "blocks", "--recent")["rows"]) == len(rows_of(printed)) - 3
    assert len(read_json(home, "blocks")["rows"]) > len(read_json(home, "blocks", "-z", "UTC",
                                                                  "--recent")["rows"])  # fmt: skip


def ago(seconds: int) -> str:
    return (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat()


# What is printed


def test_transcripts_do_not_reach_the_terminal(filled):
    printed = usage(filled, "session")
    assert ESCAPE not in printed and "\u202e" not in printed
    assert "␛[31mlook [bold]at it" in printed
    told = usage(filled, "session", "--json")
    assert ESCAPE not in told and "\u202e" not in told
    assert json.loads(told)["rows"][0]["title"].startswith(f"{ESCAPE}[31m")


def on_terminal(home: Home, *arguments: str, columns: int, **variables: str) -> str:
    """Return what the command prints on a terminal of a width."""
    outer, inner = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "observatory", "usage", *arguments],
        cwd=home.folder,
        env=home.environment(COLUMNS=str(columns), LINES="24", TERM="xterm-256color", **variables),
        stdin=subprocess.DEVNULL,
        stdout=inner,
        stderr=subprocess.PIPE,
    )
    os.close(inner)
    printed = b""
    try:
        while piece := os.read(outer, 65536):
            printed += piece
    except OSError:
        # Linux says so at the end of a terminal.
        pass
    os.close(outer)
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(timeout=DEADLINE_SECONDS) == 0
    return printed.decode().replace("\r\n", "\n")


@pytest.mark.parametrize("columns", [20, 30, 40, 60, 80, 100, 200])
@pytest.mark.parametrize("report", ["daily", "session", "blocks", "models"])
def test_no_number_is_cut_off_on_a_narrow_terminal(filled, report, columns):
    printed = on_terminal(filled, report, columns=columns, NO_COLOR="1")
    whole = {cell for row in rows_of(usage(filled, report))[:-1] for cell in row}
    tables = printed.split("? No price")[0]
    numbers = set(re.findall(r"[\d,.]*\d[\d,.]*(?:\+\?)?", " ".join(
        line for line in tables.splitlines() if line.startswith("Total")
    )))  # fmt: skip
    assert "1,077.16+?" in numbers
    assert numbers <= whole
    if columns >= 40:
        assert all(len(line) <= columns for line in tables.splitlines())
    if columns == 200:
        assert "1,234,567,890" in numbers


def test_colours_are_for_terminals_that_want_them(filled):
    assert ESCAPE in on_terminal(filled, columns=100)
    assert ESCAPE not in on_terminal(filled, columns=100, NO_COLOR="1")
    assert ESCAPE not in usage(filled)


def test_letters_that_the_output_does_not_know_are_replaced(filled):
    printed = usage(filled, "session", PYTHONIOENCODING="ascii")
    assert "?[31mlook [bold]at it" in printed
    assert "1,077.16+?" in printed


# What is read before


def test_an_empty_archive_has_no_usage(home):
    home.projects.mkdir(parents=True)
    assert usage(home) == "No usage yet.\n"
    told = read_json(home)
    assert (told["rows"], told["totals"]["total_tokens"]) == ([], 0)
    for report in ("session", "blocks", "models", "tools", "weekly"):
        assert usage(home, report) == "No usage yet.\n"


def test_what_is_new_is_read_before(home):
    write(home, answered(1, days=0))
    assert read_json(home)["totals"]["total_tokens"] == 1200
    write(home, answered(2, days=1))
    assert read_json(home)["totals"]["total_tokens"] == 2400
    write(home, answered(3, days=2))
    assert read_json(home, "--offline")["totals"]["total_tokens"] == 2400
    assert read_json(home, "--no-ingest")["totals"]["total_tokens"] == 2400


def test_without_transcripts_the_archive_answers(home):
    write(home, answered(1, days=0))
    home.run("ingest")
    ended = home.run("usage", "--json", TRANSCRIPTS_DIR="/no/such/folder")
    assert ended.returncode == 0
    assert ended.stderr == "No transcripts in /no/such/folder yet.\n"
    assert json.loads(ended.stdout)["totals"]["total_tokens"] == 1200


def test_without_a_database_nothing_can_be_answered_as_it_is(home):
    ended = home.run("usage", "--offline")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "does not exist yet" in ended.stderr
    assert not home.database.exists()


def test_who_reads_just_now_is_waited_for_and_told(home):
    write(home, answered(1, days=0))
    home.run("ingest")
    with held(home.database, "ingest"):
        ended = home.run("usage", "--json")
    assert ended.returncode == 0
    assert ended.stderr.startswith(f"Process {os.getpid()} on ")
    assert "missing" in ended.stderr
    assert json.loads(ended.stdout)["totals"]["total_tokens"] == 1200


@contextmanager
def watching(home: Home) -> Iterator[None]:
    """Run a watcher that has caught up, while a block runs."""
    process = home.popen("-m", "observatory", "watch")
    try:
        wait_for(
            lambda: read_watcher_status(home.database).state == "running", what="the watcher to run"
        )
        yield
    finally:
        process.terminate()
        finish(process)


def test_beside_a_watcher_nothing_is_read(home):
    write(home, answered(1, days=0))
    home.run("ingest")
    # Who read now would have to wait for this one, and say so.
    with watching(home), held(home.database, "ingest"):
        assert read_json(home)["totals"]["total_tokens"] == 1200


def test_what_can_not_be_read_is_named(home):
    write(home, answered(1, days=0))
    ended = home.run("usage", "--json", TRANSCRIPTS_DIR=f"{home.projects},/dev/null")
    assert ended.returncode == 3
    assert ended.stderr == "/dev/null: Not a directory\n"
    assert json.loads(ended.stdout)["totals"]["total_tokens"] == 1200


def test_a_clock_that_was_wrong_hides_nothing(home):
    early, late = answered(1, days=0), answered(2, days=0)
    for record in early.records:
        record["timestamp"] = "1971-05-06T07:08:09.000Z"
    for record in late.records:
        record["timestamp"] = "4711-05-06T07:08:09.000Z"
    write(home, early, late, answered(3, days=0))
    assert [row["date"] for row in read_json(home)["rows"]] == [
        "1971-05-06", "2026-03-04", "4711-05-06",
    ]  # fmt: skip
    assert [row["date"] for row in read_json(home, "monthly", "-z", "Asia/Tokyo")["rows"]] == [
        "1971-05", "2026-03", "4711-05",
    ]  # fmt: skip


def test_every_session_is_told(home):
    write(home, *(answered(number, days=number / 100) for number in range(120)))
    assert len(read_json(home, "session")["rows"]) == 120


def test_a_long_name_of_a_model_leaves_room_for_the_figures(home):
    write(home, answered(1, days=0, model="m" * 300))
    printed = on_terminal(home, "-b", columns=60, NO_COLOR="1")
    table = printed.split("? No price")[0].splitlines()
    assert any("mmm…" in line for line in table)
    assert all(len(line) <= 60 for line in table)


def test_without_standard_error_figures_are_told_alone(home):
    command = '"$0" -m observatory usage --json 2>&-'
    ended = subprocess.run(
        ["sh", "-c", command, sys.executable],
        cwd=home.folder,
        env=home.environment(),
        stdout=subprocess.PIPE,
        timeout=DEADLINE_SECONDS,
    )
    assert ended.returncode == 0
    assert json.loads(ended.stdout)["rows"] == []
