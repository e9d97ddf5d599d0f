"""``/api/secrets``, and secrets in what clients write."""

from __future__ import annotations

import json
import random
import re
import uuid

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from observatory.redaction import masking
from observatory.redaction.patterns import KINDS
from tests.api.asking import check_refusal
from tests.ingest.test_any_reading import EXPLORES
from tests.planted import PLANTS, drawn, places_of
from tests.transcripts_for_tests import Transcript

PATH = "/api/secrets"
CONVERSATIONS = "/api/conversations"
TOKEN = "gh" + "p_" + drawn(random.Random(7), 36)
OTHER = "gh" + "o_" + drawn(random.Random(8), 36)


@pytest.fixture(autouse=True)
def setting():
    masking.configure("mask", "k" * 40)
    yield
    masking.configure("mask", "k" * 40)


@pytest.fixture
def found(write, ingest) -> Transcript:
    transcript = Transcript()
    transcript.prompt(TOKEN)
    transcript.answer(f"{TOKEN}, {TOKEN}, {OTHER}")
    transcript.side("ai-title", aiTitle="PASSWORD=" + drawn(random.Random(9), 20))
    write(transcript)
    ingest()
    return transcript


def rows(client, **params) -> list[dict]:
    return client.get(PATH, params).json["data"]["secrets"]


def test_a_finding_tells_where_and_how_many_messages_hold_the_same(client, found):
    last, other, same, first = rows(client)
    assert {**first, "hash": "", "created_at": ""} == {
        "id": first["id"],
        "kind": "github_token",
        "hash": "",
        "conversation_id": found.session_id,
        "message_id": found.uuid(1),
        "where": "content",
        "count": 1,
        "created_at": "",
        "message_count": 2,
    }
    assert (same["message_id"], same["count"], same["message_count"]) == (found.uuid(2), 2, 2)
    assert same["hash"] == first["hash"] != other["hash"]
    assert other["message_count"] == 1
    assert (last["message_id"], last["where"], last["message_count"]) == (None, "title", 0)
    assert last["conversation_id"] == found.session_id
    message = client.get(f"/api/messages/{found.uuid(1)}").json["data"]
    assert message["content"] == f"[secret:github_token:{first['hash']}]"


def test_findings_are_filtered_and_paged(client, found):
    assert len(rows(client, kind="github_token")) == 3
    assert len(rows(client, kind="password")) == 1
    assert rows(client, kind="jwt") == []
    assert len(rows(client, conversation_id=found.session_id)) == 4
    assert rows(client, conversation_id="nobody") == []
    walked, params = [], {"limit": 2}
    while params:
        data = client.get(PATH, params).json["data"]
        assert data["pagination"]["total"] == 4
        walked += data["secrets"]
        cursor = data["pagination"]["next_cursor"]
        params = {"limit": 2, "cursor": cursor} if cursor else None
    assert walked == rows(client)
    assert rows(client, limit=1, offset=3) == walked[3:]


def test_what_is_in_the_trash_is_left_out(client, found):
    client.delete(f"{CONVERSATIONS}/{found.session_id}")
    assert rows(client) == []


@pytest.mark.parametrize(
    ("query", "field"), [("kind=x", "kind"), ("limit=101", "limit"), ("cursor=x", "cursor")]
)
def test_a_wrong_parameter_is_refused(client, query, field):
    answer = client.get(f"{PATH}?{query}", expect_errors=True)
    error = check_refusal(answer, 400, "VALIDATION_ERROR")
    assert list(error["details"]["fields"]) == [field]


def test_every_kind_is_known(client):
    assert {plant(random.Random(1)).kind for plant in PLANTS} == set(KINDS)


def test_search_and_exports_show_the_mark(client, found):
    hash_ = rows(client, kind="github_token")[-1]["hash"]
    hits = client.get("/api/search", {"q": "github_token"}).json["data"]["hits"]
    assert len(hits) == 2
    for form in ("jsonl", "json", "markdown", "html"):
        told = client.get(f"{CONVERSATIONS}/{found.session_id}/export", {"format": form}).text
        assert TOKEN not in told and OTHER not in told
        assert hash_ in told


