"""What really happens to transcripts: crashes, editors, copies, hostile input."""

from __future__ import annotations

import base64
import errno
import json
import os
import resource
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import quote

import pytest

from observatory.ingest import applying, discover, reading, running
from observatory.store.database import OperationalError, fetch_all, fetch_one
from tests.ingest.dumps import check_sound
from tests.transcripts_for_tests import Transcript, encode

SESSION = "11111111-1111-4111-8111-111111111111"
OTHER = "22222222-2222-4222-8222-222222222222"


def texts() -> list[str]:
    rows = fetch_all("SELECT content FROM messages ORDER BY conversation_key, position, key")
    return [row[0] for row in rows]


def file_row(columns: str) -> tuple:
    row = fetch_one(f"SELECT {columns} FROM transcript_files")
    assert row is not None
    return row


def test_byte_order_mark_and_crlf_are_dropped(write, ingest):
    transcript = Transcript()
    transcript.prompt("one")
    transcript.prompt("two")
    path = write(transcript)
    path.write_bytes(b"\xef\xbb\xbf" + transcript.bytes().replace(b"\n", b"\r\n"))
    assert ingest().bad_lines == 0
    assert texts() == ["one", "two"]


def test_a_run_of_nul_bytes_is_blank(write, ingest):
    transcript = Transcript()
    transcript.prompt("one")
    transcript.raw(b"\0" * 500)
    transcript.prompt("two")
    write(transcript)
    assert ingest().bad_lines == 0
    assert texts() == ["one", "two"]


def test_nul_and_lone_surrogates_in_text_are_replaced(write, ingest):
    transcript = Transcript()
    transcript.raw(encode(transcript.prompt("x")).replace(b'"x"', rb'"a\u0000b\ud83dc"'))
    del transcript.records[0]
    write(transcript)
    ingest()
    assert texts() == ["a\ufffdb\ufffdc"]


def test_a_broken_line_is_kept_with_its_place_and_stops_nothing(write, ingest):
    transcript = Transcript()
    first = encode(transcript.prompt("one"))
    transcript.raw(b'{"type":"user","secret":"hunter2')
    transcript.prompt("two")
    write(transcript)
    assert ingest().bad_lines == 1
    assert texts() == ["one", "two"]
    start = len(first) + 1
    [row] = fetch_all("SELECT line, byte_start, byte_end, reason FROM transcript_errors")
    assert row[:3] == (2, start, start + 33)
    assert "hunter2" not in row[3]
    assert file_row("line_count, bad_line_count, status") == (3, 1, "completed")


def test_bad_lines_of_all_kinds_are_counted(write, ingest):
    transcript = Transcript()
    bad = (
        b"[1,2]",
        b'"text"',
        b"{" * 100_000,
        b'{"a":' * 100_000,
        b'{"type":"user","message":7}',
        b'{"type":"user","message":{"content":7}}',
        b'{"type":"assistant","message":{"content":[{"type":"tool_use","name":"X"}]}}',
        b'{"type":"user","message":{"content":[{"type":"tool_result","content":"x"}]}}',
        b'{"n":' + b"9" * 5000 + b"}",
    )
    for line in bad:
        transcript.raw(line)
    transcript.prompt("good")
    write(transcript)
    summary = ingest()
    assert texts() == ["good"]
    # A number of 5,000 digits is refused by some versions of Python and dropped by others.
    assert len(bad) - 1 <= summary.bad_lines <= len(bad)


def test_unknown_records_and_odd_types_are_counted_and_passed_over(write, ingest):
    transcript = Transcript()
    transcript.side("brand-new", payload={"a": 1})
    transcript.side("atis-latch")
    transcript.raw(b'{"type":["user"]}')
    transcript.raw(b'{"n":123456789012345678901234567890,"f":NaN,"i":Infinity}')
    transcript.prompt("hello", extra={"unknown": [None, 1.5]})
    write(transcript)
    assert ingest().bad_lines == 0
    counts = json.loads(file_row("record_counts")[0])
    assert counts == {"(none)": 2, "atis-latch": 1, "brand-new": 1, "user": 1}


def test_a_half_last_line_waits_until_it_is_whole(write, ingest):
    transcript = Transcript()
    transcript.prompt("one")
    transcript.prompt("two")
    whole = transcript.bytes()
    path = write(transcript)
    path.write_bytes(whole[:-40])
    assert ingest().bad_lines == 0
    assert texts() == ["one"]
    path.write_bytes(whole)
    ingest()
    assert texts() == ["one", "two"]


