"""Changes over HTTP: conversations, their messages, tags, the trash."""

from __future__ import annotations

import json

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from observatory.api import conversations
from observatory.app import create_app
from observatory.store import message_changes
from observatory.store.conversation_changes import trash_conversation
from observatory.store.database import execute, fetch_all, fetch_one
from observatory.store.scopes import WHOLE
from tests.api.keyed import KeyedApp
from tests.ingest.dumps import check_sound
from tests.transcripts_for_tests import Transcript

SESSION = "11111111-1111-4111-8111-111111111111"


@pytest.fixture
def own(client, db) -> str:
    """Return the address of a conversation made over HTTP."""
    made = client.post_json("/api/conversations", {"title": "Mine"}, status=201).json["data"]
    return f"/api/conversations/{made['id']}"


@pytest.fixture
def told(client, write, ingest) -> str:
    """Return the address of a conversation read from a transcript, with a subagent."""
    transcript = Transcript(SESSION)
    transcript.prompt("apple")
    transcript.answer("pear")
    write(transcript)
    child = Transcript(SESSION, prefix="c")
    child.common.update(isSidechain=True, agentId="kid")
    child.prompt("plum")
    write(child, f"-work/{SESSION}/subagents/agent-kid.jsonl")
    ingest()
    return f"/api/conversations/{SESSION}"


def test_a_conversation_is_made_as_asked(client, db):
    body = {
        "title": "  Plan  ",
        "project_path": "/home/ada/engine/",
        "metadata": {"model": "claude-opus-4-5", "tags": ["a", "b"], "custom": {"k": [1]}},
    }
    made = client.post_json("/api/conversations", body, status=201).json["data"]
    assert made["title"] == "Plan"
    assert made["project_path"] == "/home/ada/engine"
    assert made["metadata"]["tags"] == ["a", "b"]
    assert made["metadata"]["custom"] == {"k": [1]}
    assert (made["message_count"], made["total_tokens"]) == (0, 0)
    assert client.get(f"/api/conversations/{made['id']}").json["data"] == made


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, {"title"}),
        ({"title": "   "}, {"title"}),
        ({"title": "x" * 201}, {"title"}),
        ({"title": 7}, {"title"}),
        ({"title": "a\0b"}, {"title"}),
        ({"title": "x", "titel": "y", "odd": 1}, {"titel", "odd"}),
        ({"title": "x", "metadata": {"tags": ["", "a,b"], "more": 1}}, {"metadata"}),
        ({"title": "x", "metadata": {"custom": "text"}}, {"metadata"}),
        ({"title": "x", "metadata": {"custom": {"k": "v" * 300_000}}}, {"metadata"}),
        ({"title": "x", "project_path": ""}, {"project_path"}),
    ],
)
def test_each_wrong_field_is_named(body, fields, client, db):
    answer = client.post_json("/api/conversations", body, status=400).json
    assert set(answer["details"]["fields"]) == fields
    assert fetch_all("SELECT key FROM conversations") == []


def test_a_title_of_200_characters_after_trimming_fits(client, db):
    client.post_json("/api/conversations", {"title": f"  {'x' * 200}  "}, status=201)


def test_patch_changes_what_is_given_and_null_removes(client, own):
    client.patch_json(own, {"metadata": {"os": "linux", "client": "cli"}})
    changed = client.patch_json(own, {"title": "New", "metadata": {"os": None}}).json["data"]
    assert changed["title"] == "New"
    assert (changed["metadata"]["os"], changed["metadata"]["client"]) == (None, "cli")


def test_put_replaces_all_that_a_user_says(client, own):
    client.patch_json(own, {"metadata": {"client": "cli", "tags": ["a"]}})
    changed = client.put_json(own, {"title": "Other"}).json["data"]
    assert (changed["metadata"]["client"], changed["metadata"]["tags"]) == (None, [])


