"""``/api/conversations/{id}/messages``."""

from __future__ import annotations

import pytest

from observatory.api import schemas
from tests.api.asking import ask, refuse, walk
from tests.api.sessions import SESSION, numbered, session_id

PATH = f"/api/conversations/{SESSION}/messages"


@pytest.fixture
def many(write, ingest) -> str:
    """The path of the messages of a conversation with 120 prompts of the same moment."""
    transcript = numbered(1)
    for number in range(120):
        transcript.prompt(f"prompt {number}", timestamp="2026-01-01T00:00:00.000Z")
    write(transcript)
    ingest()
    return f"/api/conversations/{session_id(1)}/messages"


def test_rows_are_as_their_schema_says(client, subagent):
    for identifier in (SESSION, subagent):
        data = ask(client, f"/api/conversations/{identifier}/messages")
        schemas.Message(many=True).load(data["messages"])
        schemas.Pagination().load(data["pagination"])


def test_messages_come_in_the_order_of_the_transcript(client, session):
    messages = ask(client, PATH)["messages"]
    assert [(m["role"], m["kind"]) for m in messages] == [
        ("user", "prompt"),
        ("assistant", "answer"),
        ("assistant", "tool_use"),
        ("user", "tool_result"),
        ("assistant", "tool_use"),
        ("user", "tool_result"),
        ("assistant", "answer"),
    ]
    assert [m["position"] for m in messages] == list(range(1, 8))
    assert [m["parent_id"] for m in messages] == [None, *(m["id"] for m in messages[:-1])]
    assert {m["conversation_id"] for m in messages} == {SESSION}


def test_an_answer_carries_its_usage(client, session):
    answer = ask(client, PATH)["messages"][1]
    assert answer["content"] == "I will look."
    assert answer["token_count"] == 1123
    assert answer["metadata"]["model"] == "claude-opus-4-5-20251101"
    assert answer["metadata"]["stop_reason"] == "end_turn"
    assert answer["metadata"]["usage"] == {
        "prompt_tokens": 1103,
        "completion_tokens": 20,
        "total_tokens": 1123,
        "input_tokens": 3,
        "output_tokens": 20,
        "cache_creation_input_tokens": 100,
        "cache_read_input_tokens": 1000,
        "cost_microdollars": 1640,
        "usage_quality": "exact",
    }


def test_a_prompt_has_no_usage(client, session):
    prompt = ask(client, PATH)["messages"][0]
    assert (prompt["token_count"], prompt["metadata"]["usage"]) == (0, None)


def test_token_counts_add_up_to_the_conversation(client, write, ingest):
    transcript = numbered(1)
    for text in ("one", "response", "on three lines"):
        transcript.answer(text, message_id="msg_shared")
    write(transcript)
    ingest()
    path = f"/api/conversations/{session_id(1)}"
    counts = [message["token_count"] for message in ask(client, f"{path}/messages")["messages"]]
    assert sum(counts) == ask(client, path)["total_tokens"] == 1123


def test_a_message_shows_its_tool_calls_with_their_results(client, session):
    messages = ask(client, PATH)["messages"]
    assert [len(message["tool_calls"]) for message in messages] == [0, 0, 1, 0, 1, 0, 0]
    assert messages[2]["tool_calls"] == [
        {
            "id": "toolu_1",
            "type": "function",
            "function": {"name": "Bash", "arguments": {"command": "ls"}},
            "result": "a\nb",
            "result_length": 3,
            "execution_time_ms": 1000,
            "status": "success",
        }
    ]


ODD_TEXTS = (
    "",
    "\x01\x1f\x7f\x80 \b\t\n\f\r",
    "\"quoted\" \\ \\u0000 </script> 'single'",
    "→ é \u2028 \ufeff \U0001f600",
    '",' * 20 + '"content":',
)


@pytest.mark.parametrize("text", ODD_TEXTS)
def test_whole_messages_are_written_as_those_are_that_could_be_cut(client, write, ingest, text):
    """They are put together by SQLite, and these by orjson."""
    transcript = numbered(1)
    for role in (transcript.prompt, transcript.answer):
        role(text)
    transcript.tool_use(f"odd{text}", {"a": 1.0, "text": text})
    transcript.tool_result(text)
    transcript.tool_use("Bash", {}, tool_use_id="toolu_2")
    write(transcript)
    ingest()
    path = f"/api/conversations/{session_id(1)}/messages"
    whole, cuttable = (client.get(path + query).body for query in ("", "?max_characters=100000"))
    assert whole.rpartition(b',"timestamp":')[0] == cuttable.rpartition(b',"timestamp":')[0]
    assert whole.count(b"content_length") == 5


def test_a_page_holds_100_messages_unless_asked_otherwise(client, many):
    data = ask(client, many)
    assert len(data["messages"]) == data["pagination"]["limit"] == 100
    assert (data["pagination"]["total"], data["pagination"]["has_more"]) == (120, True)
    assert len(ask(client, many, limit=500)["messages"]) == 120


def test_an_offset_passes_over_messages(client, many):
    [message] = ask(client, many, limit=1, offset=119)["messages"]
    assert message["content"] == "prompt 119"


def test_cursors_lead_to_every_message_once(client, many):
    everything = [message["id"] for message in ask(client, many, limit=500)["messages"]]
    assert walk(client, many, limit=7) == everything


def test_messages_that_are_added_in_between_come_at_the_end(client, write, ingest):
    transcript = numbered(1)
    for number in range(3):
        transcript.prompt(str(number))
    path = write(transcript)
    ingest()
    url = f"/api/conversations/{session_id(1)}/messages"
    cursor = ask(client, url, limit=2)["pagination"]["next_cursor"]
    transcript.prompt("3")
    path.write_bytes(transcript.bytes())
    ingest()
    rest = ask(client, url, cursor=cursor)["messages"]
    assert [message["content"] for message in rest] == ["2", "3"]


def test_both_branches_after_a_rewind_are_shown(client, write, ingest):
    transcript = numbered(1)
    transcript.prompt("begin")
    fork = transcript.answer("begun")["uuid"]
    transcript.prompt("this way")
    transcript.prompt("no, that way", parentUuid=fork)
    write(transcript)
    ingest()
    messages = ask(client, f"/api/conversations/{session_id(1)}/messages")["messages"]
    assert [message["is_on_main_branch"] for message in messages] == [True, True, False, True]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=501", "limit"),
        ("limit=ten", "limit"),
        ("offset=-1", "offset"),
        ("offset=1&offset=1", "offset"),
        ("cursor=x", "cursor"),
        ("cursor=", "cursor"),
        ("sort_by=position", "sort_by"),
        ("search=x", "search"),
    ],
)
def test_a_wrong_parameter_is_refused_by_name(client, session, query, field):
    assert list(refuse(client, f"{PATH}?{query}")) == [field]


def test_a_cursor_of_another_list_is_refused(client, session):
    other = ask(client, f"/api/conversations/{SESSION}/tool-uses", limit=1)["pagination"]
    assert list(refuse(client, PATH, {"cursor": other["next_cursor"]})) == ["cursor"]