def test_a_whole_last_line_without_newline_is_taken_at_once(write, ingest):
    transcript = Transcript()
    transcript.prompt("one")
    transcript.prompt("two")
    path = write(transcript)
    path.write_bytes(transcript.bytes()[:-1])
    ingest()
    assert texts() == ["one", "two"]
    assert file_row("line_count, has_open_line") == (1, 1)
    transcript.prompt("three")
    path.write_bytes(transcript.bytes())
    ingest()
    assert texts() == ["one", "two", "three"]
    assert file_row("line_count, has_open_line") == (3, 0)


def test_unchanged_files_are_not_opened_again(write, ingest, monkeypatch):
    transcript = Transcript()
    transcript.prompt("one")
    write(transcript)
    ingest()
    monkeypatch.delattr(running, "read_chunks")
    summary = ingest()
    assert (summary.files, summary.unchanged_files, summary.failed_files) == (0, 1, 0)


def test_a_tombstone_marks_what_vanished_and_takes_what_came(write, ingest):
    """Claude Code cuts the last records off after a failed stream, and goes on from there."""
    transcript = Transcript()
    transcript.prompt("one")
    transcript.answer("failed", message_id="msg_failed")
    path = write(transcript)
    ingest()
    del transcript.records[-1]
    transcript.last = transcript.uuid(1)
    transcript.answer("a much longer answer instead of the failed one", message_id="msg_good")
    path.write_bytes(transcript.bytes())
    ingest()
    rows = fetch_all("SELECT content, is_superseded FROM messages ORDER BY key")
    assert [row[1] for row in rows] == [0, 1, 0]
    assert fetch_one("SELECT sum(output_tokens) FROM conversations") == (40,)
    assert file_row("generation, line_count") == (2, 2)


def test_a_file_cut_short_loses_nothing(write, ingest):
    transcript = Transcript()
    for number in range(10):
        transcript.prompt(f"prompt {number}")
    path = write(transcript)
    ingest()
    path.write_bytes(transcript.bytes(3))
    ingest()
    assert len(texts()) == 10
    assert fetch_one("SELECT sum(is_superseded) FROM messages") == (7,)
    path.write_bytes(transcript.bytes())
    ingest()
    assert fetch_one("SELECT count(*), sum(is_superseded) FROM messages") == (10, 0)


def test_a_file_replaced_by_another_keeps_both(write, ingest):
    first, second = Transcript(), Transcript(prefix="b")
    first.prompt("old")
    second.prompt("new")
    second.prompt("newer")
    path = write(first)
    ingest()
    path.unlink()
    path.write_bytes(second.bytes())
    ingest()
    assert sorted(texts()) == ["new", "newer", "old"]


def test_a_deleted_file_keeps_its_rows(write, ingest):
    transcript = Transcript()
    transcript.prompt("still here")
    path = write(transcript)
    ingest()
    path.unlink()
    ingest()
    assert texts() == ["still here"]


def test_a_moved_file_is_not_counted_again(write, ingest, projects):
    transcript = Transcript()
    transcript.prompt("one")
    transcript.answer("two")
    path = write(transcript)
    ingest()
    (projects / "-elsewhere").mkdir()
    path.rename(projects / "-elsewhere" / path.name)
    ingest()
    assert texts() == ["one", "two"]
    assert fetch_one("SELECT count(*), sum(total_tokens) FROM conversations") == (1, 1123)


def test_the_same_uuid_twice_is_said_once(write, ingest):
    transcript = Transcript()
    transcript.prompt("one")
    transcript.records.append(transcript.records[0])
    write(transcript)
    ingest()
    assert texts() == ["one"]


def test_cycles_and_self_loops_and_dangling_parents_do_no_harm(write, ingest):
    transcript = Transcript()
    transcript.prompt("one", parentUuid=transcript.uuid(2))
    transcript.prompt("two", parentUuid=transcript.uuid(1))
    transcript.prompt("three", parentUuid=transcript.uuid(3))
    transcript.prompt("four", parentUuid="nobody")
    transcript.chain(
        "user", isSidechain=True, parentUuid=transcript.uuid(5), message={"content": "five"}
    )
    write(transcript)
    ingest()
    assert sorted(texts()) == ["five", "four", "one", "three", "two"]