def written_places(client, text: str) -> None:
    """Write a text into every place that clients can write to."""
    short = text[:150].replace("\n", " ")
    body = {
        "title": f"t {short}"[:200],
        "project_path": f"/home/{short}",
        "metadata": {"client": short, "custom": {"a": [text, {text: 1}]}, "tags": ["x"]},
    }
    made = client.post_json(
        CONVERSATIONS, body, headers={"Idempotency-Key": str(uuid.uuid4())}
    ).json["data"]
    address = f"{CONVERSATIONS}/{made['id']}"
    call = {
        "function": {"name": short, "arguments": {"x": [text], "y": {"z": text}}},
        "result": f"r {text}",
    }
    as_text = {"function": {"name": "X", "arguments": json.dumps({"x": text})}, "id": short}
    no_json = {"function": {"name": "X", "arguments": f"no json {text}"}}
    client.post_json(
        f"{address}/messages",
        {
            "messages": [
                {"role": "user", "content": f"日本 {text}"},
                {
                    "role": "assistant",
                    "content": text,
                    "tool_calls": [call, as_text, no_json],
                    "metadata": {"model": short, "stop_reason": short},
                },
            ]
        },
        headers={"Idempotency-Key": "b"},
    )
    client.post_json(f"{address}/messages", {"role": "user", "content": text})
    client.put_json(address, {"title": f"u {short}"[:200], "metadata": {"os": short}})
    client.patch_json(address, {"metadata": {"custom": {"b": text}}})


@given(plant=st.sampled_from(PLANTS), seed=st.integers(0, 2**32))
@settings(
    max_examples=500 if EXPLORES else 40,
    deadline=None,
    derandomize=not EXPLORES,
    suppress_health_check=list(HealthCheck),
)
def test_what_clients_write_is_masked(plant, seed, client, db):
    planted = plant(random.Random(seed))
    if len(planted.text) <= 150:
        written_places(client, planted.text)
    else:
        made = client.post_json(CONVERSATIONS, {"title": "x"}).json["data"]["id"]
        body = {"role": "user", "content": planted.text}
        client.post_json(f"{CONVERSATIONS}/{made}/messages", body)
    assert places_of(planted.secret, db) == []


def test_a_tag_is_masked_and_can_be_removed(client, db):
    made = client.post_json(CONVERSATIONS, {"title": "x"}).json["data"]["id"]
    address = f"{CONVERSATIONS}/{made}/tags/{TOKEN}"
    [tag] = client.put(address).json["data"]["tags"]
    assert re.fullmatch(r"\[secret:github_token:[0-9a-f]{8}\]", tag)
    assert places_of(TOKEN, db) == []
    assert client.delete(address).json["data"]["tags"] == []


def test_findings_of_what_clients_write(client):
    body = {"title": f"t {TOKEN}", "metadata": {"custom": {"password": OTHER}}}
    made = client.post_json(CONVERSATIONS, body).json["data"]["id"]
    call = {"function": {"name": "X", "arguments": {"x": TOKEN}}, "result": TOKEN}
    message = {"role": "assistant", "content": TOKEN, "tool_calls": [call]}
    [written] = client.post_json(f"{CONVERSATIONS}/{made}/messages", {"messages": [message]}).json[
        "data"
    ]["message_ids"]
    told = [(row["where"], row["message_id"]) for row in reversed(rows(client))]
    assert told == [
        ("title", None),
        ("metadata", None),
        ("content", written),
        ("parameters", written),
        ("result", written),
    ]
    client.put_json(f"{CONVERSATIONS}/{made}", {"title": "plain"})
    assert [row["where"] for row in rows(client)] == ["result", "parameters", "content"]


def test_a_message_that_is_flagged_stays_as_it_was(client):
    masking.configure("flag", "k" * 40)
    made = client.post_json(CONVERSATIONS, {"title": "x"}).json["data"]["id"]
    body = {"role": "user", "content": TOKEN}
    answer = client.post_json(f"{CONVERSATIONS}/{made}/messages", body).json["data"]
    assert answer["content"] == TOKEN
    assert [row["kind"] for row in rows(client)] == ["github_token"]


def test_a_page_of_findings_is_read_in_the_order_of_its_key(db):
    from observatory.store import secrets
    from observatory.store.database import fetch_all

    select = secrets._SELECT.format(same_there="")
    query = f"EXPLAIN QUERY PLAN {select} ORDER BY f.key DESC LIMIT 5"
    plan = "\n".join(row[3] for row in fetch_all(query))
    assert "TEMP B-TREE FOR ORDER BY" not in plan
