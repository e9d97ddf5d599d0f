"""``observatory tail``, as a process beside others that write."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from observatory.store.locks import held
from tests.api.sessions import numbered, session_id
from tests.processes import DEADLINE_SECONDS, Home, finish, serving, wait_for
from tests.transcripts_for_tests import Transcript

NOBODY_FOLLOWS = "Nothing follows the transcripts; `observatory serve` does.\n"
TIME = re.compile(r"^\d\d:\d\d:\d\d  ")


@pytest.fixture
def home(tmp_path) -> Home:
    return Home(tmp_path, {"TZ": "UTC"})


@pytest.fixture
def filled(home) -> Home:
    """A home whose database has two conversations, in two projects."""
    first = numbered(1)
    first.prompt("please look\nat the parser")
    first.tool_use("Bash", {"command": "ls -la src"})
    first.tool_result("a.py")
    first.answer("The parser does it")
    second = numbered(2, cwd="/home/ada/wheel")
    second.prompt("hello")
    second.answer("hi")
    ingest(home, first, second)
    return home


def ingest(home: Home, *transcripts: Transcript) -> None:
    """Read transcripts in a process of its own."""
    folder = home.projects / "-work"
    folder.mkdir(parents=True, exist_ok=True)
    for transcript in transcripts:
        (folder / f"{transcript.session_id}.jsonl").write_bytes(transcript.bytes())
    ended = home.run("ingest")
    assert ended.returncode == 0, ended.stderr


def said(number: int, text: str) -> Transcript:
    transcript = numbered(number)
    transcript.prompt(text)
    return transcript


def lines_of(text: str) -> list[str]:
    """Return lines without the day and the time, which are those of the test."""
    lines = [line for line in text.splitlines() if not line.startswith("── ")]
    assert all(TIME.match(line) for line in lines), lines
    return [TIME.sub("", line) for line in lines]


@dataclass(slots=True)
class Tail:
    """A running ``observatory tail``, and the lines that it printed so far."""

    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)

    def wait_for(self, text: str) -> str:
        """Return the first line that has a text in it."""

        def find() -> str | None:
            return next((line for line in list(self.lines) if text in line), None)

        return str(wait_for(find, what=f"a line with {text!r}"))

    def end(self, number: int) -> tuple[int, str]:
        """Send it a signal and return its exit code and what it said to standard error."""
        self.process.send_signal(number)
        code = self.process.wait(timeout=DEADLINE_SECONDS)
        assert self.process.stderr is not None
        return code, self.process.stderr.read()


@contextmanager
def tailing(home: Home, *arguments: str, **variables: str) -> Iterator[Tail]:
    """Run ``observatory tail`` while a block runs."""
    process = home.popen("-m", "observatory", "tail", *arguments, **variables)
    tail = Tail(process)
    assert process.stdout is not None

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            tail.lines.append(line)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield tail
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        reader.join()
        process.stdout.close()
        assert process.stderr is not None
        process.stderr.close()


# What is there


def test_the_last_events_are_told_in_lines(filled):
    ended = filled.run("tail", "--once", "--project", "engine")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert lines_of(ended.stdout) == [
        "engine           + /home/ada/engine  new project",
        "engine  00000001  ● please look at the parser",
        "engine  00000001  > please look …",
        "engine  00000001  ⏺ Bash  ls -la src",
        "engine  00000001  The parser does it",
        "engine  00000001    Bash success 1.0 s",
    ]


def test_as_many_are_told_as_asked_for(filled):
    everything = lines_of(filled.run("tail", "--once", "--since", "all").stdout)
    assert len(everything) == 10
    for number in (0, 1, 9):
        ended = filled.run("tail", "--once", "--lines", str(number))
        assert [line.split() for line in lines_of(ended.stdout)] == [
            line.split() for line in everything[len(everything) - number :]
        ]


def test_json_is_one_event_a_line_as_the_api_has_it(filled):
    ended = filled.run("tail", "--once", "--since", "all", "--json")
    events = [json.loads(line) for line in ended.stdout.splitlines()]
    assert [event["id"] for event in events] == list(range(1, len(events) + 1))
    assert {"message_added", "tool_use_finished"} < {event["type"] for event in events}
    roles = [e["data"]["message"]["role"] for e in events if e["type"] == "message_added"]
    assert roles.count("user") == 3
    after = filled.run("tail", "--once", "--since", "3", "--json")
    assert after.stdout.splitlines() == ended.stdout.splitlines()[3:]


@pytest.mark.parametrize(
    ("filters", "told"),
    [
        (("--project", "/home/ada/wheel", "--type", "message_added"), ["> hello", "hi"]),
        (("--conversation", session_id(2), "--role", "user"), ["> hello"]),
        (("--conversation", "00000002", "--role", "assistant"), ["hi"]),
        (("--tool", "Bash"), ["⏺ Bash  ls -la src", "  Bash success 1.0 s"]),
        (("--tool", "Bash", "--type", "tool_use_finished"), ["  Bash success 1.0 s"]),
        (("--tool", "Read"), []),
        (("--type", "message_added", "--role", "user"), ["> please look …", "  a.py", "> hello"]),
        (("--type", "conversation_started,project_discovered", "--project", "wheel"),
         ["+ /home/ada/wheel  new project", "● hello"]),
    ],
)  # fmt: skip
def test_only_what_is_wanted_is_told(filled, filters, told):
    ended = filled.run("tail", "--once", *filters)
    assert ended.returncode == 0, ended.stderr
    columns = re.compile(r"^(engine|wheel) +(0000000\d  )?")
    assert [columns.sub("", line) for line in lines_of(ended.stdout)] == told


def test_a_project_goes_by_a_path_from_here(filled):
    below = filled.folder / "here"
    below.mkdir()
    transcript = numbered(3, cwd=str(below))
    transcript.prompt("from here")
    ingest(filled, transcript)
    assert "from here" in filled.run("tail", "--once", "--project", "./here/").stdout


def test_changes_of_a_conversation_are_told_once_in_a_while_to_who_asks(filled):
    for text in ("more", "and more"):
        transcript = numbered(2, cwd="/home/ada/wheel")
        transcript.prompt("hello")
        transcript.answer("hi")
        transcript.prompt(text)
        if text == "and more":
            transcript.prompt("yet more")
        ingest(filled, transcript)
    as_they_are = filled.run("tail", "--once", "--type", "conversation_updated", "--json")
    assert len(as_they_are.stdout.splitlines()) >= 2
    ended = filled.run("tail", "--once", "--type", "conversation_updated")
    # So long as both came within seconds, which is up to the machine: at least not more.
    assert 1 <= len(lines_of(ended.stdout)) <= len(as_they_are.stdout.splitlines())
    assert "messages, 1.1 k tokens" in ended.stdout
    assert "= " not in filled.run("tail", "--once").stdout


def test_hostile_text_reaches_no_terminal(home):
    transcript = numbered(1, cwd="/w/\x1b[2Jengine\u202e")
    transcript.prompt("a\x1b]0;owned\x07b\rc\u202ed\x9be")
    ingest(home, transcript)
    lines = home.run("tail", "--once").stdout
    assert "> a␛]0;owned␇b c" not in lines  # A carriage return begins another line.
    assert "> a␛]0;owned␇b …" in lines
    for text in (lines, home.run("tail", "--once", "--json").stdout):
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", text)
        assert text.isprintable() or text.replace("\n", "").isprintable()


# What comes


def test_what_another_process_ingests_is_told_as_it_comes(filled):
    with tailing(filled, "--lines", "1") as tail:
        tail.wait_for("Bash success")
        ingest(filled, said(3, "something new"))
        tail.wait_for("> something new")
        ingest(filled, said(4, "newer still"))
        assert tail.wait_for("> newer still").split()[1:3] == ["engine", "00000004"]
        assert tail.end(signal.SIGTERM) == (143, NOBODY_FOLLOWS)
    assert sum("something new" in line for line in tail.lines) == 2


def test_what_is_written_through_the_api_is_told(filled):
    with (
        serving(filled, "--no-ingest") as server,
        tailing(filled, "--json", "--lines", "1") as tail,
    ):
        tail.wait_for("tool_use_finished")
        made = server.post("/api/conversations", {"title": "by hand"})
        event = json.loads(tail.wait_for("by hand"))
        assert event["conversation_id"] == made["id"]


def test_only_what_is_wanted_is_told_as_it_comes(filled):
    with tailing(filled, "--type", "message_added", "--conversation", "00000002") as tail:
        tail.wait_for("> hello")
        ingest(filled, said(3, "of another one"))
        more = numbered(2, cwd="/home/ada/wheel")
        more.prompt("hello")
        more.answer("hi")
        more.prompt("of this one")
        ingest(filled, more)
        tail.wait_for("of this one")
    assert not any("of another one" in line for line in tail.lines)


def test_events_that_are_not_kept_any_more_are_told_as_a_gap(filled):
    forget = sqlite3.connect(filled.database)
    with forget:
        forget.execute("DELETE FROM events WHERE id <= 3")
    forget.close()
    ended = filled.run("tail", "--once", "--since", "1")
    assert ended.stdout.splitlines()[0] == "── events 2 to 3 are not kept any more"
    first = filled.run("tail", "--once", "--since", "1", "--json").stdout.splitlines()[0]
    assert json.loads(first) == {"type": "resync", "reason": "expired", "after": 3}
    ended = filled.run("tail", "--once", "--since", "999")
    assert re.fullmatch(r"── there is no event 999 yet; the newest is \d+\n", ended.stdout)
    assert "── " not in filled.run("tail", "--once", "--since", "all").stdout


@pytest.mark.parametrize("work", ["watch", "ingest"])
def test_it_is_told_only_when_nothing_follows_the_transcripts(filled, work):
    with held(filled.database, work), tailing(filled) as tail:
        tail.wait_for("Bash success")
        assert tail.end(signal.SIGTERM) == (143, "")


# How it ends


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("options", [(), ("--json",)])
def test_a_signal_ends_it_without_a_traceback(filled, number, code, options):
    with tailing(filled, *options) as tail:
        wait_for(lambda: tail.lines, what="its first line")
        assert tail.end(number) == (code, NOBODY_FOLLOWS)


def test_a_signal_ends_it_while_nobody_takes_what_it_prints(filled):
    """A full pipe, as before a pager: it neither waits for the reader nor then at its end."""
    taken, given = os.pipe()
    os.set_blocking(given, False)
    try:
        while os.write(given, b"x" * 65536):
            pass
    except BlockingIOError:
        os.set_blocking(given, True)
    process = subprocess.Popen(
        [sys.executable, "-m", "observatory", "tail", "--json"],
        cwd=filled.folder, env=filled.environment(), stdin=subprocess.DEVNULL,
        stdout=given, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    with process.stderr:
        assert process.stderr.readline() == NOBODY_FOLLOWS
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=DEADLINE_SECONDS) == 143
        assert process.stderr.read() == ""
    os.close(taken)
    os.close(given)


def test_it_ends_when_its_reader_is_gone(filled):
    command = f"{sys.executable} -m observatory tail | head -1; echo ${{PIPESTATUS[0]}}"
    ended = subprocess.run(
        ["bash", "-c", command], cwd=filled.folder, env=filled.environment(),
        capture_output=True, text=True, timeout=DEADLINE_SECONDS, check=False,
    )  # fmt: skip
    first, code = ended.stdout.splitlines()
    assert lines_of(first)
    assert (code, ended.stderr) == ("141", NOBODY_FOLLOWS)


def test_it_ends_when_its_reader_is_gone_though_nothing_happens(filled):
    process = filled.popen("-m", "observatory", "tail", "--lines", "1")
    assert process.stdout is not None and process.stderr is not None
    with process.stdout, process.stderr:
        assert process.stdout.readline()
        process.stdout.close()
        assert process.wait(timeout=DEADLINE_SECONDS) == 141
        assert process.stderr.read() == NOBODY_FOLLOWS


# What is wrong


def test_a_database_that_is_not_there_is_told_and_not_made(home):
    ended = home.run("tail")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == (
        "data/observatory.db does not exist yet; `observatory serve` makes it.\n"
    )
    assert not home.database.parent.exists()


def test_an_empty_file_stays_empty(home):
    home.database.parent.mkdir()
    home.database.touch()
    assert home.run("tail").returncode == 1
    assert list(home.database.parent.iterdir()) == [home.database]
    assert home.database.stat().st_size == 0


def test_a_file_that_is_no_database_is_told_without_a_traceback(home):
    home.database.parent.mkdir()
    home.database.write_text("This is no database. " * 100)
    ended = home.run("tail")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "DB_PATH names another kind of file" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_reading_changes_nothing(filled):
    before = filled.database.read_bytes()
    assert filled.run("tail", "--once", "--since", "all").returncode == 0
    assert filled.database.read_bytes() == before


def test_an_older_schema_is_refused_and_left_as_it_is(filled):
    connection = sqlite3.connect(filled.database)
    with connection:
        [(name,)] = connection.execute("SELECT max(name) FROM schema_migrations")
        connection.execute("DELETE FROM schema_migrations WHERE name = ?", (name,))
    connection.close()
    ended = filled.run("tail", "--once")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert f"lacks {name}. Run `observatory migrate`." in ended.stderr


def test_a_newer_schema_is_refused(filled):
    connection = sqlite3.connect(filled.database)
    with connection:
        connection.execute(
            "INSERT INTO schema_migrations (name, applied) VALUES ('9999_later', '2030-01-01')"
        )
    connection.close()
    ended = filled.run("tail", "--once")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "written by a newer version of the Observatory (9999_later)" in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--conversation", "ffff"), "There is no conversation ffff."),
        (("--conversation", "000"), "--conversation takes 4 characters of an id at least."),
        (("--conversation", "0000"), f"0000 could be {session_id(1)}, {session_id(2)}; name one "
         "conversation."),
        (("--project", "gear"), "There is no project gear."),
        (("--project", "a\x1b[31m"), "There is no project a␛[31m."),
        (("--project", b"\xff".decode(errors="surrogateescape")), "There is no project %FF."),
        (("--conversation", b"\xff".decode(errors="surrogateescape") * 9),
         f"There is no conversation {'%FF' * 9}."),
    ],
)  # fmt: skip
def test_what_is_unknown_is_a_usage_error(filled, arguments, told):
    ended = filled.run("tail", "--once", *arguments)
    assert (ended.returncode, ended.stdout, ended.stderr) == (2, "", f"{told}\n")


@pytest.mark.parametrize(
    "arguments",
    [("--type", "dance"), ("--type", ""), ("--role", "king"), ("--since", "-1"), ("--since", "x"),
     ("--lines", "-1"), ("--lines", "²"), ("--since", "1", "--lines", "1"), ("more",)],
)  # fmt: skip
def test_a_wrong_command_line_is_a_usage_error(home, arguments):
    ended = home.run("tail", *arguments)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("usage: observatory")


# On a terminal


def on_terminal(home: Home, *arguments: str, **variables: str) -> str:
    """Return what a command prints on a terminal of 40 columns."""
    ours, theirs = pty.openpty()
    subprocess.run(["stty", "cols", "40", "rows", "20"], stdin=theirs, check=True)
    process = subprocess.Popen(
        [sys.executable, "-m", "observatory", *arguments],
        cwd=home.folder, env=home.environment(TERM="xterm", **variables),
        stdin=theirs, stdout=theirs, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    os.close(theirs)
    printed = b""
    try:
        while piece := os.read(ours, 4096):
            printed += piece
    except OSError:
        pass  # Linux says so when nobody has the terminal open any more.
    os.close(ours)
    ended = finish(process)
    assert (ended.returncode, ended.stderr) == (0, "")
    return printed.decode()


def test_a_terminal_gets_colours_and_lines_of_its_width(filled):
    ingest(filled, said(3, "漢字" * 30))
    printed = on_terminal(filled, "tail", "--once", "--since", "all")
    assert "\x1b[" in printed
    lines = re.sub(r"\x1b\[[0-9;]*m", "", printed).splitlines()
    assert any(line.endswith("漢…") or line.endswith("字…") for line in lines)
    plain = on_terminal(filled, "tail", "--once", "--since", "all", NO_COLOR="1")
    assert "\x1b" not in plain
    assert plain.splitlines() == lines