def test_an_image_is_kept_as_hash_size_and_type(write, ingest):
    data = base64.b64encode(os.urandom(3000)).decode()
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}}
    transcript = Transcript()
    transcript.prompt([{"type": "text", "text": "look"}, image])
    write(transcript)
    ingest()
    [(content, blocks)] = fetch_all("SELECT content, blocks FROM messages")
    source = json.loads(blocks)[1]["source"]
    assert content == "look"
    assert source["bytes"] == 3000
    assert source["media_type"] == "image/png"
    assert len(source["sha256"]) == 64


def test_huge_lines_pass_in_bounded_memory(write, ingest):
    image = {
        "type": "image",
        "source": {"type": "base64", "media_type": "image/png", "data": "A" * 20_000_000},
    }
    transcript = Transcript()
    transcript.prompt([image])
    transcript.raw(b'{"type":"user","pad":"' + b"x" * (65 * 1024 * 1024) + b'"}')
    transcript.prompt("after")
    write(transcript)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    summary = ingest()
    assert summary.bad_lines == 1
    assert texts() == ["", "after"]
    grown_mib = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown_mib < 400


def test_a_cost_written_by_an_old_client_counts(write, ingest):
    transcript = Transcript(version="1.0.3")
    transcript.answer("hi", costUSD=0.0123456789, durationMs=1200)
    write(transcript)
    ingest()
    assert fetch_one("SELECT cost_nanodollars FROM conversations") == (12_345_679,)


def test_one_message_id_counts_once_whatever_its_request_ids(write, ingest):
    transcript = Transcript()
    for output, request in ((5, "req_1"), (50, None), (70, "req_2")):
        usage = {"input_tokens": 2, "output_tokens": output}
        transcript.answer("part", message_id="msg_1", usage=usage)
        transcript.records[-1]["requestId"] = request
    write(transcript)
    ingest()
    assert fetch_one("SELECT count(*), sum(input_tokens), sum(output_tokens) FROM api_calls") == (
        1,
        2,
        70,
    )


def test_the_last_line_of_a_response_is_its_bill(write, ingest):
    """Gateways estimate first; a maximum of each field would invent tokens."""
    transcript = Transcript()
    estimate = {"input_tokens": 8494, "output_tokens": 9, "cache_read_input_tokens": 0}
    bill = {"input_tokens": 111, "output_tokens": 9, "cache_read_input_tokens": 41760}
    transcript.answer("a", message_id="m", usage=estimate)
    transcript.answer("b", message_id="m", usage=bill)
    write(transcript)
    ingest()
    row = fetch_one("SELECT input_tokens, cache_read_input_tokens FROM api_calls")
    assert row == (111, 41760)


def test_one_hour_cache_writes_have_their_own_price(write, ingest):
    transcript = Transcript()
    usage = {
        "input_tokens": 0,
        "output_tokens": 0,
        "cache_creation_input_tokens": 3_000_000,
        "cache_creation": {
            "ephemeral_5m_input_tokens": 1_000_000,
            "ephemeral_1h_input_tokens": 2_000_000,
        },
    }
    transcript.answer("x", usage=usage)
    write(transcript)
    ingest()
    dollars = 1 * 6.25 + 2 * 10
    assert fetch_one("SELECT cost_nanodollars FROM conversations") == (dollars * 1e9,)


def test_an_unknown_model_has_no_price(client, write, ingest):
    transcript = Transcript()
    transcript.answer("x", model="glm-5")
    write(transcript)
    ingest()
    conversation = client.get(f"/api/conversations/{SESSION}").json["data"]
    assert conversation["cost_microdollars"] is None
    assert conversation["cost_complete"] is False
    assert conversation["total_tokens"] == 1123


def test_versions_that_undercount_are_flagged(client, write, ingest):
    transcript = Transcript(version="2.1.37")
    transcript.answer("x", stop_reason=None)
    write(transcript)
    ingest()
    conversation = client.get(f"/api/conversations/{SESSION}").json["data"]
    assert conversation["usage_quality"] == "undercounted"


