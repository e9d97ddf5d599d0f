"""A read of what the client has already is answered 304; any write makes another tag."""

from __future__ import annotations

import pytest
from webob import Request

from observatory.api import conversations, etags
from observatory.api.compression import NOTHING, Accepted
from observatory.store.database import database, writing
from tests.api.asking import check_refusal
from tests.api.keyed import ENVIRON
from tests.api.sessions import SESSION
from tests.transcripts_for_tests import Transcript

MESSAGE = "aaaaaaaa-0000-4000-8000-000000000001"
READS = (
    f"/api/analytics/reconcile?conversation={SESSION}",
    "/api/conversations", "/api/conversations?limit=2&fields=id", f"/api/conversations/{SESSION}",
    f"/api/conversations/{SESSION}/messages", f"/api/conversations/{SESSION}/tool-uses",
    f"/api/conversations/{SESSION}/turns",
    f"/api/conversations/{SESSION}/export", f"/api/conversations/{SESSION}/export?format=html",
    f"/api/messages/{MESSAGE}", "/api/projects", "/api/projects/1", "/api/files", "/api/files/1",
    "/api/search?q=count",
)  # fmt: skip
OTHERS = ("/health", "/health/ready", "/metrics")


def ask(client, path, tag, **headers):
    return client.get(path, headers={"If-None-Match": tag, **headers}, expect_errors=True)


def content(answer) -> object:
    """Return what an answer says, without what differs each time."""
    if answer.content_type != "application/json" or "success" not in answer.json:
        return answer.body
    return answer.json["data"]


@pytest.mark.parametrize("path", READS)
def test_what_the_client_has_is_not_sent_again(client, session, path):
    answer = client.get(path)
    tag = answer.headers["ETag"]
    again = ask(client, path, tag)
    assert (again.status_int, again.body) == (304, b"")
    assert "Content-Type" not in again.headers
    for headers in (answer.headers, again.headers):
        assert headers["ETag"] == tag
        assert headers["Cache-Control"] == "private, no-cache"
        assert headers["Vary"] == "Accept-Encoding"
        assert headers["X-Content-Type-Options"] == "nosniff"
    head = client.head(path, headers={"If-None-Match": tag})
    assert (head.status_int, head.headers["ETag"]) == (304, tag)


@pytest.mark.parametrize("form", ["{}", "W/{}", '"a", {}', '"a",W/{} , "b"', " {}\t"])
def test_a_tag_may_stand_in_a_list_and_be_weak(client, session, form):
    tag = client.get("/api/conversations").headers["ETag"]
    assert ask(client, "/api/conversations", form.format(tag)).status_int == 304


@pytest.mark.parametrize("given", ["", '"a"', "a", '""', "W/", '"*"', "é", '"0-0123456789abcdef"'])
def test_another_tag_gets_the_answer(client, session, given):
    assert ask(client, "/api/conversations", given).status_int == 200


@pytest.mark.parametrize("path", READS)
def test_a_star_stands_for_anything_that_is_there(client, session, path):
    answer = ask(client, path, "*")
    assert (answer.status_int, answer.body) == (304, b"")
    missing = ask(client, "/api/conversations/nothing", "*")
    check_refusal(missing, 404, "NOT_FOUND")


