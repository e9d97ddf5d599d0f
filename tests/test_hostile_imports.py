"""``observatory import`` of files that nobody should have written: clear errors, and no damage."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from observatory.ingest.archive_import import import_archive
from observatory.store.archive_records import RECORDS
from observatory.store.database import fetch_all
from tests.filled_homes import read
from tests.moved_archives import OTHER, SESSION, TASKS, edited, fill
from tests.processes import Home
from tests.verified import find_faults

HEADER = {"type": "header", "format": "observatory-archive", "version": "1.0"}


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Path:
    """An exported archive with something of every kind in it."""
    home = Home(tmp_path_factory.mktemp("source"))
    fill(home)
    path = home.folder / "archive.ndjson"
    assert home.run("export", str(path)).returncode == 0
    return path


def take(db: Path, path: Path) -> Any:
    with path.open("rb") as stream:
        return import_archive(stream.read)


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def write(path: Path, *records: Any, header: Any = HEADER) -> Path:
    end = {"type": "end", "records": len(records)}
    path.write_bytes(
        b"".join(
            (each if isinstance(each, bytes) else json.dumps(each).encode()) + b"\n"
            for each in (header, *records, end)
        )
    )
    return path


def check_sound() -> None:
    """Assert that `observatory verify` finds nothing wrong with the connected database."""
    assert find_faults() == []


def changing(record_type: str, **values: Any) -> Callable[[dict[str, Any]], Any]:
    """Return what gives the records of a type other values."""

    def change(record: dict[str, Any]) -> dict[str, Any]:
        return record | values if record["type"] == record_type else record

    return change


# Each field of each type


@pytest.mark.parametrize("record_type", RECORDS)
def test_no_value_of_a_wrong_type_is_kept_and_none_does_damage(record_type, exported, db, tmp_path):
    """Every field in turn has what it can not be, on a line of its own."""
    records = lines_of(exported)
    wrong = [-(2**70), 1.5, {"a": ["\0"]}, "\0", [[]], True, None]
    made = []
    for record in records[1:-1]:
        if record["type"] != record_type:
            made.append(record)
            continue
        for name, field in RECORDS[record_type].items():
            made += [
                record | {name: value}
                for value in wrong
                if (value is None and not field.is_optional)
                or (value is not None and field.check(value))
            ]
        break
    number = sum(record["type"] == record_type for record in made)
    told = take(db, write(tmp_path / "wrong.ndjson", *made))
    assert number > 5
    assert told.bad_lines >= number
    assert told.new[record_type] == 0
    check_sound()


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"[]",
        b"null",
        b'"text"',
        b"{",
        b'{"type": 5}',
        b'{"type": "nothing"}',
        b'{"type": ["message"]}',
        b'{"type": "message"}',
        b'{"type": "summary", "message": "\\ud800", "summary": "lone"}',
        b'{"type": "summary", "message": "a\\u0000b", "summary": "NUL"}',
        b'{"type": "summary", "message": "\xff", "summary": "no UTF-8"}',
        b'{"type": "summary", "message": ' + b"[" * 100_000,
        b"\0" * 1000,
    ],
    ids=lambda line: line[:40].decode("latin-1"),
)
def test_a_line_that_is_no_record_is_named_and_others_are_kept(line, db, tmp_path):
    good = {"type": "summary", "message": "m", "summary": "kept"}
    told = take(db, write(tmp_path / "bad.ndjson", good, line, good | {"message": "n"}))
    assert [number for number, _ in told.bad] == [3]
    assert told.new == {"summary": 2}
    check_sound()


# What records say of one another


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (changing("message", conversation="nobody"), "there is no conversation 'nobody'"),
        (changing("message", copy_of="nothing"), "there is no message 'nothing'"),
        (changing("tool_use", message="nothing"), "has no message 'nothing'"),
        (changing("tool_use", conversation=SESSION), "has no message"),
        (changing("conversation", project="/nowhere"), "there is no project"),
        (changing("api_call", conversation="nobody"), "there is no conversation"),
        (changing("api_call", output_tokens=2**40), None),
        (changing("secret_finding", message="nothing"), "there is no message"),
        (changing("conversation", parent="nobody", kind="subagent"), "it stays without"),
        (changing("message", file="/nowhere.jsonl", api_call="nothing"), None),
        (changing("message", id="the same"), None),
        (changing("message", position=2**63 - 1, content="漢字"), None),
        (changing("conversation", title="漢" * 100_000), "more than 5000 characters"),
        (changing("conversation", title="漢" * 5000, tags=["a", "a"]), None),
        (changing("transcript_state", generation=0, byte_offset=2**63 - 1), None),
    ],
)
def test_what_names_nothing_is_refused_and_nothing_is_damaged(
    change, reason, exported, db, tmp_path
):
    told = take(db, edited(exported, change, tmp_path / "other.ndjson"))
    if reason is None:
        assert told.is_whole
    else:
        assert any(reason in each for _, each in told.bad), told.bad
    check_sound()
    again = take(db, exported)
    assert again.is_whole
    check_sound()


@pytest.mark.parametrize("batch", [1, 2, 1000])
def test_parents_in_a_circle_are_cut_open(batch, exported, db, tmp_path):
    above = {"one": "two", "two": "three", "three": "one", "own": "own"}
    model = next(r for r in lines_of(exported) if r["type"] == "conversation" and "parent" in r)
    made = [model | {"id": name, "parent": parent} for name, parent in above.items()]
    for each in made:
        each.pop("project", None)
    path = write(tmp_path / "circle.ndjson", *made)
    with path.open("rb") as stream:
        told = import_archive(stream.read, batch_records=batch)
    assert told.new["conversation"] == 4
    assert sum("below it, or itself" in reason for _, reason in told.bad) == 2
    check_sound()


def test_a_copy_of_a_copy_is_one_of_the_original(exported, db, tmp_path):
    copies = [r for r in lines_of(exported) if r["type"] == "message" and "copy_of" in r]
    made = copies[0] | {"id": "again", "copy_of": copies[1]["id"], "conversation": TASKS}

    def add(record: dict[str, Any]) -> dict[str, Any]:
        return made if record["type"] == "message" and record["id"] == copies[2]["id"] else record

    told = take(db, edited(exported, add, tmp_path / "copies.ndjson"))
    assert told.bad == []
    check_sound()


def test_an_id_that_is_another_kinds_here_gets_its_kind(exported, db, tmp_path):
    take(db, exported)

    def change(record: dict[str, Any]) -> dict[str, Any]:
        if record["type"] == "conversation" and record["id"] == OTHER:
            return record | {"kind": "subagent"}
        return record

    path = edited(exported, change, tmp_path / "kinds.ndjson")
    told = take(db, path)
    assert told.new["conversation"] == 1
    check_sound()
    assert take(db, path).new == {}


def test_another_conversations_message_is_not_taken_over(exported, db, tmp_path):
    take(db, exported)

    def change(record: dict[str, Any]) -> Any:
        if record["type"] == "message" and record["conversation"] == SESSION:
            return record | {"conversation": TASKS, "content": "forged"}
        return record

    take(db, edited(exported, change, tmp_path / "forged.ndjson"))
    check_sound()
    forged = fetch_all(
        "SELECT c.id FROM messages m JOIN conversations c ON c.key = m.conversation_key"
        " WHERE m.content = 'forged' AND c.id <> ?",
        (TASKS,),
    )
    assert forged == []


# Header and end


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ({"type": "header"}, "no exported archive"),
        ([], "no exported archive"),
        (b"SQLite format 3\0", "no exported archive"),
        (HEADER | {"version": "2.0"}, "version 2 of the format"),
        (HEADER | {"version": "0.9"}, "version 0 of the format"),
        (HEADER | {"version": "1"}, "names no version"),
        (HEADER | {"version": None}, "names no version"),
        (HEADER | {"version": "1.\u0663"}, "names no version"),
    ],
)
def test_what_is_of_another_kind_or_major_version_is_refused(header, reason, tmp_path):
    home = Home(tmp_path)
    path = write(tmp_path / "other.ndjson", header=header)
    ended = home.run("import", str(path))
    assert ended.returncode == 1
    assert reason in ended.stderr
    assert "Traceback" not in ended.stderr


def test_what_a_newer_minor_version_adds_is_passed_over_and_counted(db, tmp_path):
    good = {"type": "summary", "message": "m", "summary": "kept", "more": [1]}
    path = write(
        tmp_path / "n.ndjson", good, {"type": "novelty"}, header=HEADER | {"version": "1.7"}
    )
    told = take(db, path)
    assert (told.bad, told.new, told.unknown) == ([], {"summary": 1}, {"novelty": 1})
    assert not told.has_failures


@pytest.mark.parametrize("name", ["cut.ndjson", "cut.ndjson.gz", "cut.ndjson.zst"])
def test_a_file_that_is_cut_off_is_kept_up_to_there_and_told(name, exported, tmp_path):
    source = Home(exported.parent)
    whole = tmp_path / f"whole.{name}"
    assert source.run("export", str(whole)).returncode == 0
    cut = tmp_path / name
    data = whole.read_bytes()
    cut.write_bytes(data[: len(data) * 2 // 3])
    home = Home(tmp_path)
    ended = home.run("import", str(cut))
    assert ended.returncode in (1, 3)
    assert "whole" in ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr
    assert home.run("verify").returncode == 0
    assert home.run("import", str(whole)).returncode == 0
    assert read(home.database, "SELECT count(*) FROM conversations") == read(
        source.database, "SELECT count(*) FROM conversations"
    )


def test_there_is_no_such_file(tmp_path):
    ended = Home(tmp_path).run("import", str(tmp_path / "none.ndjson"))
    assert (ended.returncode, ended.stderr.count("\n")) == (1, 1)