def test_a_rewound_branch_is_kept_and_marked(client, write, ingest):
    transcript = Transcript()
    transcript.prompt("begin")
    answer = transcript.answer("ready")
    transcript.prompt("first try")
    transcript.answer("first answer")
    transcript.prompt("second try", parentUuid=answer["uuid"])
    transcript.answer("second answer")
    write(transcript)
    ingest()
    messages = client.get(f"/api/conversations/{SESSION}/messages").json["data"]["messages"]
    off = [m["content"] for m in messages if not m["is_on_main_branch"]]
    assert off == ["first try", "first answer"]
    conversation = client.get(f"/api/conversations/{SESSION}").json["data"]
    assert conversation["total_tokens"] == 3 * 1123


def test_a_rewind_is_found_across_readings(write, ingest):
    transcript = Transcript()
    answer = transcript.answer("ready")
    transcript.prompt("first try")
    path = write(transcript)
    ingest()
    transcript.prompt("second try", parentUuid=answer["uuid"])
    path.write_bytes(transcript.bytes())
    ingest()
    rows = fetch_all("SELECT content FROM messages WHERE is_on_main_branch = 0")
    assert rows == [("first try",)]


def test_what_may_not_be_opened_is_marked_and_tried_again(write, ingest, client):
    transcript = Transcript()
    transcript.prompt("one")
    path = write(transcript)
    target = path.with_suffix(".target")
    path.rename(target)
    path.mkdir()
    (path / "x.jsonl").symlink_to(target)
    assert ingest().files == 0
    path.joinpath("x.jsonl").unlink()
    path.rmdir()
    target.rename(path)
    assert ingest().files == 1
    assert texts() == ["one"]


def test_deep_nesting_beside_binary_data_stops_no_run(write, ingest):
    deep: object = 1
    for _ in range(600):
        deep = [deep]
    transcript = Transcript()
    transcript.tool_use("Read", {})
    transcript.tool_result("read", toolUseResult={"base64": "x", "k": deep})
    transcript.prompt([{"type": "image", "k": deep}])
    transcript.prompt("after")
    write(transcript)
    ingest()
    assert texts()[-1] == "after"


def test_a_time_that_no_calendar_has_stops_no_run(write, ingest, monkeypatch):
    transcript = Transcript()
    transcript.prompt("one")
    path = write(transcript)
    status = SimpleNamespace(
        st_size=path.stat().st_size,
        st_mtime_ns=300_000_000_000 * 10**9,
        st_ctime_ns=300_000_000_000 * 10**9,
        st_ino=2**64 - 1,
        st_dev=1,
    )
    found = discover._stat(str(path), status, has_sidecar=False)
    monkeypatch.setattr(running, "find_files", lambda paths, **_: [found])
    ingest()
    assert texts() == ["one"]


def test_a_blank_title_is_none(client, write, ingest):
    transcript = Transcript()
    transcript.prompt("the prompt")
    transcript.side("custom-title", customTitle="   ")
    write(transcript)
    ingest()
    assert client.get(f"/api/conversations/{SESSION}").json["data"]["title"] == "the prompt"


def test_a_file_that_can_not_be_kept_stops_no_other(write, ingest, monkeypatch):
    """The bug is made up: whatever a file may hold, the others are read."""
    for number in range(3):
        transcript = Transcript(f"{number}" * 8, prefix=f"{number}")
        transcript.prompt(f"prompt {number}")
        os.utime(write(transcript), ns=(number, number))
    take = applying._FileReading._take_message

    def fail(self, line, index, message):
        if message.text == "prompt 1":
            raise OverflowError
        take(self, line, index, message)

    monkeypatch.setattr(applying._FileReading, "_take_message", fail)
    summary = ingest()
    assert texts() == ["prompt 0", "prompt 2"]
    assert (summary.files, summary.failed_files) == (2, 1)
    [failure] = summary.failures
    assert failure.path.endswith("/11111111.jsonl")
    assert failure.reason == "could not be kept (OverflowError)"
    rows = fetch_all("SELECT filename, status FROM transcript_files WHERE status <> 'completed'")
    assert rows == [("11111111.jsonl", "error")]
    monkeypatch.undo()
    assert ingest().files == 1
    assert sorted(texts()) == ["prompt 0", "prompt 1", "prompt 2"]
    check_sound()


