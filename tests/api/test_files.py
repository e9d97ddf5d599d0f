"""``/api/files``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from observatory.api import files, schemas
from observatory.app import create_app
from observatory.ingest.jobs import jobs
from observatory.store.database import execute, fetch_all
from observatory.store.locks import held
from tests.api.asking import ask, check_refusal, ids, refuse
from tests.api.described import DescribedApp
from tests.api.sessions import SESSION, numbered, session_id
from tests.api.test_projects import STRANGE_KEYS
from tests.ingest.dumps import check_sound, dump
from tests.transcripts_for_tests import Transcript

PATH = "/api/files"


@pytest.fixture
def broken(write, ingest) -> int:
    """The id of a file whose second line can not be read."""
    transcript = numbered(1)
    transcript.prompt("hello")
    transcript.raw(b'{"type": "user", ')
    transcript.answer("hi")
    write(transcript)
    ingest()
    return 1


def test_an_empty_archive_has_no_files(client):
    assert ask(client, PATH)["files"] == []


def test_rows_and_details_are_as_their_schema_says(client, subagent, broken):
    data = ask(client, PATH)
    assert len(data["files"]) == 3
    schemas.File(many=True).load(data["files"])
    schemas.Pagination().load(data["pagination"])
    for row in data["files"]:
        detail = ask(client, f"{PATH}/{row['id']}")
        schemas.FileDetail().load(detail)
        assert row.items() <= detail.items()


def test_a_file_says_how_far_it_was_read(client, session, projects):
    path = projects / "-work" / f"{SESSION}.jsonl"
    [file] = ask(client, PATH)["files"]
    assert (file["file_path"], file["filename"]) == (str(path), path.name)
    assert (file["status"], file["conversation_id"]) == ("completed", SESSION)
    assert file["size"] == file["byte_offset"] == path.stat().st_size
    assert (file["line_count"], file["bad_line_count"]) == (7, 0)


def test_a_detail_counts_records_and_shows_bad_lines(client, broken):
    detail = ask(client, f"{PATH}/{broken}")
    assert detail["record_counts"] == {"user": 1, "assistant": 1}
    assert (detail["line_count"], detail["bad_line_count"]) == (3, 1)
    [line] = detail["bad_lines"]
    assert line["line"] == 2
    assert line["byte_end"] - line["byte_start"] == len(b'{"type": "user", \n')


def test_the_reason_of_a_bad_line_does_not_quote_it(client, write, ingest):
    transcript = numbered(1)
    transcript.raw(b'{"type": "user", "secret": hunter2}')
    write(transcript)
    ingest()
    assert "hunter2" not in client.get(f"{PATH}/1").text


def test_status_filters(client, broken, write, ingest):
    assert ids(client, PATH, status="completed") == [broken]
    for status in ("pending", "processing", "error"):
        assert ids(client, PATH, status=status) == []


def test_the_most_recently_changed_comes_first(client, write, ingest, projects):
    for number, seconds in ((1, 100), (2, 300), (3, 200)):
        transcript = numbered(number)
        transcript.prompt("hello")
        os.utime(write(transcript), (seconds, seconds))
    ingest()
    found = [row["conversation_id"] for row in ask(client, PATH)["files"]]
    assert found == [session_id(2), session_id(3), session_id(1)]


def test_limit_and_offset_cut_out_a_page(client, add):
    for number in range(3):
        add(number)
    pages = [ask(client, PATH, limit=2, offset=offset) for offset in (0, 2)]
    assert [len(page["files"]) for page in pages] == [2, 1]
    assert [page["pagination"]["has_more"] for page in pages] == [True, False]
    assert len({row["id"] for page in pages for row in page["files"]}) == 3


@pytest.mark.parametrize("key", STRANGE_KEYS)
def test_what_is_no_number_is_refused(client, session, key):
    assert list(refuse(client, f"{PATH}/{key}")) == ["id"]


@pytest.mark.parametrize("key", ["0", "999", "9007199254740992"])
def test_an_unknown_number_is_not_there(client, session, key):
    answer = client.get(f"{PATH}/{key}", expect_errors=True)
    assert "file" in check_refusal(answer, 404, "NOT_FOUND")["error"]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=x", "limit"),
        ("offset=-1", "offset"),
        ("cursor=x", "cursor"),
        ("status=", "status"),
        ("status=done", "status"),
        ("status=error&status=error", "status"),
        ("path=/etc/passwd", "path"),
    ],
)
def test_a_wrong_parameter_is_refused_by_name(client, query, field):
    assert list(refuse(client, f"{PATH}?{query}")) == [field]


def test_a_detail_takes_no_parameters(client, session):
    assert list(refuse(client, f"{PATH}/1?limit=1")) == ["limit"]


# Bad lines


def test_bad_lines_come_in_pages(client, write, ingest):
    transcript = numbered(1)
    for _ in range(5):
        transcript.raw(b"rubbish")
    write(transcript)
    ingest()
    pages = [ask(client, f"{PATH}/1/errors", limit=3, offset=offset) for offset in (0, 3)]
    rows = [row for page in pages for row in page["errors"]]
    schemas.BadLine(many=True).load(rows)
    assert [row["line"] for row in rows] == [1, 2, 3, 4, 5]
    assert [page["pagination"]["has_more"] for page in pages] == [True, False]
    assert pages[0]["pagination"]["total"] == 5


def test_a_file_without_bad_lines_has_an_empty_list(client, session):
    assert ask(client, f"{PATH}/1/errors")["errors"] == []


# Reading a file on request


@pytest.fixture
def reader(db, projects) -> Iterator[DescribedApp]:
    """A client of a server whose transcripts are those of the test."""
    yield DescribedApp(create_app(cors_origins=(), folders=(str(projects),)), lint=True)
    jobs.join()


def request_file(client, path: Path | str, **options: object):
    return client.post_json(f"{PATH}/process-jsonl", {"file_path": str(path)}, **options)


def read_whole(client, answer) -> dict:
    """Return a file once what was asked for is done."""
    assert answer.status_int == 202
    assert answer.json["data"]["status"] in ("pending", "processing", "completed")
    jobs.join()
    return ask(client, f"{PATH}/{answer.json['data']['id']}")


def small(number: int = 1) -> Transcript:
    transcript = numbered(number)
    transcript.prompt("hello")
    transcript.answer("hi")
    return transcript


def test_a_file_is_read_on_request(reader, write):
    path = write(small())
    file = read_whole(reader, request_file(reader, path))
    assert (file["status"], file["file_path"]) == ("completed", str(path))
    assert file["byte_offset"] == file["size"] == path.stat().st_size
    assert ask(reader, f"/api/conversations/{session_id(1)}")["message_count"] == 2


def test_what_was_read_is_read_on(reader, write, ingest):
    transcript = small()
    path = write(transcript)
    ingest()
    transcript.prompt("more")
    write(transcript)
    answer = request_file(reader, path)
    assert answer.json["data"]["size"] == path.stat().st_size
    assert read_whole(reader, answer)["line_count"] == 3
    assert ask(reader, f"/api/conversations/{session_id(1)}")["message_count"] == 3
    assert len(ask(reader, PATH)["files"]) == 1


def test_an_ingest_later_finds_the_same_file(reader, write, ingest):
    read_whole(reader, request_file(reader, write(small())))
    assert ingest().unchanged_files == 1
    assert len(ask(reader, PATH)["files"]) == 1


def test_a_link_to_the_folder_and_one_inside_lead_to_the_same_file(reader, write, projects):
    path = write(small())
    link = projects.parent / "link"
    link.symlink_to(projects)
    inner = projects / "inner.jsonl"
    inner.symlink_to(path)
    found = {
        request_file(reader, each).json["data"]["file_path"]
        for each in (
            path,
            link / "-work" / path.name,
            inner,
            projects / "-work/../-work" / path.name,
        )
    }
    assert found == {str(path)}


def test_a_folder_that_is_a_link_is_named_as_it_was_configured(db, write, projects, ingest):
    path = write(small())
    link = projects.parent / "link"
    link.symlink_to(projects)
    client = DescribedApp(create_app(cors_origins=(), folders=(str(link),)), lint=True)
    file = read_whole(client, request_file(client, path))
    assert file["file_path"] == str(link / "-work" / path.name)
    assert ingest(link).unchanged_files == 1


@pytest.fixture
def outside(tmp_path, projects) -> dict[str, Path]:
    """Paths that lead out of the folders, and may or may not exist."""
    secret = tmp_path / "secret" / "x.jsonl"
    secret.parent.mkdir()
    secret.write_bytes(b'{"type":"mode"}\n')
    (tmp_path / "projects2").mkdir()
    (tmp_path / "projects2" / "x.jsonl").write_bytes(b"{}\n")
    (projects / "file-link.jsonl").symlink_to(secret)
    (projects / "folder-link").symlink_to(secret.parent)
    (projects / "dangling.jsonl").symlink_to(tmp_path / "secret" / "none.jsonl")
    return {
        "there": secret,
        "not there": secret.with_name("none.jsonl"),
        "a link to a file": projects / "file-link.jsonl",
        "through a link to a folder": projects / "folder-link" / "x.jsonl",
        "through it, not there": projects / "folder-link" / "none.jsonl",
        "a link to nothing": projects / "dangling.jsonl",
        "dots": projects / ".." / "secret" / "x.jsonl",
        "a folder that begins alike": tmp_path / "projects2" / "x.jsonl",
        "the folder itself": projects,
        "relative": Path("projects/x.jsonl"),
        "home": Path("~/x.jsonl"),
        "a device": Path("/dev/zero"),
        "long": tmp_path / ("x" * 3000),
    }


def test_nothing_outside_is_read_or_told(reader, outside):
    answers = set()
    for path in outside.values():
        answer = request_file(reader, path, expect_errors=True)
        error = check_refusal(answer, 403, "FORBIDDEN")
        answers.add((error["error"], str(error["details"])))
    assert len(answers) == 1
    assert "file_path" in answers.pop()[1]
    jobs.join()
    assert ask(reader, PATH)["files"] == []


def test_what_is_no_transcript_is_refused(reader, projects):
    (projects / "notes.txt").write_text("x")
    (projects / "folder.jsonl").mkdir()
    os.mkfifo(projects / "pipe.jsonl")
    for name in ("notes.txt", "folder.jsonl", "pipe.jsonl"):
        answer = request_file(reader, projects / name, expect_errors=True)
        error = check_refusal(answer, 400, "VALIDATION_ERROR")
        assert list(error["details"]["fields"]) == ["file_path"]


def test_what_is_not_there_is_not_found(reader, projects):
    for name in ("none.jsonl", "none/none.jsonl", "x" * 300 + ".jsonl"):
        answer = request_file(reader, projects / name, expect_errors=True)
        check_refusal(answer, 404, "NOT_FOUND")


@pytest.mark.parametrize(
    "body",
    [{}, {"file_path": ""}, {"file_path": None}, {"file_path": 1}, {"file_path": "/a\0b"},
     {"file_path": "/x.jsonl", "force": True}, {"file_path": "/" + "x" * 5000}],
)  # fmt: skip
def test_a_wrong_request_for_a_file_names_the_field(reader, body):
    answer = reader.post_json(f"{PATH}/process-jsonl", body, expect_errors=True)
    assert check_refusal(answer, 400, "VALIDATION_ERROR")["details"]["fields"]


def upload(client, transcript: Transcript) -> dict:
    name = f"{transcript.session_id}.jsonl"
    answer = client.post(f"{PATH}/upload", upload_files=[("file", name, transcript.bytes())])
    return answer.json["data"]


def test_an_upload_may_be_read_on_request_too(reader):
    path = upload(reader, small())["file_path"]
    assert read_whole(reader, request_file(reader, path))["status"] == "completed"
    answer = request_file(reader, Path(path).with_name("none.jsonl"), expect_errors=True)
    check_refusal(answer, 404, "NOT_FOUND")


# Reading a file again


def test_a_file_that_is_read_again_doubles_nothing(reader, write, ingest, session):
    transcript = numbered(1)
    transcript.prompt("hello")
    transcript.raw(b"rubbish")
    transcript.answer("hi")
    transcript.tool_use("Bash", {"command": "ls"})
    transcript.tool_result("a")
    write(transcript)
    ingest()
    before = {name: rows for name, rows in dump().items() if name != "files"}
    answer = reader.post(f"{PATH}/2/reprocess")
    assert (answer.json["data"]["id"], answer.json["data"]["status"]) == (2, "pending")
    file = read_whole(reader, answer)
    assert (file["status"], file["line_count"], file["bad_line_count"]) == ("completed", 5, 1)
    assert file["record_counts"] == {"user": 2, "assistant": 2}
    assert {name: rows for name, rows in dump().items() if name != "files"} == before
    check_sound()


def test_what_is_lost_from_the_rows_comes_back(reader, session):
    execute("DELETE FROM messages WHERE position = 7")
    read_whole(reader, reader.post(f"{PATH}/1/reprocess"))
    assert ask(reader, f"/api/conversations/{session}")["message_count"] == 7


def test_a_file_that_waits_to_be_read_again_is_pending(reader, session, db):
    with held(db, "ingest"):
        reader.post(f"{PATH}/1/reprocess")
        file = ask(reader, f"{PATH}/1")
        assert (file["status"], file["byte_offset"]) == ("pending", 0)
        assert ids(reader, PATH, status="pending") == [1]
        assert ids(reader, PATH, status="completed") == []
    jobs.join()
    assert ask(reader, f"{PATH}/1")["status"] == "completed"


def test_a_reading_that_is_asked_for_again_gets_the_first_answer(reader, session, projects):
    [file] = ask(reader, PATH)["files"]
    headers = {"Idempotency-Key": "key-1"}
    body = {"file_path": file["file_path"]}
    for again in ("", "true"):
        answers = [
            reader.post(f"{PATH}/{file['id']}/reprocess", headers=headers, status=202),
            reader.post_json(f"{PATH}/process-jsonl", body, headers=headers, status=202),
        ]
        jobs.join()
        assert [a.headers.get("Idempotency-Replayed", "") for a in answers] == [again] * 2
        [now] = ask(reader, PATH)["files"]
        assert now["status"] == "completed"
    # The file was read from its start once, and not for each request.
    assert fetch_all("SELECT generation FROM transcript_files") == [(2,)]
    other = {"file_path": str(projects / "other.jsonl")}
    reader.post_json(f"{PATH}/process-jsonl", other, headers=headers, status=409)
    # What was answered once is answered again, though the file is gone by now.
    os.unlink(file["file_path"])
    reader.post(f"{PATH}/{file['id']}/reprocess", headers=headers, status=202)
    reader.post_json(f"{PATH}/process-jsonl", body, headers=headers, status=202)


def test_a_file_that_is_gone_can_not_be_read_again(reader, session, projects):
    (projects / "-work" / f"{SESSION}.jsonl").unlink()
    answer = reader.post(f"{PATH}/1/reprocess", expect_errors=True)
    check_refusal(answer, 409, "CONFLICT")
    assert ask(reader, f"{PATH}/1")["status"] == "completed"


# Forgetting a file


def test_a_transcript_that_is_forgotten_is_found_again(reader, broken, ingest):
    answer = reader.delete(f"{PATH}/{broken}")
    schemas.DeletedFile().load(answer.json["data"])
    assert answer.json["data"]["is_removed_from_disk"] is False
    assert ask(reader, PATH)["files"] == []
    assert ask(reader, f"/api/conversations/{session_id(1)}")["message_count"] == 2
    ingest()
    [file] = ask(reader, PATH)["files"]
    assert (file["status"], file["bad_line_count"]) == ("completed", 1)
    assert ask(reader, f"/api/conversations/{session_id(1)}")["message_count"] == 2
    check_sound()


def test_messages_of_a_forgotten_file_belong_to_it_once_it_is_found(reader, session, ingest, write):
    reader.delete(f"{PATH}/1")
    ingest()
    assert fetch_all("SELECT DISTINCT file_key IS NULL FROM messages") == [(0,)]
    shorter = numbered(1)
    shorter.session_id = SESSION
    shorter.prompt("Something else")
    write(shorter)
    ingest()
    assert fetch_all("SELECT count(*) FROM messages WHERE is_superseded") == [(7,)]


def test_an_upload_that_is_forgotten_is_gone_from_the_disk(reader, db, ingest):
    file = upload(reader, small())
    answer = reader.delete(f"{PATH}/{file['id']}")
    assert answer.json["data"]["is_removed_from_disk"] is True
    assert not Path(file["file_path"]).exists()
    assert not Path(file["file_path"]).parent.exists()
    ingest(db.parent / "uploads")
    assert ask(reader, PATH)["files"] == []
    assert ask(reader, f"/api/conversations/{session_id(1)}")["message_count"] == 2


def test_an_upload_that_was_forgotten_can_be_uploaded_again(reader):
    first = upload(reader, small())
    reader.delete(f"{PATH}/{first['id']}")
    again = upload(reader, small())
    assert (again["file_path"], again["status"]) == (first["file_path"], "completed")
    assert ask(reader, f"/api/conversations/{session_id(1)}")["message_count"] == 2


def test_a_forgotten_file_is_not_there(reader, session):
    reader.delete(f"{PATH}/1")
    for answer in (
        reader.get(f"{PATH}/1", expect_errors=True),
        reader.get(f"{PATH}/1/errors", expect_errors=True),
        reader.delete(f"{PATH}/1", expect_errors=True),
        reader.post(f"{PATH}/1/reprocess", expect_errors=True),
    ):
        check_refusal(answer, 404, "NOT_FOUND")


def test_nothing_is_forgotten_while_transcripts_are_read(reader, session, db, monkeypatch):
    monkeypatch.setattr(files, "LOCK_WAIT_SECONDS", 0)
    with held(db, "ingest"):
        answer = reader.delete(f"{PATH}/1", expect_errors=True)
    check_refusal(answer, 409, "CONFLICT")
    assert ask(reader, f"{PATH}/1")["status"] == "completed"


# States


def test_a_file_whose_reader_died_is_pending(reader, session, db):
    execute("UPDATE transcript_files SET status = 'processing'")
    with held(db, "ingest"):
        answer = reader.get(f"{PATH}/1")
        assert answer.json["data"]["status"] == "processing"
        assert "ETag" not in answer.headers
        assert ids(reader, PATH, status="processing") == [1]
        assert ids(reader, PATH, status="pending") == []
    assert ask(reader, f"{PATH}/1")["status"] == "pending"
    assert ids(reader, PATH, status="processing") == []
    assert ids(reader, PATH, status="pending") == [1]
    assert [row["status"] for row in ask(reader, PATH)["files"]] == ["pending"]


def test_looking_does_not_disturb_an_ingest(reader, session, db):
    execute("UPDATE transcript_files SET status = 'processing'")
    for _ in range(50):
        ask(reader, f"{PATH}/1")
        with held(db, "ingest"):
            pass


def test_the_id_of_a_forgotten_file_is_not_given_again(client, write, ingest):
    first = Transcript("1" * 8)
    first.prompt("one")
    path = write(first)
    ingest()
    [old] = client.get("/api/files").json["data"]["files"]
    client.delete(f"/api/files/{old['id']}")
    path.unlink()
    second = Transcript("2" * 8, prefix="b")
    second.prompt("two")
    write(second)
    ingest()
    [new] = client.get("/api/files").json["data"]["files"]
    assert new["id"] > old["id"]
    assert client.get(f"/api/files/{old['id']}", status=404)


def test_a_file_is_forgotten_only_as_it_was_seen(reader, session):
    before = {"If-Match": reader.get(f"{PATH}/1").headers["ETag"]}
    reader.patch_json(f"/api/conversations/{session}", {"title": "Another"})
    answer = reader.delete(f"{PATH}/1", headers=before, status=412)
    assert answer.json["code"] == "PRECONDITION_FAILED"
    reader.delete(f"{PATH}/1", headers={"If-Match": reader.get(f"{PATH}/1").headers["ETag"]})


@pytest.mark.parametrize("query", ["?status=pending", "?status=processing", "?offset=1"])
def test_no_list_has_a_tag_while_a_reader_may_die(reader, session, query):
    assert "ETag" in reader.get(PATH + query).headers
    execute("UPDATE transcript_files SET status = 'processing'")
    assert "ETag" not in reader.get(PATH + query).headers


def test_tool_uses_that_were_lost_come_back(reader, session):
    path = f"/api/conversations/{session}/tool-uses"
    before = ask(reader, path)["tool_uses"]
    assert before
    execute("DELETE FROM tool_uses")
    # As an earlier version left it: indexed without them.
    execute("DELETE FROM message_search")
    execute(
        "INSERT INTO message_search (rowid, text, thinking, tool_input, tool_result, cjk)"
        " SELECT key, text, thinking, tool_input, tool_result, cjk FROM searchable_messages"
    )
    read_whole(reader, reader.post(f"{PATH}/1/reprocess"))
    assert ask(reader, path)["tool_uses"] == before
    assert ask(reader, f"/api/conversations/{session}")["tool_use_count"] == len(before)
    # Each word is in the index once, and goes with its conversation.
    reader.delete(f"/api/conversations/{session}?permanent=true")
    assert fetch_all("SELECT count(*) FROM message_search_docsize") == [(0,)]
    check_sound()