def test_what_users_change_survives_another_ingest(client, told, write, ingest, projects):
    client.patch_json(told, {"title": "Fruit", "metadata": {"tags": ["sweet"]}})
    transcript = Transcript(SESSION)
    transcript.prompt("apple")
    transcript.answer("pear")
    transcript.side("custom-title", customTitle="from the transcript")
    transcript.prompt("fig")
    write(transcript)
    ingest()
    now = client.get(told).json["data"]
    assert (now["title"], now["metadata"]["tags"], now["message_count"]) == ("Fruit", ["sweet"], 3)
    assert now["metadata"]["version"] == "2.1.120"


def test_if_match_refuses_a_change_of_what_has_changed(client, own):
    before = client.get(own).headers["ETag"]
    client.patch_json(own, {"title": "First"}, headers={"If-Match": before})
    for call in (client.patch_json, client.put_json):
        answer = call(own, {"title": "Second"}, headers={"If-Match": before}, status=412)
        assert answer.json["code"] == "PRECONDITION_FAILED"
    client.delete(own, headers={"If-Match": before}, status=412)
    assert client.get(own).json["data"]["title"] == "First"
    client.delete(own, headers={"If-Match": client.get(own).headers["ETag"]})


def test_if_match_does_not_mind_changes_elsewhere(client, own):
    before = client.get(own).headers["ETag"]
    client.post_json("/api/conversations", {"title": "Another"}, status=201)
    client.patch_json(own, {"title": "Changed"}, headers={"If-Match": before})


@pytest.mark.parametrize(("tag", "status"), [("*", 200), ('"nonsense"', 412), ("x", 412)])
def test_other_if_match_headers(tag, status, client, own):
    client.patch_json(own, {"title": "T"}, headers={"If-Match": tag}, status=status)


def test_the_trash_and_back(client, told):
    deleted = client.delete(told).json["data"]
    assert deleted["permanent"] is False
    client.get(told, status=404)
    client.get(f"{told}/messages", status=404)
    client.delete(told, status=404)
    assert client.get("/api/conversations").json["data"]["pagination"]["total"] == 0
    trash = client.get("/api/conversations?deleted=true").json["data"]
    assert trash["pagination"]["total"] == 2
    assert client.get("/api/search?q=apple").json["data"]["hits"] == []
    assert client.get("/api/projects").json["data"]["projects"][0]["conversation_count"] == 0
    client.post(f"{told}/restore")
    assert client.get(told).json["data"]["message_count"] == 2
    assert client.get("/api/conversations").json["data"]["pagination"]["total"] == 2
    client.post(f"{told}/restore", status=404)


def test_what_was_deleted_by_itself_stays_when_its_parent_comes_back(client, told):
    child = f"{told}.kid"
    client.delete(child)
    client.delete(told)
    client.post(f"{told}/restore")
    client.get(child, status=404)
    client.post(f"{child}/restore")
    assert client.get(child).json["data"]["message_count"] == 1


def test_a_subagent_does_not_come_back_without_its_session(client, told):
    client.delete(told)
    answer = client.post(f"{told}.kid/restore", status=409)
    assert answer.json["code"] == "CONFLICT"
    assert SESSION in answer.json["error"]
    client.post(f"{told}/restore")
    client.get(f"{told}.kid")


@pytest.mark.parametrize("place", ["file", "inline"])
def test_a_new_subagent_of_what_is_in_the_trash_is_there_too(place, client, told, write, ingest):
    client.delete(told)
    child = Transcript(SESSION, prefix="d")
    child.common.update(isSidechain=True, agentId="late")
    child.prompt("cherry")
    if place == "inline":
        session = Transcript(SESSION)
        session.prompt("apple")
        session.answer("pear")
        session.records += child.records
        write(session)
    else:
        write(child, f"-work/{SESSION}/subagents/agent-late.jsonl")
    ingest()
    client.get(f"{told}.late", status=404)
    assert client.get("/api/conversations").json["data"]["pagination"]["total"] == 0
    assert client.get("/api/search?q=cherry").json["data"]["hits"] == []
    client.post(f"{told}/restore")
    assert client.get(f"{told}.late").json["data"]["message_count"] == 1