def test_a_record_that_can_not_be_read_is_a_bad_line(write, ingest, monkeypatch):
    def fail(value, **_):
        raise RecursionError

    transcript = Transcript()
    transcript.prompt("one")
    write(transcript)
    monkeypatch.setattr(reading, "parse_record", fail)
    assert ingest().bad_lines == 1
    assert fetch_all("SELECT line, reason FROM transcript_errors") == [
        (1, "can not be read (RecursionError)")
    ]


def test_names_that_are_no_text_are_read_and_told(client, write, ingest, projects):
    transcript = Transcript()
    transcript.prompt("one")
    folder = os.fsencode(projects) + b"/caf\xe9"
    Path(os.fsdecode(folder)).mkdir()
    path = folder + b"/s\xff.jsonl"
    Path(os.fsdecode(path)).write_bytes(transcript.bytes())
    assert ingest().files == 1
    assert texts() == ["one"]
    [row] = fetch_all("SELECT path, filename, status FROM transcript_files")
    assert row == (f"{projects}/caf%E9/s%FF.jsonl", "s%FF.jsonl", "completed")
    assert client.get("/api/files").json["data"]["files"][0]["file_path"] == row[0]
    transcript.prompt("two")
    Path(os.fsdecode(path)).write_bytes(transcript.bytes())
    assert ingest(row[0]).files == 1
    assert texts() == ["one", "two"]


def test_a_name_that_looks_escaped_is_another_than_what_it_looks_like(
    write, ingest, projects, client
):
    looks, odd = Transcript(), Transcript(OTHER, prefix="b")
    looks.prompt("one")
    odd.prompt("two")
    path = write(looks, "-work/a%FF%25%20.jsonl")
    Path(os.fsdecode(os.fsencode(path.parent) + b"/a\xff%25%20.jsonl")).write_bytes(odd.bytes())
    assert ingest().files == 2
    rows = fetch_all("SELECT path FROM transcript_files ORDER BY path")
    shown = [f"{projects}/-work/a%25FF%2525%20.jsonl", f"{projects}/-work/a%FF%2525%20.jsonl"]
    assert [row[0] for row in rows] == shown
    looks.prompt("three")
    path.write_bytes(looks.bytes())
    for name in (path, shown[1]):
        ingest(name)
    assert sorted(texts()) == ["one", "three", "two"]
    assert fetch_one("SELECT count(*) FROM transcript_files") == (2,)


def test_what_can_not_be_looked_at_is_told_and_stops_nothing(write, ingest, monkeypatch, projects):
    transcript = Transcript()
    transcript.prompt("one")
    write(transcript)
    locked = projects / "-locked"
    locked.mkdir()
    scan = os.scandir

    def refuse(path):
        if path == str(locked):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return scan(path)

    # A superuser may look anywhere, and tests may run as one.
    monkeypatch.setattr(os, "scandir", refuse)
    summary = ingest()
    assert (summary.files, summary.failed_files, summary.failed_folders) == (1, 0, 1)
    assert [(f.path, f.reason) for f in summary.failures] == [(str(locked), "Permission denied")]


def test_a_file_that_vanishes_while_folders_are_looked_at_hides_no_other(
    write, ingest, monkeypatch, projects
):
    for number in range(4):
        transcript = Transcript(f"{number}" * 8, prefix=f"{number}")
        transcript.prompt(f"prompt {number}")
        write(transcript)
    find = discover._stat

    def vanish(path, status, **options):
        if path.endswith("/11111111.jsonl"):
            raise FileNotFoundError(path)
        return find(path, status, **options)

    monkeypatch.setattr(discover, "_stat", vanish)
    assert ingest().files == 3


def test_a_device_is_no_transcript(ingest):
    summary = ingest("/dev/null")
    assert [(f.path, f.reason) for f in summary.failures] == [("/dev/null", "Not a directory")]


def test_a_folder_that_is_named_twice_is_read_once(write, ingest, projects, tmp_path):
    transcript = Transcript()
    transcript.prompt("one")
    write(transcript)
    (tmp_path / "link").symlink_to(projects)
    summary = ingest(projects, tmp_path / "link", projects / "-work")
    assert (summary.files, summary.unchanged_files) == (1, 0)


def test_a_rewrite_of_the_same_size_and_time_is_noticed(write, ingest):
    transcript = Transcript()
    transcript.prompt("cat")
    path = write(transcript)
    ingest()
    status = path.stat()
    path.write_bytes(transcript.bytes().replace(b"cat", b"dog").replace(b"aaaaaaaa", b"bbbbbbbb"))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    ingest()
    assert texts() == ["cat", "dog"]


