"""``/api/conversations/{id}/turns``, and pages of messages around one of them."""

from __future__ import annotations

import pytest

from observatory.api import schemas
from observatory.store.database import fetch_all
from tests.api.asking import ask, refuse
from tests.api.sessions import SESSION, numbered, session_id

PATH = f"/api/conversations/{SESSION}"


@pytest.fixture
def three(write, ingest) -> str:
    """The path of a conversation of three turns, with commands and a tool that failed."""
    said = numbered(1)
    said.prompt("<command-name>/clear</command-name>")
    said.prompt("first")
    said.answer("one", message_id="msg_1")
    said.prompt("<command-name>/model</command-name>")
    said.prompt("<local-command-stdout>set</local-command-stdout>")
    said.prompt("<command-name>/init</command-name>")
    said.tool_use("Bash", {"command": "ls"}, message_id="msg_2")
    said.tool_result("no", is_error=True)
    said.prompt("third " + "x" * 400)
    write(said)
    ingest()
    return f"/api/conversations/{session_id(1)}"


def test_turns_are_as_their_schema_says(client, subagent):
    for identifier in (SESSION, subagent):
        data = ask(client, f"/api/conversations/{identifier}/turns")
        schemas.Turn(many=True).load(data["turns"])
        schemas.Pagination().load(data["pagination"])


def test_a_turn_goes_from_a_prompt_to_the_next(client, three):
    turns = ask(client, f"{three}/turns")["turns"]
    assert [(turn["kind"], turn["offset"], turn["message_count"]) for turn in turns] == [
        ("command", 0, 1), ("prompt", 1, 4), ("command", 5, 3), ("prompt", 8, 1),
    ]  # fmt: skip
    messages = ask(client, f"{three}/messages")["messages"]
    assert [turn["message_id"] for turn in turns] == [
        messages[turn["offset"]]["id"] for turn in turns
    ]
    assert [(turn["tool_use_count"], turn["error_count"]) for turn in turns] == [
        (0, 0), (0, 0), (1, 1), (0, 0),
    ]  # fmt: skip
    assert turns[1]["finished_at"] == messages[4]["timestamp"]
    assert len(turns[3]["text"]) == 300


def test_the_sums_of_all_turns_are_those_of_the_conversation(client, session):
    turns = ask(client, f"{PATH}/turns")["turns"]
    whole = ask(client, PATH)
    for name in ("message_count", "total_tokens", "tool_use_count", "error_count"):
        assert sum(turn[name] for turn in turns) == whole[name]
    assert sum(turn["usage"]["output_tokens"] for turn in turns) == whole["usage"]["output_tokens"]
    assert sum(turn["cost_microdollars"] for turn in turns) == whole["cost_microdollars"]


def test_turns_since_one_of_them_are_the_last_ones(client, three):
    turns = ask(client, f"{three}/turns")["turns"]
    data = ask(client, f"{three}/turns", since=turns[2]["message_id"])
    assert data["turns"] == turns[2:]
    refuse(client, f"{three}/turns?since=other", status=404)


def test_turns_are_paged(client, three):
    turns = ask(client, f"{three}/turns")["turns"]
    data = ask(client, f"{three}/turns", limit=2, offset=1)
    assert data["turns"] == turns[1:3]
    assert data["pagination"] == {
        "total": 4, "limit": 2, "offset": 1, "has_more": True, "next_cursor": None,
    }  # fmt: skip


def test_a_page_around_a_message_has_it(client, three):
    messages = ask(client, f"{three}/messages")["messages"]
    for place, message in enumerate(messages):
        data = ask(client, f"{three}/messages", around=message["id"], limit=4)
        begin = place // 4 * 4
        assert data["pagination"]["offset"] == begin
        assert data["messages"] == messages[begin : begin + 4]


def test_a_page_around_a_message_of_elsewhere_is_not_found(client, three, session):
    other = ask(client, f"{PATH}/messages")["messages"][0]["id"]
    refuse(client, f"{three}/messages?around={other}", status=404)


@pytest.mark.parametrize("also", ["offset=1", "cursor=x"])
def test_a_page_begins_at_one_place(client, session, also):
    assert list(refuse(client, f"{PATH}/messages?around=x&{also}")) == ["around"]


def test_long_texts_are_cut_on_demand(client, write, ingest):
    said = numbered(1)
    said.prompt("p" * 50)
    said.tool_use("Write", {"content": ["c" * 50], "path": "/x"})
    said.tool_result("r" * 50)
    write(said)
    ingest()
    path = f"/api/conversations/{session_id(1)}/messages"
    prompt, use, result = ask(client, path, max_characters=20)["messages"]
    assert (prompt["content"], prompt["content_length"]) == ("p" * 20, 50)
    [call] = use["tool_calls"]
    assert call["function"]["arguments"] == {"content": ["c" * 20], "path": "/x"}
    assert (call["result"], call["result_length"]) == ("r" * 20, 50)
    assert (result["content"], result["content_length"]) == ("r" * 20, 50)
    schemas.Message(many=True).load([prompt, use, result])
    whole = ask(client, path)["messages"]
    assert [(message["content"], message["content_length"]) for message in whole] == [
        ("p" * 50, 50), ("", 0), ("r" * 50, 50),
    ]  # fmt: skip


def test_a_far_page_is_found_by_the_index(client, session):
    plan = fetch_all(
        "EXPLAIN QUERY PLAN SELECT position, key FROM messages WHERE conversation_key = 1"
        " ORDER BY position, key LIMIT 1 OFFSET 9"
    )
    assert [row[-1] for row in plan] == [
        "SEARCH messages USING COVERING INDEX messages_in_order (conversation_key=?)"
    ]
