"""``/api/files/upload``."""

from __future__ import annotations

import gzip
import itertools
import json
import os
from pathlib import Path

import pytest

from observatory.api import schemas, uploads
from observatory.app import create_app
from observatory.ingest import jobs as reading
from observatory.ingest.uploads import receiving, remove_leftovers, stored_uploads
from observatory.store.locks import held
from tests.api.asking import ask, check_refusal
from tests.api.described import DescribedApp
from tests.api.sessions import SESSION, session_id
from tests.transcripts_for_tests import Transcript

PATH = "/api/files/upload"
LINES = {"Content-Type": "application/x-ndjson"}
LIMIT = 200_000


@pytest.fixture
def client(db, projects):
    yield DescribedApp(
        create_app(cors_origins=(), folders=(str(projects),), max_request_bytes=LIMIT), lint=True
    )
    reading.jobs.join()


@pytest.fixture
def content() -> bytes:
    transcript = Transcript(SESSION)
    transcript.prompt("hello")
    transcript.raw(b'{"type": "user", ')
    transcript.answer("hi")
    return transcript.bytes()


def send(client, content: bytes, name: str = f"{SESSION}.jsonl", **options):
    return client.post(PATH, upload_files=[("file", name, content)], **options)


def send_raw(client, content: bytes, query: str = "", **headers: str):
    return client.post(PATH + query, content, headers={**LINES, **headers}, expect_errors=True)


def left_of(db: Path) -> list[str]:
    """Return the names of all files below the folder of uploads."""
    return sorted(path.name for path in (db.parent / "uploads").rglob("*") if path.is_file())


def check_nothing_stays(client, db: Path) -> None:
    assert left_of(db) == []
    assert list((db.parent / "uploads" / ".incoming").iterdir()) == []
    assert ask(client, "/api/files")["files"] == []


def fields_of(answer) -> list[str]:
    return list(check_refusal(answer, 400, "VALIDATION_ERROR")["details"]["fields"])


# What is taken


def check_read(client, answer, db: Path, content: bytes) -> None:
    assert answer.status_int == 201
    data = schemas.Upload().load(answer.json["data"])
    assert (data["status"], data["filename"]) == ("completed", f"{SESSION}.jsonl")
    assert (data["line_count"], data["bad_line_count"], data["message_count"]) == (3, 1, 2)
    assert [line["line"] for line in data["bad_lines"]] == [2]
    assert data["conversations"] == [SESSION]
    assert data["size"] == data["byte_offset"] == len(content)
    assert Path(data["file_path"]).read_bytes() == content
    assert left_of(db) == [f"{SESSION}.jsonl"]
    assert ask(client, f"/api/conversations/{SESSION}")["message_count"] == 2


def test_a_form_with_a_file(client, db, content):
    check_read(client, send(client, content), db, content)


def test_a_form_with_a_gzip_file(client, db, content):
    answer = send(client, gzip.compress(content), f"{SESSION}.jsonl.gz")
    check_read(client, answer, db, content)


@pytest.mark.parametrize("media_type", ["application/x-ndjson; charset=utf-8", "application/jsonl"])
def test_a_body_of_lines(client, db, content, media_type):
    answer = send_raw(client, content, f"?filename={SESSION}.jsonl", **{"Content-Type": media_type})
    check_read(client, answer, db, content)


def test_a_body_of_lines_names_itself_by_its_session(client, db, content):
    check_read(client, send_raw(client, content), db, content)


def test_a_body_of_lines_without_session_gets_a_name(client, db):
    data = send_raw(client, b'{"type":"mode"}\n').json["data"]
    assert data["filename"].startswith("upload-")