def test_glued_records_without_ids_are_all_kept(client, write, ingest):
    records = [
        {"type": "user", "sessionId": SESSION, "message": {"role": "user", "content": text}}
        for text in ("one", "two", "three")
    ]
    transcript = Transcript()
    transcript.raw(b"".join(encode(record) for record in records))
    path = write(transcript)
    ingest()
    assert texts() == ["one", "two", "three"]
    path.write_bytes(b"\n" + transcript.bytes())
    ingest()
    page = client.get(f"/api/conversations/{SESSION}/messages").json["data"]["messages"]
    assert [m["content"] for m in page if not m["is_superseded"]] == ["one", "two", "three"]


def test_an_open_line_that_was_taken_back_is_superseded(write, ingest):
    transcript = Transcript()
    transcript.prompt("one")
    transcript.prompt("taken back")
    path = write(transcript)
    path.write_bytes(transcript.bytes()[:-1])
    ingest()
    path.write_bytes(transcript.bytes(1))
    ingest()
    rows = fetch_all("SELECT content, is_superseded FROM messages ORDER BY key")
    assert rows == [("one", 0), ("taken back", 1)]
    path.write_bytes(transcript.bytes())
    ingest()
    assert fetch_all("SELECT sum(is_superseded), count(*) FROM messages") == [(0, 2)]


def test_an_open_line_that_was_bad_and_is_good_is_no_bad_line(write, ingest):
    transcript = Transcript()
    transcript.prompt("one")
    bad = encode({"type": "user", "message": 7})
    path = write(transcript)
    path.write_bytes(transcript.bytes() + bad)
    assert ingest().bad_lines == 1
    transcript.prompt("two")
    path.write_bytes(transcript.bytes())
    ingest()
    assert file_row("bad_line_count") == (0,)
    assert texts() == ["one", "two"]


def test_what_was_read_of_a_moved_file_belongs_to_where_it_is_now(write, ingest, projects):
    transcript = Transcript()
    transcript.prompt("one")
    transcript.answer("two", message_id="msg_1", usage={"output_tokens": 5})
    path = write(transcript)
    ingest()
    target = projects / "-elsewhere" / path.name
    target.parent.mkdir()
    path.rename(target)
    transcript.answer("three", message_id="msg_1", usage={"output_tokens": 9})
    target.write_bytes(transcript.bytes())
    ingest()
    here = fetch_one("SELECT key FROM transcript_files WHERE path = ?", (str(target),))
    assert fetch_all("SELECT DISTINCT file_key FROM messages") == [here]
    calls = fetch_all(
        "SELECT a.file_key, a.usage_file_key, a.output_tokens, a.position, m.content"
        " FROM api_calls a JOIN messages m ON m.key = a.message_key"
    )
    assert calls == [(here[0], here[0], 9, 3, "three")]
    target.write_bytes(transcript.bytes(2))
    ingest()
    rows = fetch_all("SELECT content, is_superseded FROM messages ORDER BY key")
    assert rows == [("one", 0), ("two", 0), ("three", 1)]


