"""``/api/tags``."""

from __future__ import annotations

from observatory.store.scopes import Scope
from tests.api.sessions import numbered
from tests.api.viewers import HIDDEN, VISIBLE, project_key, sign_in


def tag(client, conversation_id, *tags):
    for name in tags:
        client.put(f"/api/conversations/{conversation_id}/tags/{name}")


def ask(client):
    rows = client.get("/api/tags").json["data"]["tags"]
    return [(row["tag"], row["conversation_count"]) for row in rows]


def test_there_are_none_at_first(client, session):
    assert ask(client) == []


def test_the_most_used_come_first_and_others_by_name(client, add):
    first, second = add(1), add(2)
    tag(client, first, "zebra", "later")
    tag(client, second, "later", "asap")
    assert ask(client) == [("later", 2), ("asap", 1), ("zebra", 1)]


def test_what_is_in_the_trash_does_not_count(client, add):
    first, second = add(1), add(2)
    tag(client, first, "later", "gone")
    tag(client, second, "later")
    client.delete(f"/api/conversations/{first}")
    assert ask(client) == [("later", 1)]


def test_tags_of_what_is_hidden_are_not_told(client, write, ingest):
    for number, folder in ((1, HIDDEN), (2, VISIBLE)):
        transcript = numbered(number, cwd=folder)
        transcript.prompt("hello")
        write(transcript)
        ingest()
        tag(client, transcript.session_id, f"of{number}", "both")
    narrow = sign_in(Scope(hidden=frozenset({project_key(HIDDEN)})))
    assert ask(narrow) == [("both", 1), ("of2", 1)]


def test_an_answer_is_not_sent_again_until_a_tag_changes(client, add):
    number = add(1)
    etag = client.get("/api/tags").headers["ETag"]
    assert client.get("/api/tags", headers={"If-None-Match": etag}).status_int == 304
    tag(client, number, "later")
    assert client.get("/api/tags", headers={"If-None-Match": etag}).status_int == 200