@pytest.mark.parametrize("members", [1, 2, 3])
def test_a_body_with_content_encoding_gzip(client, db, content, members):
    cut = [len(content) * number // members for number in range(members + 1)]
    packed = b"".join(gzip.compress(content[a:b]) for a, b in itertools.pairwise(cut))
    answer = send_raw(client, packed, **{"Content-Encoding": "gzip"})
    check_read(client, answer, db, content)


def test_a_body_that_is_a_gzip_file(client, db, content):
    answer = send_raw(client, gzip.compress(content), **{"Content-Type": "application/gzip"})
    check_read(client, answer, db, content)


def test_a_gzip_file_on_a_gzip_line(client, db, content):
    packed = gzip.compress(gzip.compress(content))
    check_read(client, send_raw(client, packed, **{"Content-Encoding": "gzip"}), db, content)


def test_padding_after_gzip_is_passed_over(client, db, content):
    check_read(client, send_raw(client, gzip.compress(content) + b"\0" * 512), db, content)


def test_all_lines_may_be_bad(client, db):
    data = send(client, b"\x89PNG\r\n\x1a\nrubbish\n", "picture.png").json["data"]
    assert (data["status"], data["bad_line_count"], data["message_count"]) == ("completed", 3, 0)
    assert data["conversations"] == []


def test_a_cut_last_line_is_a_bad_line(client, db, content):
    cut = content[:-30]
    data = send_raw(client, cut).json["data"]
    assert (data["message_count"], data["bad_line_count"]) == (1, 2)
    [_, bad] = data["bad_lines"]
    assert (bad["line"], bad["byte_end"]) == (3, len(cut))
    whole = send_raw(client, content[:-1]).json["data"]
    assert (whole["message_count"], whole["bad_line_count"]) == (1, 1)


def test_an_upload_of_a_subagent_belongs_to_its_session(client, db):
    transcript = Transcript(SESSION)
    transcript.common |= {"isSidechain": True, "agentId": "abc123"}
    transcript.prompt("Explore")
    data = send(client, transcript.bytes(), "agent-abc123.jsonl").json["data"]
    assert data["role"] == "subagent"
    assert data["conversations"] == [f"{SESSION}.abc123"]


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ("../../../etc/x.jsonl", "x.jsonl"),
        ("C:\\Users\\ada\\x.jsonl", "x.jsonl"),
        ("/x.jsonl", "x.jsonl"),
        ("..x.JSONL.GZ", "x.jsonl"),
        ("x", "x.jsonl"),
        ("x.ndjson", "x.jsonl"),
        ("../..", f"{SESSION}.jsonl"),
        (".jsonl", f"{SESSION}.jsonl"),
        ("a b.jsonl", "a b.jsonl"),
        ("é.jsonl", "é.jsonl"),
        ("n" * 240 + ".jsonl", "n" * 200 + ".jsonl"),
    ],
)
def test_a_name_is_free_of_folders(client, db, given, stored):
    transcript = Transcript(SESSION)
    transcript.prompt("hello")
    packed = gzip.compress(transcript.bytes())
    answer = client.post(f"{PATH}?{_query(given)}", packed, headers=LINES)
    assert answer.json["data"]["filename"] == stored
    assert left_of(db) == [stored]
    assert len(stored_uploads(db)) == 1


def _query(name: str) -> str:
    from urllib.parse import urlencode

    return urlencode({"filename": name})


def test_only_the_owner_can_read_what_was_uploaded(client, db, content):
    path = Path(send(client, content).json["data"]["file_path"])
    assert path.stat().st_mode & 0o777 == 0o600
    assert (db.parent / "uploads").stat().st_mode & 0o077 == 0


# The same again


def sums(client) -> tuple[int, int, int]:
    [row] = ask(client, "/api/conversations")["conversations"]
    return row["message_count"], row["total_tokens"], row["tool_use_count"]


@pytest.mark.parametrize("name", [f"{SESSION}.jsonl", "other.jsonl"])
def test_the_same_content_is_one_file(client, db, content, name):
    first = send(client, content)
    before = sums(client)
    again = send(client, content, name)
    assert (first.status_int, again.status_int) == (201, 200)
    assert again.json["data"] == first.json["data"]
    assert sums(client) == before
    assert len(ask(client, "/api/files")["files"]) == 1


def test_a_longer_transcript_adds_what_is_new(client, db):
    transcript = Transcript(SESSION)
    transcript.prompt("hello")
    transcript.answer("hi")
    transcript.prompt("more")
    first = send(client, transcript.bytes(2)).json["data"]
    second = send(client, transcript.bytes()).json["data"]
    assert first["file_path"] != second["file_path"]
    assert second["message_count"] == 1
    assert sums(client)[0] == 3


def test_an_upload_of_what_was_ingested_counts_nothing_twice(client, db, session, projects):
    before = sums(client)
    content = (projects / "-work" / f"{SESSION}.jsonl").read_bytes()
    answer = send(client, content)
    assert answer.status_int == 201
    assert answer.json["data"]["message_count"] == 0
    assert answer.json["data"]["conversations"] == [SESSION]
    assert sums(client) == before


