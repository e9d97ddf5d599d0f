"""Reports as JSON, CSV and NDJSON, and which of these is answered."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime

import pytest

from observatory.api import etags
from observatory.api.report_forms import write_rows
from tests.transcripts_for_tests import Transcript

PATH = "/api/analytics/costs"
SPAN = {"from": "2026-03-01", "to": "2026-03-31"}
CSV, NDJSON = "text/csv", "application/x-ndjson"


def read_csv(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        ("*/*", "application/json"),
        ("application/json, text/csv", "application/json"),
        ("text/csv, application/json", "application/json"),
        ("text/csv", CSV),
        ("TEXT/CSV", CSV),
        ("text/csv; charset=utf-8", CSV),
        ("text/csv, */*;q=0.1", CSV),
        ("text/csv;q=0.2, application/json;q=0.9", "application/json"),
        ("text/csv;q=0.2, application/x-ndjson;q=0.9", NDJSON),
        ("application/x-ndjson, text/csv;q=0.5", NDJSON),
        ("text/csv;q=0", "application/json"),
        ("text/html, text/*;q=0.5", "application/json"),
        ("text/csv;q=x,,;", "application/json"),
    ],
)
def test_the_form_that_is_accepted_best_is_answered(client, accept, wanted):
    answer = client.get(PATH, SPAN, headers={"Accept": accept})
    assert answer.content_type == wanted
    assert "Accept" in answer.headers["Vary"].replace("Accept-Encoding", "")
    assert (
        client.get(PATH, {**SPAN, "format": "csv"}, headers={"Accept": accept}).content_type == CSV
    )


def test_each_form_has_a_tag_of_its_own_and_the_same_headers_without_a_body(client, write, ingest):
    transcript = Transcript()
    transcript.prompt("go")
    transcript.answer("gone")
    write(transcript)
    ingest()
    tags = set()
    for accept in ("application/json", CSV, NDJSON):
        answer = client.get(PATH, SPAN, headers={"Accept": accept})
        tag = answer.headers["ETag"]
        tags.add(tag)
        head = client.head(PATH, SPAN, headers={"Accept": accept})
        assert (head.headers["ETag"], head.content_type) == (tag, answer.content_type)
        assert head.body == b""
        known = {"Accept": accept, "If-None-Match": tag}
        same = client.get(PATH, SPAN, headers=known)
        assert (same.status_int, same.body) == (304, b"")
        assert "Accept," in same.headers["Vary"] + ","
    assert len(tags) == 3


def test_titles_are_text_in_csv_whatever_is_in_them(client, write, ingest):
    titles = ('=1+1, "two"\nlines', "ünï ☃", "-2", "@x", "plain, with a comma")
    for number, title in enumerate(titles):
        transcript = Transcript(f"session-{number}", prefix="abcde"[number])
        transcript.prompt("go")
        transcript.answer("gone")
        transcript.side("custom-title", customTitle=title, sessionId=transcript.session_id)
        write(transcript)
    ingest()
    params = {**SPAN, "group_by": "conversation"}
    answer = client.get(PATH, {**params, "format": "csv"})
    rows = {row["conversation_id"]: row["title"] for row in read_csv(answer.text)}
    lines = client.get(PATH, {**params, "format": "ndjson"}).text.splitlines()
    wanted = {row["conversation_id"]: row["title"] for row in map(json.loads, lines)}
    assert len(rows) == len(titles)
    for identifier, title in wanted.items():
        is_formula = title.startswith(("=", "-", "@"))
        assert rows[identifier] == (f"'{title}" if is_formula else title)


def test_what_is_inside_has_the_same_columns_in_every_row():
    rows = [{"a": 1, "b": None}, {"a": 2, "b": {"c": 3, "d": None}}]
    assert write_rows(rows, "csv") == b"a,b.c,b.d\r\n1,,\r\n2,3,\r\n"


def test_a_report_without_rows_is_empty():
    assert write_rows([], "csv") == write_rows([], "ndjson") == b""


def test_a_kept_report_ends_with_the_hour_of_each_zone(client, monkeypatch):
    answers = []
    for minute in (10, 40):
        moment = datetime(2026, 3, 4, 5, minute, tzinfo=UTC).timestamp()
        monkeypatch.setattr(etags, "time", lambda moment=moment: moment)
        answers.append(client.get(PATH).headers["ETag"])
    assert answers[0] != answers[1]
