"""``/api/messages/{id}``."""

from __future__ import annotations

import pytest

from observatory.api import schemas
from tests.api.asking import ask, check_refusal, refuse
from tests.api.sessions import SESSION, numbered, session_id
from tests.api.test_conversation import SLASHED_IDS, STRANGE_IDS


def messages_of(client, identifier: str) -> list[dict]:
    return ask(client, f"/api/conversations/{identifier}/messages", limit=500)["messages"]


def test_every_message_of_a_list_is_there_and_as_its_schema_says(client, session):
    for row in messages_of(client, SESSION):
        message = ask(client, f"/api/messages/{row['id']}")
        schemas.Message().load(message)
        assert {**message, "blocks": row["blocks"]} == row


def test_blocks_tell_the_whole_of_a_message(client, session):
    found = [ask(client, f"/api/messages/{row['id']}") for row in messages_of(client, SESSION)]
    assert [message["blocks"] for message in found[:4]] == [
        [{"type": "text", "text": "Count the files"}],
        [{"type": "text", "text": "I will look."}],
        [{"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {"command": "ls"}}],
        [
            {
                "type": "tool_result",
                "tool_use_id": "toolu_1",
                "content": "a\nb",
                "is_error": False,
            }
        ],
    ]


@pytest.mark.parametrize(
    "block",
    [
        {"type": "thinking", "thinking": "Hm.", "signature": "abc"},
        {"type": "text", "text": "Said."},
        {"type": "invented_later", "payload": {"deep": [1, None]}},
    ],
)
def test_blocks_of_any_type_come_back(client, write, ingest, block):
    transcript = numbered(1)
    transcript.answer(blocks=[block])
    write(transcript)
    ingest()
    [row] = messages_of(client, session_id(1))
    [shown] = ask(client, f"/api/messages/{row['id']}")["blocks"]
    assert shown["type"] == block["type"]


def test_hard_text_comes_back_as_it_was(client, write, ingest):
    text = 'Zeile\r\n\ttab \u2028 \U0001f600 </script> "quoted" \\ é'
    transcript = numbered(1)
    transcript.prompt(text)
    write(transcript)
    ingest()
    [row] = messages_of(client, session_id(1))
    assert ask(client, f"/api/messages/{row['id']}")["content"] == text


@pytest.mark.parametrize("identifier", STRANGE_IDS)
def test_there_is_nothing_at_a_strange_id(client, session, identifier):
    answer = client.get(f"/api/messages/{identifier}", expect_errors=True)
    error = check_refusal(answer, 404, "NOT_FOUND")
    assert error["error"].startswith("There is no message with the id ")


@pytest.mark.parametrize("identifier", [*SLASHED_IDS, ""])
def test_there_is_nothing_at_an_id_with_slashes(client, session, identifier):
    refuse(client, f"/api/messages/{identifier}", status=404)


def test_an_unknown_parameter_is_refused_by_name(client, session):
    [first, *_] = messages_of(client, SESSION)
    assert list(refuse(client, f"/api/messages/{first['id']}?raw=1")) == ["raw"]