def test_two_contents_of_one_name_do_not_touch(client, db):
    paths = set()
    for word in ("one", "two"):
        transcript = Transcript(session_id(1), prefix=word[0])
        transcript.prompt(word)
        paths.add(send(client, transcript.bytes(), "x.jsonl").json["data"]["file_path"])
    assert len(paths) == 2
    assert left_of(db) == ["x.jsonl", "x.jsonl"]


# What is refused


@pytest.mark.parametrize("media_type", ["text/plain", "application/json", "", "multipart/mixed"])
def test_other_bodies_are_refused(client, db, content, media_type):
    answer = send_raw(client, content, **{"Content-Type": media_type})
    check_refusal(answer, 415, "UNSUPPORTED_MEDIA_TYPE")


@pytest.mark.parametrize("coding", ["br", "zstd", "deflate", "gzip, gzip"])
def test_other_codings_are_refused(client, db, content, coding):
    answer = send_raw(client, content, **{"Content-Encoding": coding})
    check_refusal(answer, 415, "UNSUPPORTED_MEDIA_TYPE")


def test_a_form_without_the_file_is_refused(client, db):
    answer = client.post(PATH, upload_files=[("other", "x.jsonl", b"{}")], expect_errors=True)
    assert fields_of(answer) == ["other"]
    check_nothing_stays(client, db)


def test_a_second_file_is_refused(client, db, content):
    files = [("file", "a.jsonl", content), ("file", "b.jsonl", b"{}\n")]
    answer = client.post(PATH, upload_files=files, expect_errors=True)
    assert fields_of(answer) == ["file"]
    check_nothing_stays(client, db)


def test_nothing_is_refused(client, db):
    assert fields_of(send(client, b"", expect_errors=True)) == ["file"]
    assert fields_of(send_raw(client, b"")) == ["file"]
    assert fields_of(send_raw(client, gzip.compress(b""))) == ["file"]
    check_nothing_stays(client, db)


BOUNDARY = b"--x\r\n"
DISPOSITION = b'Content-Disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n'


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"rubbish",
        b"--x--\r\n",
        BOUNDARY,
        BOUNDARY + DISPOSITION,
        BOUNDARY + DISPOSITION + b"{}\n",
        BOUNDARY + DISPOSITION + b"{}\n\r\n--x",
        BOUNDARY + DISPOSITION.replace(b"a.jsonl", b"\xff.jsonl") + b"{}\n\r\n--x--\r\n",
        BOUNDARY + b"Content-Disposition: form-data\r\n\r\n{}\n\r\n--x--\r\n",
        BOUNDARY + b"A: " + b"b" * 20_000 + b"\r\n\r\n{}\n\r\n--x--\r\n",
    ],
)
def test_broken_forms_are_refused(client, db, body):
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    assert fields_of(client.post(PATH, body, headers=headers, expect_errors=True))
    check_nothing_stays(client, db)


@pytest.mark.parametrize("boundary", ["", "; boundary=", "; boundary=" + "x" * 100])
def test_a_form_without_boundary_is_refused(client, db, boundary):
    headers = {"Content-Type": f"multipart/form-data{boundary}"}
    answer = client.post(PATH, b"--x--", headers=headers, expect_errors=True)
    assert fields_of(answer) == ["file"]


PACKED = gzip.compress(b'{"type":"mode"}\n' * 50, mtime=0)


@pytest.mark.parametrize(
    "packed",
    [
        PACKED[:-1],
        PACKED[:12],
        PACKED[:2],
        PACKED + b"rubbish",
        PACKED[:-5] + b"12345",
        b"plain",
        b"",
    ],
)
def test_broken_gzip_is_refused(client, db, packed):
    assert fields_of(send_raw(client, packed, **{"Content-Encoding": "gzip"})) == ["file"]
    answer = send(client, packed, "a.jsonl.gz", expect_errors=True)
    assert fields_of(answer) == ["file"]
    check_nothing_stays(client, db)


