"""``observatory export`` and ``import``: the same archive elsewhere, and again, and in part."""

from __future__ import annotations

import gzip
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import zstandard

from observatory.store.archive_records import RECORDS
from tests.filled_homes import change, listing, read
from tests.ingest.test_copies import OTHER, SESSION
from tests.moved_archives import (
    AGENT,
    REMOVED,
    TASKS,
    TOKEN,
    TRASHED,
    answers,
    asking,
    edited,
    fill,
    write_transcripts,
)
from tests.processes import Home, finish
from tests.test_price_commands import HOLDER

# Dies as by kill -9 when the records of a type have been written so often, before they are kept
# or after.
DIES = """
import os, signal, sys
name, number, when = sys.argv.pop(1), int(sys.argv.pop(1)), sys.argv.pop(1)
from observatory.ingest import archive_import
archive_import.BATCH_BYTES = 1
apply, write = archive_import._apply, archive_import.ArchiveWriter.write
def count(record_type):
    global number
    number -= record_type == name
    if record_type == name and not number:
        os.kill(os.getpid(), signal.SIGKILL)
def writing(self, record_type, records):
    written = write(self, record_type, records)
    if when == "within":
        count(record_type)
    return written
def applying(writer, record_type, records, summary):
    apply(writer, record_type, records, summary)
    if when == "behind":
        count(record_type)
archive_import.ArchiveWriter.write = writing
archive_import._apply = applying
from observatory.__main__ import main
sys.exit(main())
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Home:
    """A home with an archive that has something of every kind, which tests only read."""
    home = Home(tmp_path_factory.mktemp("source"))
    fill(home)
    return home


@pytest.fixture(scope="module")
def exported(source) -> Path:
    """That archive, exported."""
    path = source.folder / "archive.ndjson"
    assert source.run("export", str(path)).returncode == 0
    return path


@pytest.fixture
def home(tmp_path) -> Home:
    """A home without anything."""
    folder = tmp_path / "home"
    folder.mkdir()
    return Home(folder)


def take(home: Home, file: Path | str, *, code: int = 0) -> dict:
    """Import a file and return what was told of that."""
    ended = home.run("import", str(file), "--json")
    assert ended.returncode == code, ended.stdout + ended.stderr
    return json.loads(ended.stdout)


def export(home: Home, name: str = "again.ndjson") -> Path:
    path = home.folder / name
    ended = home.run("export", str(path), "--force")
    assert ended.returncode == 0, ended.stderr
    return path


def records_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def body(path: Path) -> bytes:
    """Return an exported archive without its header."""
    return path.read_bytes().partition(b"\n")[2]


def is_sound(home: Home) -> bool:
    ended = home.run("verify")
    assert ended.returncode == 0, ended.stdout
    return True


def revision(home: Home) -> int:
    return read(home.database, "SELECT value FROM totals WHERE name = 'revision'")[0][0]


# There and back


def test_an_imported_archive_answers_as_the_exported_one(source, exported, home):
    told = take(home, exported)
    assert told["bad"] == []
    assert is_sound(home)
    assert body(export(home)) == body(exported)
    expected, found = answers(source.database), answers(home.database)
    assert expected.keys() == found.keys()
    for path, answer in expected.items():
        assert found[path] == answer, path


def test_every_type_of_record_is_in_the_archive_of_these_tests(exported):
    types = {record["type"] for record in records_of(exported)}
    assert types == {"header", "end", *RECORDS}


def test_a_second_import_changes_nothing(exported, home):
    first = take(home, exported)
    before = revision(home)
    again = take(home, exported)
    assert again["new"] == {}
    assert sum(again["known"].values()) == sum(first["new"].values())
    assert revision(home) == before
    assert body(export(home)) == body(exported)


def test_no_events_are_noted(exported, home):
    take(home, exported)
    assert read(home.database, "SELECT count(*) FROM events") == [(0,)]


def test_real_transcripts_go_there_and_back(shared, home, tmp_path):
    assert home.run("ingest", str(shared / "dev")).returncode == 0
    path = export(home)
    other = Home(tmp_path / "other")
    other.folder.mkdir()
    assert take(other, path)["bad"] == []
    assert is_sound(other)
    assert body(export(other)) == body(path)
    assert answers(other.database) == answers(home.database)


# What is in it, and what is not


def test_what_belongs_to_the_installation_is_not_in_it(source, exported):
    text = exported.read_text()
    assert TOKEN not in text
    [(hashed,)] = read(source.database, "SELECT hex(hash) FROM api_keys")
    assert hashed.lower() not in text.lower()


def test_the_header_counts_and_nothing_is_null(exported):
    header, *records, end = records_of(exported)
    assert (header["format"], header["version"]) == ("observatory-archive", "1.0")
    for name, count in header["counts"].items():
        assert count == sum(record["type"] == name for record in records)
    assert end == {"type": "end", "records": len(records)}
    assert all(None not in record.values() for record in records)


@pytest.mark.parametrize(("name", "unpack"), [
    ("a.ndjson.gz", gzip.decompress),
    ("a.ndjson.zst", lambda data: zstandard.ZstdDecompressor().decompressobj().decompress(data)),
])  # fmt: skip
def test_it_is_compressed_as_its_name_says(source, exported, home, name, unpack):
    path = home.folder / name
    assert source.run("export", str(path)).returncode == 0
    assert unpack(path.read_bytes()).partition(b"\n")[2] == body(exported)
    assert path.stat().st_mode & 0o777 == 0o600
    assert take(home, path)["is_whole"]


def test_a_file_that_is_there_is_kept_unless_forced(source, exported):
    ended = source.run("export", str(exported))
    assert ended.returncode == 1
    assert "--force" in ended.stderr


def test_from_one_to_the_other_through_a_pipe(source, exported, home):
    writer = subprocess.Popen(
        [sys.executable, "-m", "observatory", "export", "-"],
        cwd=source.folder,
        env=source.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    reader = subprocess.run(
        [sys.executable, "-m", "observatory", "import", "-"],
        cwd=home.folder,
        env=home.environment(),
        stdin=writer.stdout,
        capture_output=True,
        check=False,
    )
    assert writer.stdout is not None
    writer.stdout.close()
    assert (writer.wait(), reader.returncode) == (0, 0), reader.stderr
    assert body(export(home)) == body(exported)


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("export - >&-", "Standard output is closed"),
        ("export - >/dev/full", "No space left"),
        ("import - <&-", "Standard input is closed"),
    ],
)
def test_a_stream_that_is_closed_or_full_is_told(source, command, told):
    ended = source.shell(f"{sys.executable} -m observatory {command}")
    assert ended.returncode == 1
    assert told in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_commands_need_no_standard_output(source):
    for command in ("doctor", "verify", "compact", "backup b.db --force"):
        ended = source.shell(f"{sys.executable} -m observatory {command} >&-")
        assert (ended.returncode, ended.stderr) == (0, "")


def test_it_is_read_from_a_pipe_with_a_name(exported, home):
    ended = home.shell(f"{sys.executable} -m observatory import <(cat {exported})")
    assert ended.returncode == 0, ended.stderr
    assert body(export(home)) == body(exported)


def test_a_dry_run_makes_nothing(exported, home):
    ended = home.run("import", str(exported), "--dry-run", "--json")
    assert ended.returncode == 0, ended.stderr
    counts = records_of(exported)[0]["counts"]
    assert json.loads(ended.stdout)["new"] == counts
    assert not home.database.exists()


def test_a_dry_run_tells_what_an_import_would_do(exported, home, tmp_path):
    """Beside what is here, what was removed here, and lines that can not be kept."""
    take(home, exported)
    with asking(home.database) as client:
        client.delete(f"/api/conversations/{SESSION}?permanent=true")
        client.delete(f"/api/conversations/{TASKS}?permanent=true")

    def change_one(record: dict) -> dict:
        if record["type"] == "conversation" and record["id"] == TRASHED:
            record["title"] = 7
        if record["type"] == "budget":
            record["name"] = "Another"
        return record

    other = edited(exported, change_one, tmp_path / "edited.ndjson")
    before = listing(home.folder)
    would = home.run("import", str(other), "--dry-run", "--json")
    assert would.returncode == 3, would.stderr
    new = {name for name in listing(home.folder) if name not in before}
    assert new == {"data/observatory.db.dry-run.lock"}
    told, done = json.loads(would.stdout), take(home, other, code=3)
    assert told.pop("is_dry_run") is True
    assert told.pop("seconds") >= 0
    assert told == {name: done[name] for name in told}
    assert told["new"] == {"budget": 1}
    assert told["copies_passed_over"] == 0
    assert told["passed_over"]["message"] > 0


@pytest.mark.parametrize("is_first", [False, True])
def test_what_could_not_be_kept_is_read_from_its_transcript(
    source, exported, home, tmp_path, is_first
):
    """Also when how far it was read stands before it: the file may be in a wrong order."""
    lines = [json.loads(line) for line in exported.read_bytes().splitlines()]
    [refused] = [line for line in lines if line.get("content") == "only in the original"]
    refused["role"] = 7
    if is_first:
        states = [line for line in lines if line["type"] == "transcript_state"]
        others = [line for line in lines[1:] if line["type"] != "transcript_state"]
        place = next(n for n, line in enumerate(others) if line["type"] == "message")
        lines = [lines[0], *others[:place], *states, *others[place:]]
    path = tmp_path / "wrong.ndjson"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    told = take(home, path, code=3)
    assert told["bad_lines"] == 1
    assert told["to_read_anew"] == told["new"]["transcript_file"]
    home.variables["CLAUDE_CONFIG_DIR"] = str(source.folder / ".claude")
    assert home.run("ingest").returncode == 0
    found = read(home.database, "SELECT count(*) FROM messages WHERE content LIKE 'only in the o%'")
    assert found == [(1,)]
    assert is_sound(home)


def test_copies_of_what_was_removed_here_are_told(source, exported, home, tmp_path):
    """The copies themselves were never here: only what they are copies of was, and was removed."""
    original = edited(exported, lambda record: without(record, OTHER), tmp_path / "one.ndjson")
    take(home, original)
    with asking(home.database) as client:
        client.delete(f"/api/conversations/{SESSION}?permanent=true")
    ended = home.run("import", str(exported))
    assert ended.returncode == 0, ended.stderr
    assert "3 of these are copies in conversations that are here, which lack them" in ended.stdout
    home.variables["CLAUDE_CONFIG_DIR"] = str(source.folder / ".claude")
    assert home.run("ingest").returncode == 0
    sql = "SELECT c.id FROM messages m JOIN conversations c ON c.key = m.conversation_key"
    assert read(home.database, f"{sql} WHERE content = 'shared prompt'") == [(OTHER,)]


def without(record: dict, conversation: str) -> dict | None:
    """Return a record unless it is of a conversation."""
    return None if conversation in json.dumps(record) else record


def test_an_import_takes_turns_with_an_ingest(exported, home):
    take(home, exported)
    holder = home.popen("-c", HOLDER, str(home.database))
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    ended = home.run("import", str(exported))
    holder.kill()
    holder.communicate()
    assert ended.returncode == 75
    assert "--wait" in ended.stderr


# Beside transcripts


def test_reading_the_same_transcripts_after_it_doubles_nothing(source, exported, home):
    take(home, exported)
    ended = home.run("ingest", str(source.projects))
    assert ended.returncode == 0, ended.stderr
    assert body(export(home)) == body(exported)


def test_reading_them_elsewhere_doubles_nothing_and_brings_nothing_back(exported, home):
    take(home, exported)
    write_transcripts(home)
    before = answers(home.database)
    ended = home.run("ingest")
    assert ended.returncode == 0, ended.stderr
    assert is_sound(home)
    counted = "SELECT count(*), count(DISTINCT id) FROM "
    for table in ("messages", "api_calls", "conversations"):
        [(rows, ids)] = read(home.database, counted + table)
        assert rows == ids == sum(r["type"] + "s" == table for r in records_of(exported))
    with asking(home.database) as client:
        client.get(f"/api/conversations/{REMOVED}", status=404)
    for path, answer in answers(home.database).items():
        if "/messages" in path or "/analytics/" in path:
            assert answer == before[path], path


def test_an_import_after_reading_the_same_adds_what_clients_did(source, exported, home):
    write_transcripts(home)
    assert home.run("ingest").returncode == 0
    told = take(home, exported)
    assert told["bad"] == []
    assert is_sound(home)
    totals = "SELECT count(*), sum(output_tokens) FROM api_calls WHERE id NOT LIKE 'msg_f%'"
    assert read(home.database, totals) == read(source.database, totals)
    # What is here already stays: it was not renamed here, and nothing was removed.
    with asking(home.database) as client:
        assert client.get(f"/api/conversations/{SESSION}").json["data"]["title"] != "Renamed"
        client.get(f"/api/conversations/{REMOVED}")
        found = client.get("/api/search?q=富士").json["data"]
    assert found["pagination"]["total"] == 1


def test_what_was_removed_here_does_not_come_back(exported, home):
    take(home, exported)
    with asking(home.database) as client:
        client.delete(f"/api/conversations/{TASKS}?permanent=true")
    told = take(home, exported)
    assert told["bad"] == []
    assert told["new"] == {}
    assert told["passed_over"]["conversation"] == 2
    assert is_sound(home)
    with asking(home.database) as client:
        client.get(f"/api/conversations/{TASKS}.{AGENT}", status=404)


def test_a_subagent_that_was_not_here_goes_with_its_session(exported, home, tmp_path):
    def is_not_of_subagent(record: dict) -> dict | None:
        return None if AGENT in json.dumps(record) and record["type"] != "tool_use" else record

    take(home, edited(exported, is_not_of_subagent, tmp_path / "less.ndjson"))
    with asking(home.database) as client:
        client.delete(f"/api/conversations/{TASKS}?permanent=true")
    told = take(home, exported)
    assert told["bad"] == []
    assert told["passed_over"]["conversation"] == 2
    assert is_sound(home)


def test_which_of_two_was_read_first_may_differ_here(source, home, exported):
    """The copy is the original here: what is common to both is kept once all the same."""
    target = home.projects / "-work" / f"{OTHER}.jsonl"
    target.parent.mkdir(parents=True)
    shutil.copy(source.projects / "-work" / f"{OTHER}.jsonl", target)
    assert home.run("ingest").returncode == 0
    told = take(home, exported)
    assert told["bad"] == []
    assert is_sound(home)
    assert take(home, exported)["new"] == {}
    common = "SELECT count(*) FROM messages WHERE content = 'shared prompt'"
    assert read(home.database, common) == [(1,)]
    with asking(home.database) as client:
        shown = client.get(f"/api/conversations/{SESSION}/messages").json["data"]["messages"]
    assert [each["content"] for each in shown][:3] == ["shared prompt", "", "file.txt"]
    tokens = "SELECT sum(output_tokens) FROM api_calls"
    assert read(home.database, tokens) == read(source.database, tokens)


# Who may see it


def test_what_was_not_for_everyone_is_not_for_everyone_here(exported, home):
    told = take(home, exported)
    assert told["listed"] == ["/home/ada/hidden"]
    change(home.database, "UPDATE projects SET visibility = 'everyone'")
    assert take(home, exported)["listed"] == ["/home/ada/hidden"]
    where = "SELECT visibility FROM projects WHERE path = '/home/ada/hidden'"
    assert read(home.database, where) == [("listed",)]


def test_a_rule_for_how_long_holds_for_a_new_project_only(exported, home, tmp_path):
    def with_rule(record: dict) -> dict:
        if record["type"] == "project" and record["path"] == "/home/ada/2":
            record |= {
                "retention_days": 1,
                "retention_action": "remove",
                "retention_updated_at": "2026-03-04T00:00:00.000Z",
            }
        return record

    take(home, exported)
    take(home, edited(exported, with_rule, tmp_path / "ruled.ndjson"))
    rules = "SELECT count(*) FROM project_retention WHERE days = 1"
    assert read(home.database, rules) == [(0,)]


# Interrupted


@pytest.mark.parametrize(("name", "number", "when"), [
    ("project", 2, "behind"), ("conversation", 4, "within"), ("conversation", 4, "behind"),
    ("api_call", 3, "behind"), ("message", 1, "within"), ("message", 9, "behind"),
    ("tool_use", 2, "behind"), ("transcript_state", 3, "behind"),
])  # fmt: skip
def test_an_import_that_was_killed_is_sound_and_goes_on(exported, home, name, number, when):
    process = home.popen("-c", DIES, name, str(number), when, "import", str(exported))
    assert finish(process).returncode == -signal.SIGKILL
    assert is_sound(home)
    take(home, exported)
    assert is_sound(home)
    assert body(export(home)) == body(exported)


@pytest.mark.parametrize(("name", "number"), [("message", 9), ("tool_use", 2)])
def test_transcripts_may_be_read_between_two_parts_of_it(exported, home, name, number, source):
    process = home.popen("-c", DIES, name, str(number), "behind", "import", str(exported))
    assert finish(process).returncode == -signal.SIGKILL
    assert home.run("ingest", str(source.projects)).returncode == 0
    assert is_sound(home)
    assert take(home, exported)["bad"] == []
    assert is_sound(home)
    for table in ("messages", "api_calls", "tool_uses", "conversations"):
        count = f"SELECT count(*) FROM {table}"
        assert read(home.database, count) == read(source.database, count)
    with asking(home.database) as client:
        assert client.get("/api/search?q=日本").json["data"]["pagination"]["total"] == 1
        client.get(f"/api/conversations/{TRASHED}", status=404)