@pytest.mark.parametrize("names", ["agentId", "uuid"])
def test_a_subagent_inside_its_sessions_file_is_removed_for_good(names, client, write, ingest):
    session = Transcript(SESSION)
    session.prompt("apple")
    main = session.last
    session.last = None
    fields = {"isSidechain": True, **({"agentId": "kid"} if names == "agentId" else {})}
    root = session.prompt("plum", **fields)["uuid"]
    session.answer("plum, too", **fields)
    write(session)
    ingest()
    told = f"/api/conversations/{SESSION}"
    child = f"{told}.{'kid' if names == 'agentId' else root}"
    assert client.get(child).json["data"]["message_count"] == 2
    client.delete(f"{child}?permanent=true")
    for _ in range(2):
        # What is added to it later goes the same way.
        session.answer("plum again", **fields)
        kept, session.last = session.last, main
        main = session.answer("pear")["uuid"]
        session.last = kept
        write(session).touch()
        ingest()
        client.get(child, status=404)
        assert client.get("/api/search?q=plum").json["data"]["hits"] == []
    execute("UPDATE transcript_files SET is_reread = 1")
    ingest()
    client.get(child, status=404)
    assert client.get(told).json["data"]["message_count"] == 3
    assert fetch_one("SELECT count(*) FROM conversations") == (1,)
    check_sound()


def test_removed_for_good_is_gone_everywhere(client, told, write, ingest, projects):
    client.delete(f"{told}?permanent=true")
    for table in ("conversations", "messages", "api_calls", "tool_uses", "message_cjk"):
        assert fetch_one(f"SELECT count(*) FROM {table}") == (0,)
    assert fetch_one("SELECT count(*) FROM message_search_docsize") == (0,)
    assert client.get("/api/search?q=plum").json["data"]["hits"] == []
    client.post(f"{told}/restore", status=404)
    path = next(projects.rglob(f"{SESSION}.jsonl"))
    path.write_bytes(path.read_bytes() + b'{"type":"mode"}\n')
    again = Transcript(SESSION)
    for text in ("apple", "pear", "more"):
        again.prompt(text)
    write(again)
    ingest()
    client.get(told, status=404)
    check_sound()


def test_removing_from_the_trash(client, told):
    client.delete(told)
    client.delete(f"{told}?permanent=true")
    client.delete(f"{told}?permanent=true", status=404)


def test_messages_are_written_with_tools_and_usage(client, own):
    body = {
        "role": "assistant",
        "content": "let me look",
        "tool_calls": [
            {
                "id": "call_1",
                "type": "function",
                "function": {"name": "Bash", "arguments": {"command": "ls"}},
                "result": "a.txt",
                "execution_time_ms": 12,
                "status": "success",
            }
        ],
        "metadata": {
            "model": "claude-opus-4-5",
            "temperature": 0.5,
            "max_tokens": 100,
            "stop_reason": "tool_use",
            "usage": {"prompt_tokens": 10, "completion_tokens": 4, "total_tokens": 14},
        },
    }
    made = client.post_json(f"{own}/messages", body, status=201).json["data"]
    assert made["tool_calls"] == [
        {
            **body["tool_calls"][0],
            "function": {"name": "Bash", "arguments": {"command": "ls"}},
            "result_length": 5,
        }
    ]
    assert made["token_count"] == 14
    assert made["metadata"]["usage"]["cost_microdollars"] == 10 * 5 + 4 * 25
    assert (made["metadata"]["temperature"], made["metadata"]["max_tokens"]) == (0.5, 100)
    conversation = client.get(own).json["data"]
    assert (conversation["message_count"], conversation["tool_use_count"]) == (1, 1)
    assert conversation["total_tokens"] == 14
    assert client.get(f"/api/messages/{made['id']}").json["data"] == made
    [use] = client.get(f"{own}/tool-uses").json["data"]["tool_uses"]
    assert use["result"] == "a.txt"