def test_a_body_that_is_too_large_is_refused(client, db):
    line = b'{"type":"mode"}\n'
    check_refusal(send_raw(client, line * (LIMIT // 16 + 1)), 413, "PAYLOAD_TOO_LARGE")
    assert send_raw(client, line * (LIMIT // 16)).status_int == 201


@pytest.mark.parametrize("times", [1, 2])
def test_what_is_too_large_when_unpacked_is_refused(client, db, times):
    bomb = b"\n" * (50 * 1024 * 1024)
    for _ in range(times):
        bomb = gzip.compress(bomb)
    answer = send_raw(client, bomb, **{"Content-Encoding": "gzip"})
    error = check_refusal(answer, 413, "PAYLOAD_TOO_LARGE")
    assert "MAX_REQUEST_SIZE_MB" in error["error"]
    answer = send(client, bomb, "a.jsonl.gz", expect_errors=True)
    if times == 1:
        check_refusal(answer, 413, "PAYLOAD_TOO_LARGE")
        check_nothing_stays(client, db)


@pytest.mark.parametrize(
    "query", ["?filename=", "?filename=%00", "?name=x", "?filename=" + "x" * 300]
)
def test_a_wrong_parameter_is_refused(client, db, query):
    fields_of(send_raw(client, b"{}\n", query))


def test_an_upload_is_only_posted(client, db):
    for method in ("GET", "PUT", "DELETE"):
        answer = client.request(PATH, method=method, expect_errors=True)
        check_refusal(answer, 405, "METHOD_NOT_ALLOWED")


# Beside another ingest, and after a crash


def test_beside_another_ingest_it_waits(client, db, content, monkeypatch):
    monkeypatch.setattr(reading, "_LATER_WAIT_SECONDS", 0)
    monkeypatch.setattr(uploads, "BEGIN_SECONDS", 0)
    with held(db, "ingest"):
        answer = send(client, content)
        reading.jobs.join()
        assert (answer.status_int, answer.json["data"]["status"]) == (202, "pending")
        assert ask(client, "/api/files", status="pending")["files"][0]["size"] == len(content)
    monkeypatch.undo()
    again = send(client, content)
    assert (again.status_int, again.json["data"]["status"]) == (201, "completed")


def test_what_waits_is_read_when_the_other_ingest_ends(client, db, content, monkeypatch):
    monkeypatch.setattr(uploads, "BEGIN_SECONDS", 0)
    with held(db, "ingest"):
        key = send(client, content).json["data"]["id"]
    reading.jobs.join()
    assert ask(client, f"/api/files/{key}")["status"] == "completed"
    assert sums(client)[0] == 2


def test_what_a_dead_upload_left_is_removed_by_the_next(client, db, content):
    left = db.parent / "uploads" / ".incoming" / "dead"
    left.mkdir(parents=True)
    (left / "body").write_bytes(b"half")
    send(client, content)
    assert left_of(db) == [f"{SESSION}.jsonl"]


def test_what_is_arriving_is_left_alone(db):
    with receiving(db) as incoming:
        incoming.take([b"half"], max_bytes=100)
        remove_leftovers(db)
        assert left_of(db) == ["body"]
        path = incoming.publish("x")
    assert stored_uploads(db) == [path]
    remove_leftovers(db)
    assert os.path.exists(path)


def test_an_upload_that_fails_leaves_nothing(db):
    with pytest.raises(KeyboardInterrupt), receiving(db) as incoming:
        incoming.take([b"half"], max_bytes=100)
        raise KeyboardInterrupt
    assert left_of(db) == []


def test_the_answer_shows_a_hundred_bad_lines_and_counts_all(client, db):
    data = send(client, b"rubbish\n" * 250, "x.jsonl").json["data"]
    assert (len(data["bad_lines"]), data["bad_line_count"]) == (100, 250)
    page = ask(client, f"/api/files/{data['id']}/errors", limit=100, offset=200)
    assert [row["line"] for row in page["errors"]] == list(range(201, 251))
    assert page["pagination"]["total"] == 250
    assert "rubbish" not in json.dumps(page)


def test_an_upload_goes_with_its_conversation(client, db, content):
    send(client, content)
    assert left_of(db) == [f"{SESSION}.jsonl"]
    client.delete(f"/api/conversations/{SESSION}")
    assert left_of(db) == [f"{SESSION}.jsonl"]
    client.delete(f"/api/conversations/{SESSION}?permanent=true")
    assert left_of(db) == []