def test_a_file_that_failed_first_has_its_role(write, ingest, monkeypatch):
    transcript = Transcript()
    transcript.prompt("one")
    write(transcript, f"-work/{SESSION}/subagents/agent-aaa.jsonl")

    def fail(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(running, "read_chunks", fail)
    ingest()
    assert file_row("role, status, error_message") == ("subagent", "error", "Permission denied")


def test_a_session_named_like_a_subagent_is_another_conversation(client, write, ingest):
    agent, session = Transcript(SESSION), Transcript(SESSION, prefix="b")
    agent.common.update(isSidechain=True, agentId="aaa")
    agent.prompt("in the subagent")
    session.prompt("in the session")
    os.utime(write(agent, f"-work/{SESSION}/subagents/agent-aaa.jsonl"), ns=(1, 1))
    write(session, f"-work/{SESSION}.aaa.jsonl")
    ingest()
    rows = fetch_all(
        "SELECT c.id, c.kind, m.content FROM messages m"
        " JOIN conversations c ON c.key = m.conversation_key ORDER BY m.key"
    )
    assert rows == [
        (f"{SESSION}.aaa", "subagent", "in the subagent"),
        (f"{SESSION}.aaa.session", "session", "in the session"),
    ]


def test_a_subagent_that_begins_with_a_title_has_its_session(write, ingest):
    agent = Transcript(SESSION)
    agent.common.update(isSidechain=True, agentId="aaa")
    agent.side("ai-title", aiTitle="A title")
    agent.prompt("go")
    write(agent, "-work/agent-aaa.jsonl")
    ingest()
    rows = fetch_all(
        "SELECT c.id, p.id, c.title FROM conversations c"
        " LEFT JOIN conversations p ON p.key = c.parent_key WHERE c.kind = 'subagent'"
    )
    assert rows == [(f"{SESSION}.aaa", SESSION, "A title")]


def test_a_full_disk_says_so_and_loses_nothing(write, ingest):
    transcript = Transcript()
    for number in range(300):
        transcript.prompt(f"prompt {number} " * 20)
    write(transcript)
    [(pages,)] = fetch_all("PRAGMA page_count")
    fetch_all(f"PRAGMA max_page_count = {pages + 10}")
    with pytest.raises(OperationalError, match="full"):
        ingest()
    fetch_all("PRAGMA max_page_count = 1000000")
    assert ingest().files == 1
    assert len(texts()) == 300
    check_sound()


def test_kinds_of_records_without_end_are_counted_together(write, ingest, client):
    transcript = Transcript()
    for number in range(150):
        transcript.side(f"kind-{number:03}")
    write(transcript)
    ingest()
    file_id = client.get("/api/files").json["data"]["files"][0]["id"]
    counts = client.get(f"/api/files/{file_id}").json["data"]["record_counts"]
    assert (len(counts), counts["(other)"], sum(counts.values())) == (101, 50, 150)


def test_any_message_can_be_asked_for(write, ingest, client):
    transcript = Transcript()
    transcript.prompt("one", uuid="../a b/c?d#e%2F")
    write(transcript)
    ingest()
    [message] = client.get(f"/api/conversations/{SESSION}/messages").json["data"]["messages"]
    shown = client.get(f"/api/messages/{quote(message['id'], safe='')}").json["data"]
    assert shown["content"] == "one"


def test_a_subagents_name_is_one_part_of_a_path(write, ingest, client):
    transcript = Transcript(SESSION)
    transcript.prompt("in the subagent", isSidechain=True, agentId="a/b")
    write(transcript)
    ingest()
    [child] = client.get(f"/api/conversations/{SESSION}").json["data"]["subagents"]
    shown = client.get(f"/api/conversations/{quote(child['id'], safe='')}").json["data"]
    assert (shown["id"], shown["message_count"]) == (f"{SESSION}.a%2Fb", 1)


def test_a_model_is_named_whole(write, ingest, client):
    transcript = Transcript()
    transcript.answer("one", model='a "quoted" model')
    write(transcript)
    ingest()
    shown = client.get(f"/api/conversations/{SESSION}").json["data"]
    assert shown["metadata"]["model"] == 'a "quoted" model'


def test_a_whole_record_beside_half_a_one_is_kept(write, ingest):
    transcript = Transcript()
    whole = encode(transcript.prompt("one"))
    half = encode(transcript.prompt("lost"))[:-40]
    after = encode(transcript.prompt("two"))
    transcript.records = [whole + half + after]
    write(transcript)
    assert ingest().bad_lines == 1
    assert texts() == ["one", "two"]
    rows = fetch_all("SELECT line, byte_start, byte_end FROM transcript_errors")
    assert rows == [(1, len(whole), len(whole) + len(half))]


def test_half_a_record_and_what_a_restart_wrote_behind_it(write, ingest):
    transcript = Transcript()
    transcript.prompt("one")
    path = write(transcript)
    half = encode(transcript.answer("lost"))[:-30]
    path.write_bytes(path.read_bytes() + half)
    ingest()
    assert (texts(), fetch_all("SELECT count(*) FROM transcript_errors")) == (["one"], [(0,)])
    with path.open("ab") as stream:
        stream.write(encode(transcript.prompt("two")) + b"\n")
    ingest()
    assert texts() == ["one", "two"]
    assert file_row("bad_line_count") == (1,)


def test_a_rewind_is_taken_back_with_its_prompt(write, ingest):
    transcript = Transcript()
    transcript.prompt("go")
    root = transcript.last
    transcript.prompt("this way")
    transcript.answer("so")
    transcript.last = root
    lines = len(transcript.records)
    transcript.prompt("that way")
    path = write(transcript)
    ingest()
    marks = "SELECT content, is_on_main_branch, is_superseded FROM messages ORDER BY key"
    assert fetch_all(marks) == [("go", 1, 0), ("this way", 0, 0), ("so", 0, 0), ("that way", 1, 0)]
    path.write_bytes(b"\n" + transcript.bytes(lines))
    ingest()
    assert fetch_all(marks) == [("go", 1, 0), ("this way", 1, 0), ("so", 1, 0), ("that way", 1, 1)]


def test_a_copy_of_a_file_that_goes_on_is_where_its_rows_belong(write, ingest, projects):
    transcript = Transcript()
    transcript.prompt("one")
    transcript.prompt("two")
    path = write(transcript)
    ingest()
    copy = projects / "-elsewhere" / path.name
    copy.parent.mkdir()
    copy.write_bytes(path.read_bytes())
    ingest()
    path.unlink()
    transcript.prompt("three")
    copy.write_bytes(transcript.bytes())
    ingest()
    here = fetch_one("SELECT key FROM transcript_files WHERE path = ?", (str(copy),))
    rows = fetch_all("SELECT DISTINCT file_key, is_superseded FROM messages")
    assert rows == [(here[0], 0)]
    copy.write_bytes(b"\n" + transcript.bytes(1))
    ingest()
    rows = fetch_all("SELECT content, is_superseded FROM messages ORDER BY key")
    assert rows == [("one", 0), ("two", 1), ("three", 1)]


def test_records_without_ids_are_known_by_what_they_say_too(write, ingest):
    transcript = Transcript()
    for text in ("zero", "one", "two"):
        transcript.prompt(text, uuid=None)
    path = write(transcript)
    ingest()
    [zero, one, two] = transcript.records
    shown = "SELECT content FROM messages WHERE is_superseded = 0 ORDER BY position"
    for records, said in (
        ([zero, {**one, "message": {"role": "user", "content": "another"}}], ["zero", "another"]),
        ([one, two], ["one", "two"]),
        ([zero, one, two], ["zero", "one", "two"]),
    ):
        path.write_bytes(b"".join(encode(record) + b"\n" for record in records))
        ingest()
        assert [row[0] for row in fetch_all(shown)] == said


def test_what_an_open_line_says_otherwise_later_is_kept(write, ingest):
    transcript = Transcript()
    transcript.prompt("one", uuid=None)
    path = write(transcript)
    path.write_bytes(path.read_bytes()[:-1])
    ingest()
    transcript.records[0] = {
        **transcript.records[0], "message": {"role": "user", "content": "one and more"},
    }  # fmt: skip
    path.write_bytes(transcript.bytes())
    ingest()
    rows = fetch_all("SELECT content, is_superseded FROM messages ORDER BY key")
    assert rows == [("one", 1), ("one and more", 0)]


def test_a_whole_record_before_an_open_half_is_taken_at_once(write, ingest):
    transcript = Transcript()
    one, two = encode(transcript.prompt("one")), encode(transcript.prompt("two"))
    path = write(transcript)
    path.write_bytes(one + two[:-20])
    ingest()
    assert (texts(), file_row("bad_line_count, byte_offset")) == (["one"], (0, 0))
    path.write_bytes(one + two)
    ingest()
    assert texts() == ["one", "two"]
    path.write_bytes(one + two[:-20] + b"\n")
    ingest()
    assert file_row("bad_line_count") == (1,)


def test_a_file_that_comes_back_holds_its_rows_again(write, ingest, projects, tmp_path):
    transcript = Transcript()
    transcript.prompt("one")
    transcript.prompt("two")
    path = write(transcript, f"p/{SESSION}.jsonl")
    other = projects / "q" / path.name
    other.parent.mkdir()
    other.write_bytes(transcript.bytes(1))
    ingest()
    path.rename(tmp_path / path.name)
    other.write_bytes(b"\n" + transcript.bytes(1))
    ingest()
    rows = "SELECT content, is_superseded FROM messages ORDER BY key"
    assert fetch_all(rows) == [("one", 0), ("two", 1)]
    (tmp_path / path.name).rename(path)
    ingest()
    assert fetch_all(rows) == [("one", 0), ("two", 0)]