@pytest.mark.parametrize(("tokens", "rounded"), [(1, 0), (2, 0), (3, 1), (6, 2), (10, 2), (14, 4)])
def test_a_cost_is_rounded_to_the_even_microdollar(tokens, rounded, client, own):
    usage = {"input_tokens": tokens, "output_tokens": 0}
    body = {
        "role": "assistant",
        "content": "At 250 nanodollars each.",
        "metadata": {"model": "claude-3-haiku", "usage": usage},
    }
    made = client.post_json(f"{own}/messages", body, status=201).json["data"]
    assert made["metadata"]["usage"]["cost_microdollars"] == rounded == round(tokens * 250 / 1000)


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    model=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=9),
    temperature=st.floats(0, 10),
)
def test_what_is_said_of_a_message_comes_back(model, temperature, client, own):
    word = f"<{model}>"
    metadata = {"model": word, "stop_reason": word, "temperature": temperature, "max_tokens": 5}
    sent = {"role": "user", "content": "x", "metadata": metadata}
    made = client.post_json(f"{own}/messages", sent).json["data"]
    answer = client.get(f"/api/messages/{made['id']}")
    shown = answer.json["data"]["metadata"]
    assert shown["notes"] == {name: shown[name] for name in shown["notes"]}
    assert {name: shown[name] for name in metadata} == metadata
    # SQLite makes this part, and writes it as all others are written.
    assert orjson.dumps(answer.json) == answer.body


def test_a_batch_is_written_in_order(client, own):
    messages = [{"role": "user", "content": f"n{n}"} for n in range(1000)]
    made = client.post_json(f"{own}/messages", {"messages": messages}, status=201).json["data"]
    assert len(made["message_ids"]) == 1000
    page = client.get(f"{own}/messages?limit=3").json["data"]["messages"]
    assert [m["content"] for m in page] == ["n0", "n1", "n2"]
    assert [m["id"] for m in page] == made["message_ids"][:3]


@pytest.mark.parametrize(
    "body",
    [
        {"messages": []},
        {"messages": [{"role": "user", "content": "x"}] * 1001},
        {"messages": [{"role": "user", "content": "x"}, {"role": "robot", "content": "y"}]},
        {"messages": [{"role": "user", "content": "x"}], "role": "user"},
        {"role": "user"},
        {"role": "user", "content": " "},
        {"role": "user", "content": "x", "timestamp": "later"},
        {"role": "user", "content": "x", "metadata": {"usage": {"input_tokens": -1}}},
        {"role": "user", "content": "x", "metadata": {"usage": {"input_tokens": "5"}}},
        {"role": "user", "content": "x", "metadata": {"temperature": "NaN"}},
        {"role": "assistant", "content": "x", "tool_calls": [{"function": {}}]},
        {"role": "assistant", "content": "x", "tool_calls": [{"function": {"name": "a"}}] * 101},
        {"role": "user", "content": "x", "tool_calls": [{"function": {"name": "a"}}]},
        {"role": "system", "content": "", "tool_calls": [{"function": {"name": "a"}}]},
    ],
)
def test_wrong_messages_leave_nothing_behind(body, client, own):
    client.post_json(f"{own}/messages", body, status=400)
    assert fetch_one("SELECT count(*) FROM messages") == (0,)


def test_what_is_kept_is_told_though_it_went_to_the_trash_meanwhile(client, own, monkeypatch):
    def insert(conversation_id, *arguments, **named):
        ids = message_changes.insert_messages(conversation_id, *arguments, **named)
        trash_conversation(conversation_id, scope=WHOLE)
        return ids

    monkeypatch.setattr(conversations, "insert_messages", insert)
    said = {"role": "user", "content": "last words"}
    answer = client.post_json(f"{own}/messages", said, status=201).json["data"]
    assert (answer["content"], answer["position"]) == ("last words", 1)
    client.get(f"/api/messages/{answer['id']}", status=404)
    client.post(f"{own}/restore", status=200)
    client.get(f"/api/messages/{answer['id']}", status=200)


