"""Reports tell nothing of what is hidden, no text to analysts, and nobody another's report."""

from __future__ import annotations

from typing import Any

import pytest
import webtest

from observatory.accounts.permissions import ANALYTICS
from observatory.api.analytics import REPORTS
from observatory.store.counters import refresh_conversations
from observatory.store.database import execute, fetch_all, writing
from tests.api.asking import ask, check_refusal
from tests.api.people import add_key, bare, make_person
from tests.api.viewers import (
    FORK,
    HIDDEN,
    MARK,
    SHARED_SESSION,
    VISIBLE,
    build,
    project_key,
    scopes,
    sign_in,
)
from tests.transcripts_for_tests import Transcript

SPAN = {"from": "2026-01-01", "to": "2026-12-31"}
GROUPS = {
    "token-usage": ("month", "model", "project", "conversation"),
    "costs": ("week", "model", "project", "conversation"),
    "tools": ("tool", "day", "project"),
    "errors": ("category", "day"),
}
QUESTIONS: list[tuple[str, dict[str, Any]]] = [
    *((name, {"group_by": group}) for name, groups in GROUPS.items() for group in groups),
    *(
        (name, {"breakdown": by})
        for name in ("token-usage", "costs")
        for by in ("model", "project")
    ),
    *((name, {"compare": "previous"}) for name in ("overview", "models", "activity")),
    *((name, {}) for name in ("tools/slowest", "blocks", "files", "subagents", "compare")),
    ("subagents", {"conversation": SHARED_SESSION}),
    ("reconcile", {"conversation": FORK}),
]
FORMS = ("json", "csv", "ndjson")


@pytest.fixture
def archive(db, write, ingest) -> None:
    """An archive with a hidden part."""
    build(write, ingest, secret="nothing")


def test_each_report_is_asked():
    assert {name for name, _ in QUESTIONS} == {*REPORTS, "compare", "reconcile"}


@pytest.mark.parametrize("name", ["hidden", "only", "both", "nothing"])
def test_nothing_that_is_hidden_is_in_a_report(archive, name):
    client = sign_in(scopes()[name])
    for report, params in QUESTIONS:
        span = {} if report == "reconcile" else SPAN
        forms = ({},) if report == "reconcile" else tuple({"format": form} for form in FORMS)
        for form in forms:
            path = f"/api/analytics/{report}"
            answer = client.get(path, {**span, **params, **form}, status="*")
            assert answer.status_int in (200, 404), (report, params)
            assert MARK not in answer.text, (report, params, form)


def test_who_sees_all_is_told_of_it(archive):
    found = sign_in().get("/api/analytics/costs", {**SPAN, "group_by": "conversation"}).text
    assert MARK in found


@pytest.mark.parametrize("name", ["hidden", "only", "both", "nothing"])
@pytest.mark.parametrize("param", ["project", "against_project"])
def test_a_hidden_project_is_refused_as_an_unknown_one(archive, name, param):
    client = sign_in(scopes()[name])
    refused = []
    for path in (HIDDEN, "/home/ada/nnproject"):
        answer = client.get("/api/analytics/compare", {param: path}, status=404)
        said = check_refusal(answer, 404, "NOT_FOUND")
        refused.append((said["error"].replace(path, "?"), said["details"]))
    assert refused[0] == refused[1]


def test_a_result_that_only_a_hidden_copy_has_is_not_among_the_slowest(archive):
    path = "/api/analytics/tools/slowest"
    execute("UPDATE tool_uses SET execution_time_ms = 5000 WHERE tool_use_id = 'toolu_source'")
    whole = {row["tool_use_id"] for row in ask(sign_in(), path, **SPAN)["rows"]}
    assert {"toolu_source", "toolu_shared"} <= whole
    for name in ("hidden", "both"):
        rows = ask(sign_in(scopes()[name]), path, **SPAN)["rows"]
        assert "toolu_source" not in {row["tool_use_id"] for row in rows}


def said_by(transcript: Transcript) -> Transcript:
    """Let a session say what analysts must not read: words, and the path of a file."""
    transcript.prompt("peartext in a prompt")
    path = {"file_path": "/pearfile.py"}
    transcript.tool_use("Read", path, tool_use_id="toolu_1")
    transcript.tool_result("pearresult", tool_use_id="toolu_1")
    transcript.answer("pearanswer")
    return transcript


def test_analysts_are_told_no_text(client, write, ingest):
    write(said_by(Transcript(SHARED_SESSION)))
    run = said_by(Transcript(SHARED_SESSION, prefix="b"))
    run.common |= {"isSidechain": True, "agentId": "one"}
    write(run, f"-work/{SHARED_SESSION}/subagents/agent-one.jsonl")
    ingest()
    _, key = add_key([ANALYTICS])
    headers = {"Authorization": f"Bearer {key}"}
    told = 0
    for report, params in QUESTIONS:
        if report == "files":
            bare(client).get(f"/api/analytics/{report}", headers=headers, status=403)
            continue
        span = {} if report == "reconcile" else SPAN
        conversation = {"conversation": SHARED_SESSION} if "conversation" in params else {}
        for form in FORMS if span else ("json",):
            asked = {**span, **params, **conversation, **({"format": form} if span else {})}
            # Somebody who may read it asks first.
            told += "pear" in client.get(f"/api/analytics/{report}", asked).text
            answer = bare(client).get(f"/api/analytics/{report}", asked, headers=headers)
            assert "pear" not in answer.text, (report, asked)
    assert told > 5


def rows_of(client: webtest.TestApp, headers: dict[str, str]) -> set[str | None]:
    """Return the projects in a report, asked twice: the second answer is the one that was kept."""
    asked = {**SPAN, "group_by": "project"}
    answers = [
        bare(client).get("/api/analytics/costs", asked, headers=headers).json["data"]
        for _ in range(2)
    ]
    assert answers[0] == answers[1]
    return {row["project_path"] for row in answers[0]["rows"]}


def test_a_report_that_is_kept_is_for_nobody_else_and_not_for_later(archive, client):
    member, admin = make_person(client), make_person(client, "admin")
    everything = rows_of(client, admin.headers)
    assert {HIDDEN, VISIBLE} <= everything
    assert HIDDEN not in rows_of(client, member.headers)
    key = project_key(HIDDEN)
    change = {"visibility": "everyone"}
    bare(client).patch_json(f"/api/projects/{key}", change, headers=admin.headers)
    assert rows_of(client, member.headers) == everything
    change = {"visibility": "listed", "user_ids": []}
    bare(client).patch_json(f"/api/projects/{key}", change, headers=admin.headers)
    assert HIDDEN not in rows_of(client, member.headers)
    assert rows_of(client, admin.headers) == everything
    execute("UPDATE users SET role = 'analyst' WHERE key = ?", (member.id,))
    assert HIDDEN not in rows_of(client, member.headers)


def test_a_kept_report_is_made_anew_when_prices_change(client, write, ingest):
    transcript = Transcript()
    transcript.prompt("go")
    transcript.answer("gone", model="pear-1")
    write(transcript)
    ingest()
    path = "/api/analytics/costs"
    first = client.get(path, SPAN)
    assert first.json["data"]["totals"]["cost_microdollars"] is None
    known = {"If-None-Match": first.headers["ETag"]}
    assert client.get(path, SPAN, headers=known).status_int == 304
    with writing():
        execute("UPDATE api_calls SET cost_nanodollars = 5000")
        refresh_conversations(key for (key,) in fetch_all("SELECT key FROM conversations"))
    again = client.get(path, SPAN, headers=known)
    assert again.json["data"]["totals"]["cost_microdollars"] == 5
