"""``/api/files``."""

from __future__ import annotations

import os

import pytest

from observatory.api import schemas
from tests.api.asking import ask, check_refusal, ids, refuse
from tests.api.sessions import SESSION, numbered, session_id
from tests.api.test_projects import STRANGE_KEYS

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