def test_a_tool_calls_id_is_new_in_its_conversation(client, own):
    call = {"id": "same", "function": {"name": "Bash"}}
    body = {"role": "assistant", "content": "", "tool_calls": [call]}
    client.post_json(f"{own}/messages", body, status=201)
    client.post_json(f"{own}/messages", body, status=409)
    client.post_json(f"{own}/messages", {**body, "tool_calls": [call, call]}, status=409)
    assert fetch_one("SELECT count(*) FROM messages") == (1,)


def test_a_transcripts_conversation_takes_no_messages(client, told):
    client.post_json(f"{told}/messages", {"role": "user", "content": "x"}, status=409)


def test_tags_are_set_removed_and_listed(client, own, told):
    for address in (own, told):
        client.put(f"{address}/tags/later%20on")
    client.put(f"{own}/tags/later%20on")
    assert client.put(f"{own}/tags/b").json["data"]["tags"] == ["later on", "b"]
    found = client.get("/api/conversations?tag=later+on").json["data"]["conversations"]
    assert len(found) == 2
    assert client.delete(f"{own}/tags/later%20on").json["data"]["tags"] == ["b"]
    for wrong in ("x" * 51, "a%2Cb", "a\x01", "%2E%2E"):
        client.put(f"{own}/tags/{wrong}", status=400)
    assert client.get(told).json["data"]["metadata"]["version"] == "2.1.120"


def test_a_tag_is_kept_once_and_of_no_more_than_fifty(client, own):
    tags = [f"t{number}" for number in range(50)]
    changed = client.patch_json(own, {"metadata": {"tags": [*tags[:49], "t0"]}}).json["data"]
    assert changed["metadata"]["tags"] == tags[:49]
    assert client.put(f"{own}/tags/t49").json["data"]["tags"] == tags
    assert client.put(f"{own}/tags/t3").json["data"]["tags"] == tags
    answer = client.put(f"{own}/tags/t50", status=409)
    assert answer.json["code"] == "CONFLICT"
    assert client.get(own).json["data"]["metadata"]["tags"] == tags
    client.patch_json(own, {"metadata": {"tags": ["a/b"]}}, status=400)


def test_tags_are_set_on_what_was_seen_only(client, own):
    before = {"If-Match": client.get(own).headers["ETag"]}
    client.put(f"{own}/tags/a", headers=before)
    for call in (client.put, client.delete):
        answer = call(f"{own}/tags/a", headers=before, status=412)
        assert answer.json["code"] == "PRECONDITION_FAILED"
    client.delete(f"{own}/tags/a", headers={"If-Match": client.get(own).headers["ETag"]})


def test_a_restoring_that_is_sent_again_gets_the_first_answer(client, told):
    client.delete(told)
    headers = {"Idempotency-Key": "key-1"}
    first = client.post(f"{told}/restore", headers=headers)
    again = client.post(f"{told}/restore", headers=headers)
    assert again.json["data"] == first.json["data"]
    assert again.headers["Idempotency-Replayed"] == "true"


def test_the_same_key_and_body_give_the_first_answer_again(client, db):
    headers = {"Idempotency-Key": "key-1"}
    first = client.post_json("/api/conversations", {"title": "Once"}, headers=headers, status=201)
    again = client.post_json("/api/conversations", {"title": "Once"}, headers=headers, status=201)
    assert again.json["data"] == first.json["data"]
    assert again.headers["Idempotency-Replayed"] == "true"
    assert fetch_one("SELECT count(*) FROM conversations") == (1,)


def test_the_same_key_with_another_body_is_a_conflict(client, own):
    headers = {"Idempotency-Key": "key-1"}
    message = {"role": "user", "content": "x"}
    client.post_json(f"{own}/messages", message, headers=headers, status=201)
    other = {"role": "user", "content": "y"}
    client.post_json(f"{own}/messages", other, headers=headers, status=409)
    assert fetch_one("SELECT count(*) FROM messages") == (1,)


def test_a_refused_request_does_not_use_up_its_key(client, own):
    headers = {"Idempotency-Key": "key-1"}
    call = {"id": "same", "function": {"name": "Bash"}}
    body = {"role": "assistant", "content": "", "tool_calls": [call, call]}
    client.post_json(f"{own}/messages", body, headers=headers, status=409)
    client.post_json(
        f"{own}/messages", {"role": "user", "content": "x"}, headers=headers, status=201
    )


