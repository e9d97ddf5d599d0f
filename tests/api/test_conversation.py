"""``/api/conversations/{id}``."""

from __future__ import annotations

import pytest

from observatory.api import schemas
from observatory.store.database import execute
from tests.api.asking import ask, check_refusal, ids, refuse
from tests.api.sessions import SESSION, numbered, session_id

PATH = f"/api/conversations/{SESSION}"
# Ids as a client may send them by mistake or on purpose; none of them is in the archive.
STRANGE_IDS = (
    "unknown",
    "0",
    "-1",
    "a" * 4000,
    "%00",
    "a%00b",
    "%ED%A0%80",
    "%FF%FE",
    "%E2%80%AE",
    "%F0%9F%98%80",
    "%25",
    "%",
    "'%20OR%201=1--",
    "%0D%0AX-Evil:%201",
    "..%5C..%5Cetc",
    "*",
    "{conversation_id}",
    "11111111-1111-4111-8111-11111111111",
    "11111111-1111-4111-8111-111111111111%20",
)
# A slash, encoded or not, makes another path, at which there is nothing.
SLASHED_IDS = ("a/b", "..%2F..%2Fetc%2Fpasswd", "%2F", "/", "a//b")


def test_a_detail_is_as_its_schema_says(client, subagent):
    for identifier in (SESSION, subagent):
        schemas.ConversationDetail().load(ask(client, f"/api/conversations/{identifier}"))


def test_a_detail_extends_the_row_of_the_list(client, session):
    detail = ask(client, PATH)
    [row] = ask(client, "/api/conversations")["conversations"]
    assert row.items() <= detail.items()


def test_usage_by_model_adds_up_to_the_usage(client, session):
    detail = ask(client, PATH)
    models = detail["usage_by_model"]
    assert [model["model"] for model in models] == detail["models"]
    assert [model["api_calls"] for model in models] == [1, 3]
    for kind, tokens in detail["usage"].items():
        assert sum(model[kind] for model in models) == tokens
    assert sum(model["cost_microdollars"] for model in models) == detail["cost_microdollars"]


def test_a_model_without_a_price_leaves_the_cost_incomplete(client, write, ingest):
    transcript = numbered(1)
    transcript.answer("priced")
    transcript.answer("not priced", model="claude-of-tomorrow")
    write(transcript)
    ingest()
    detail = ask(client, f"/api/conversations/{session_id(1)}")
    assert (detail["cost_microdollars"], detail["cost_complete"]) == (1640, False)
    assert (detail["api_call_count"], detail["unpriced_call_count"]) == (2, 1)


def test_a_parent_lists_its_subagents(client, subagent):
    [child] = ask(client, PATH)["subagents"]
    assert (child["id"], child["agent_id"], child["title"]) == (subagent, "abc123", "Explore")
    assert (child["message_count"], child["total_tokens"]) == (2, 1123)


def test_a_subagent_names_its_parent(client, subagent):
    detail = ask(client, f"/api/conversations/{subagent}")
    assert (detail["kind"], detail["parent_id"], detail["agent_id"]) == (
        "subagent",
        SESSION,
        "abc123",
    )


def test_a_slash_at_the_end_changes_nothing(client, session):
    assert ask(client, PATH + "/") == ask(client, PATH)


def test_a_conversation_that_grew_shows_it(client, write, ingest):
    transcript = numbered(1)
    transcript.prompt("one")
    path = write(transcript)
    ingest()
    transcript.prompt("two")
    path.write_bytes(transcript.bytes())
    ingest()
    detail = ask(client, f"/api/conversations/{session_id(1)}")
    assert (detail["message_count"], detail["prompt_count"]) == (2, 2)


def test_an_id_with_blanks_and_accents_is_found(client, write, ingest):
    transcript = numbered(1)
    transcript.prompt("hello")
    write(transcript, "-work/notes de thé.jsonl")
    ingest()
    assert ids(client, "/api/conversations") == ["notes de thé"]
    assert ask(client, "/api/conversations/notes%20de%20th%C3%A9")["message_count"] == 1


@pytest.mark.parametrize("below", ["", "/messages", "/tool-uses", "/turns"])
@pytest.mark.parametrize("identifier", STRANGE_IDS)
def test_there_is_nothing_at_a_strange_id(client, session, identifier, below):
    answer = client.get(f"/api/conversations/{identifier}{below}", expect_errors=True)
    error = check_refusal(answer, 404, "NOT_FOUND")
    assert error["error"].startswith("There is no conversation with the id ")
    assert "X-Evil" not in answer.headers


@pytest.mark.parametrize("identifier", SLASHED_IDS)
def test_there_is_nothing_at_an_id_with_slashes(client, session, identifier):
    refuse(client, f"/api/conversations/{identifier}/messages", status=404)


@pytest.mark.parametrize("below", ["", "/messages", "/tool-uses", "/turns"])
def test_an_unknown_parameter_is_refused_by_name(client, session, below):
    assert list(refuse(client, f"{PATH}{below}?verbose=1")) == ["verbose"]


@pytest.mark.parametrize("below", ["", "/messages", "/tool-uses", "/turns"])
def test_a_conversation_in_the_trash_is_not_there(client, session, below):
    execute("UPDATE conversations SET deleted_at = '2026-01-01T00:00:00.000Z'")
    refuse(client, PATH + below, status=404)
    assert ids(client, "/api/conversations") == []