def test_304_asks_the_database_nothing_more(client, session, monkeypatch):
    tag = client.get("/api/conversations").headers["ETag"]

    def fail(**_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(conversations, "list_conversations", fail)
    assert ask(client, "/api/conversations", tag).status_int == 304


@pytest.mark.parametrize("path", OTHERS)
def test_what_always_changes_has_no_tag(client, session, path):
    answer = client.get(path)
    assert "ETag" not in answer.headers
    assert answer.headers["Cache-Control"] == "no-store"
    assert ask(client, path, "*").status_int == 200


@pytest.mark.parametrize(
    "path",
    ["/api/conversations?limit=0", "/api/conversations/nothing", "/api/nothing", "/api/files/x"],
)
def test_errors_have_no_tag(client, session, path):
    answer = ask(client, path, "*")
    assert answer.status_int in (400, 404)
    assert "ETag" not in answer.headers
    assert answer.headers["Cache-Control"] == "no-store"


def test_a_change_has_no_tag(client, session):
    answer = client.options("/api/conversations")
    assert "ETag" not in answer.headers


def test_each_address_and_coding_has_its_own(client, session):
    codings = ("", "gzip", "zstd", "gzip, identity;q=0")
    tags = {}
    for path in READS:
        for coding in codings:
            # WebTest itself would try to unpack what comes.
            headers = {"Accept-Encoding": coding}
            asked = Request.blank(path, environ=ENVIRON, headers=headers)
            tags[path, coding] = asked.get_response(client.app).headers["ETag"]
    assert len(set(tags.values())) == len(READS) * len(codings)
    for (path, coding), tag in tags.items():
        assert ask(client, path, tag, **{"Accept-Encoding": coding}).status_int == 304


def test_any_ingest_changes_every_tag_and_304_means_the_same(client, write, ingest):
    """Grow a conversation record by record, and ask for all that was ever tagged."""
    transcript = Transcript(SESSION)
    transcript.prompt("Count")
    transcript.tool_use("Bash", {"command": "ls"})
    transcript.tool_result("a\nb")
    transcript.answer("Two.")
    transcript.side("custom-title", customTitle="Counted", sessionId=SESSION)
    transcript.raw(b"not JSON")
    seen: dict[str, list[tuple[str, object]]] = {path: [] for path in READS}
    for lines in range(1, len(transcript.records) + 1):
        write(Transcript(SESSION)).write_bytes(transcript.bytes(lines))
        ingest()
        for path, known in seen.items():
            answer = client.get(path, expect_errors=True)
            assert answer.status_int == 200
            for tag, _ in known:
                assert tag != answer.headers["ETag"]
                assert ask(client, path, tag).status_int == 200
            assert ask(client, path, answer.headers["ETag"]).status_int == 304
            known.append((answer.headers["ETag"], content(answer)))
    ingest()  # Nothing new: either the tag is the same, or another one for the same answer.
    for path, known in seen.items():
        answer = client.get(path)
        if answer.headers["ETag"] == known[-1][0]:
            assert content(answer) == known[-1][1]


def test_every_write_transaction_changes_the_tag(client, session):
    tag = client.get("/api/projects").headers["ETag"]
    with writing():
        pass
    assert client.get("/api/projects").headers["ETag"] != tag


def test_a_write_that_was_taken_back_changes_nothing(client, session):
    tag = client.get("/api/projects").headers["ETag"]
    with pytest.raises(RuntimeError), writing():
        raise RuntimeError
    assert ask(client, "/api/projects", tag).status_int == 304


def test_nothing_is_stale_after_an_hour(client, session, monkeypatch):
    monkeypatch.setattr(etags, "time", lambda: 3600.0 * 1000 + 5)
    tag = client.get("/api/projects").headers["ETag"]
    monkeypatch.setattr(etags, "time", lambda: 3600.0 * 1001 - 1)
    assert ask(client, "/api/projects", tag).status_int == 304
    monkeypatch.setattr(etags, "time", lambda: 3600.0 * 1001)
    assert ask(client, "/api/projects", tag).status_int == 200


def test_other_code_makes_other_tags(client, session, monkeypatch):
    tag = client.get("/api/projects").headers["ETag"]
    etags._digest.cache_clear()
    monkeypatch.setattr(etags, "_CODE", "another")
    assert ask(client, "/api/projects", tag).status_int == 200
    etags._digest.cache_clear()


def test_a_read_leaves_no_transaction_open(client, session, monkeypatch):
    for path in (*READS, "/api/conversations/nothing", "/api/conversations?limit=0"):
        client.get(path, expect_errors=True)
        assert not database.connection().in_transaction
    monkeypatch.setattr(conversations, "list_conversations", lambda **_: 1 / 0)
    assert client.get("/api/conversations", expect_errors=True).status_int == 500
    assert not database.connection().in_transaction


@pytest.mark.parametrize(
    ("tag", "revision"),
    [('"RUN-1f-0123456789abcdef"', 31), ('W/"RUN-1f-0123456789abcdef"', None), ("*", None),
     ("", None), ('"RUN-1f-0123456789abcdef', None), ('"RUN--0123456789abcdef"', None),
     ('"RUN-1F-0123456789abcdef"', None), ('"00000000-1f-0123456789abcdef"', None)],
)  # fmt: skip
def test_a_tag_tells_its_revision(tag, revision):
    assert etags.find_revision(tag.replace("RUN", etags._RUN)) == revision


def test_a_tag_of_an_earlier_run_says_nothing(client, session, monkeypatch):
    path = f"/api/conversations/{SESSION}"
    tag = client.get(path).headers["ETag"]
    monkeypatch.setattr(etags, "_RUN", "00000000")
    assert ask(client, path, tag).status_int == 200
    change = {"title": "Mine now"}
    client.patch_json(path, change, headers={"If-Match": tag}, status=412)
    client.patch_json(path, change, headers={"If-Match": client.get(path).headers["ETag"]})


def test_any_text_can_stand_in_an_address():
    for path in ("\ud800", "é", "\0"):
        assert etags._digest(path, "", NOTHING, None, 1) != etags._digest(
            path, "", Accepted("gzip", takes_plain=True), None, 1
        )