@pytest.mark.parametrize("key", ["", "x" * 256, "a b", "ü"])
def test_a_malformed_key_is_told(key, client, db):
    headers = {"Idempotency-Key": key}
    answer = client.post_json("/api/conversations", {"title": "x"}, headers=headers, status=400)
    assert list(answer.json["details"]["fields"]) == ["Idempotency-Key"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    body=st.dictionaries(
        st.sampled_from(
            ("title", "project_path", "metadata", "role", "content", "tool_calls", "messages",
             "timestamp", "x")
        ),
        JSON
        | st.fixed_dictionaries(
            {},
            optional=dict.fromkeys(("tags", "custom", "usage", "model", "temperature"), JSON),
        )
        | st.lists(st.fixed_dictionaries({"function": JSON | st.just({"name": "a"})}), max_size=3),
    ),
    target=st.sampled_from(("", "/messages", "/restore", "/tags/x")),
    method=st.sampled_from(("POST", "PUT", "PATCH", "DELETE")),
)  # fmt: skip
def test_any_body_is_done_or_refused(body, target, method, client, own):
    for address in ("/api/conversations", own + target):
        response = client.request(
            address,
            method=method,
            body=json.dumps(body).encode(),
            content_type="application/json",
            expect_errors=True,
        )
        assert response.status_int in (200, 201, 400, 404, 405, 409), response.body


@pytest.mark.parametrize(
    ("milliseconds", "status"), [(144, 201), (144.0, 201), (144.5, 400), (True, 400)]
)
def test_a_number_is_whole_however_json_writes_it(client, milliseconds, status):
    made = client.post_json("/api/conversations", {"title": "x"}).json["data"]["id"]
    call = {"function": {"name": "Bash"}, "execution_time_ms": milliseconds}
    body = {"role": "assistant", "content": "x", "tool_calls": [call]}
    answer = client.post_json(f"/api/conversations/{made}/messages", body, expect_errors=True)
    assert answer.status_int == status


@pytest.mark.parametrize("field", ["title", "metadata"])
def test_null_changes_neither_title_nor_metadata(client, field):
    made = client.post_json("/api/conversations", {"title": "x"}).json["data"]["id"]
    body = {"title": "y", "metadata": {}} | {field: None}
    answer = client.patch_json(f"/api/conversations/{made}", body, expect_errors=True)
    assert list(answer.json["details"]["fields"]) == [field]


def test_a_body_may_be_as_large_as_the_setting_says(db):
    app = create_app(cors_origins=(), folders=(), max_request_bytes=2000)
    small = KeyedApp(app)
    body = {"title": "x", "metadata": {"custom": {"text": "y" * 3000}}}
    assert small.post_json("/api/conversations", body, expect_errors=True).status_int == 413
    body["metadata"]["custom"]["text"] = "y"
    assert small.post_json("/api/conversations", body).status_int == 201


def test_what_is_written_is_found_at_once(client):
    created = client.post_json("/api/conversations", {"title": "mine"}).json["data"]
    path = f"/api/conversations/{created['id']}/messages"
    client.post_json(path, {"role": "user", "content": "the flux capacitor"})
    function = {"name": "Bash", "arguments": {"command": "make gigawatts"}}
    calls = [
        {"function": function, "result": "1.21 made"},
        {"function": {"name": "Read"}, "result": "\u518d\u89c1 plutonium"},
    ]
    batch = [
        {"role": "assistant", "content": "", "tool_calls": calls},
        {"role": "user", "content": "\u4f60\u597d flux"},
    ]
    client.post_json(path, {"messages": batch})
    for query, expected in (
        ("flux", 2),
        ("gigawatts", 1),
        ("1.21 plutonium", 1),
        ("\u4f60\u597d", 1),
        ("\u518d\u89c1", 1),
        ("mine", 0),
    ):
        assert len(client.get("/api/search", {"q": query}).json["data"]["hits"]) == expected, query
    check_sound()
    client.delete(f"/api/conversations/{created['id']}?permanent=true")
    assert fetch_one("SELECT count(*) FROM message_search('made OR plutonium')") == (0,)
    check_sound()


def test_only_the_assistant_calls_tools(client, own):
    call = {"function": {"name": "Bash"}, "result": "x"}
    body = {"role": "user", "content": "x", "tool_calls": [call]}
    answer = client.post_json(f"{own}/messages", body, status=400).json
    assert list(answer["details"]["fields"]) == ["tool_calls"]
    client.post_json(f"{own}/messages", {**body, "tool_calls": []}, status=201)


def test_what_is_written_behind_what_waits_is_found_after_it(client, write, ingest):
    transcript = Transcript()
    transcript.prompt("the first flux")
    write(transcript)
    ingest()
    # As it is while an ingest has written rows and not come to the index yet.
    execute("DELETE FROM message_search WHERE rowid = 1")
    execute("UPDATE totals SET value = 0 WHERE name = 'indexed_message_key'")
    created = client.post_json("/api/conversations", {"title": "mine"}).json["data"]
    path = f"/api/conversations/{created['id']}/messages"
    client.post_json(path, {"role": "user", "content": "the second flux"})
    ingest()
    hits = client.get("/api/search", {"q": "flux"}).json["data"]["hits"]
    assert len(hits) == 2
    assert fetch_one("SELECT count(*) FROM message_search('flux')") == (2,)
    check_sound()


@pytest.mark.parametrize("depth", [10, 33, 600, 1100])
def test_arguments_of_any_depth_are_kept(client, own, depth):
    arguments = "[" * depth + "1" + "]" * depth
    call = {"function": {"name": "Bash", "arguments": arguments}}
    body = {"role": "assistant", "content": "x", "tool_calls": [call]}
    made = client.post_json(f"{own}/messages", body, status=201).json["data"]
    kept = made["tool_calls"][0]["function"]["arguments"]
    assert kept == (json.loads(arguments) if depth <= 32 else arguments)


def test_no_answer_is_kept_of_what_was_removed(client, own):
    headers = {"Idempotency-Key": "key-1"}
    message = {"role": "user", "content": "secret"}
    client.post_json(f"{own}/messages", message, headers=headers, status=201)
    client.delete(f"{own}?permanent=true")
    client.post_json(f"{own}/messages", message, headers=headers, status=404)
    assert fetch_all("SELECT * FROM idempotency_keys") == []


def test_null_removes_tags(client, own):
    client.put(f"{own}/tags/a")
    changed = client.patch_json(own, {"metadata": {"tags": None}}).json["data"]
    assert changed["metadata"]["tags"] == []


def test_answers_about_others_are_kept_when_one_is_removed(client, write, ingest):
    headers = {"Idempotency-Key": "key-1"}
    body = {"title": "Mine"}
    first = client.post_json("/api/conversations", body, headers=headers, status=201)
    transcript = Transcript("session")
    transcript.prompt("apple")
    write(transcript)
    ingest()
    client.delete("/api/conversations/session?permanent=true")
    again = client.post_json("/api/conversations", body, headers=headers, status=201)
    assert again.json["data"] == first.json["data"]


@pytest.mark.parametrize("gone", ["session", "subagent"])
def test_kept_answers_tell_nothing_of_a_subagent_that_is_gone(client, subagent, gone):
    """They were found by the session alone: what a subagent's restoring answered stayed."""
    session = subagent.partition(".")[0]
    for name in (subagent, session):
        client.delete(f"/api/conversations/{name}")
    # The session's answer lists what it started.
    for name in (session, subagent):
        client.post(f"/api/conversations/{name}/restore", headers={"Idempotency-Key": name})
    client.delete(f"/api/conversations/{ {'session': session}.get(gone, subagent) }?permanent=true")
    kept = fetch_all("SELECT data FROM idempotency_keys")
    assert not [data for (data,) in kept if subagent in data]
