"""``fields=`` chooses what an answer holds."""

from __future__ import annotations

import pytest

from observatory.api import schemas
from observatory.api.columns import FieldNames, choose
from observatory.api.reconcile import CountedCall
from observatory.api.search_schemas import Hit
from tests.api.asking import ask, refuse
from tests.api.sessions import SESSION

MESSAGE = "aaaaaaaa-0000-4000-8000-000000000003"
LISTS = {
    "/api/conversations": schemas.Conversation,
    f"/api/conversations/{SESSION}/messages": schemas.Message,
    f"/api/conversations/{SESSION}/tool-uses": schemas.ToolUse,
    f"/api/conversations/{SESSION}/turns": schemas.Turn,
    "/api/projects": schemas.Project,
    "/api/files": schemas.File,
    "/api/search?q=look": Hit,
    f"/api/analytics/reconcile?conversation={SESSION}": CountedCall,
}
ITEMS = {
    f"/api/conversations/{SESSION}": schemas.ConversationDetail,
    f"/api/messages/{MESSAGE}": schemas.Message,
    "/api/projects/1": schemas.ProjectDetail,
    "/api/files/1": schemas.FileDetail,
}


def pick(value, name):
    """Return what an answer holds under a dotted name."""
    first, _, rest = name.partition(".")
    if isinstance(value, list):
        return [pick(item, name) for item in value]
    if value is None:
        return None
    return pick(value[first], rest) if rest else value[first]


def rows_of(data):
    data.pop("pagination")
    for beside in (
        "titles", "conversation_id", "matches_conversation", "totals", "conversation",
        "not_counted",
    ):  # fmt: skip
        data.pop(beside, None)
    [rows] = data.values()
    return rows


@pytest.mark.parametrize("path", [*LISTS, *ITEMS])
def test_each_field_can_be_chosen_alone(client, session, path):
    schema = {**LISTS, **ITEMS}[path]
    full = ask(client, path)
    whole = rows_of(full) if path in LISTS else full
    for name in FieldNames(schema).names:
        chosen = ask(client, path, fields=name)
        if path in LISTS:
            assert "pagination" in chosen
            chosen = rows_of(chosen)
            assert all(list(row) == [name.partition(".")[0]] for row in chosen)
        assert pick(chosen, name) == pick(whole, name)


@pytest.mark.parametrize("path", [*LISTS, *ITEMS])
def test_all_fields_chosen_are_all_there_are(client, session, path):
    schema = {**LISTS, **ITEMS}[path]
    full = ask(client, path)
    assert ask(client, path, fields=",".join(schema().fields)) == full


def test_several_names_keep_their_order_and_are_merged(client, session):
    [row] = ask(client, "/api/conversations", fields="usage.output_tokens,id,usage.input_tokens")[
        "conversations"
    ]
    assert list(row) == ["usage", "id"]
    assert list(row["usage"]) == ["output_tokens", "input_tokens"]


@pytest.mark.parametrize("names", ["usage,usage.input_tokens", "usage.input_tokens,usage", "usage"])
def test_the_whole_includes_its_parts(client, session, names):
    [row] = ask(client, "/api/conversations", fields=names)["conversations"]
    assert len(row["usage"]) == 4


def test_fields_of_items_in_lists(client, session):
    rows = ask(client, f"/api/conversations/{SESSION}/messages", fields="tool_calls.function.name")
    names = [call for row in rows["messages"] for call in row["tool_calls"]]
    assert names == [
        {"function": {"name": "Bash"}},
        {"function": {"name": "mcp__github__get_issue"}},
    ]


@pytest.mark.parametrize("path", [*LISTS, *ITEMS])
@pytest.mark.parametrize(
    "given",
    ["", ",", "id,", ",id", "nope", "id,nope", "id.x", "usage.", ".id", "ID", " id", "*", "id;path",
     "__class__", "é", "usage..input_tokens", "id\0", "a" * 4000, "id," * 200 + "id"],
)  # fmt: skip
def test_an_unknown_name_is_refused_with_what_there_is(client, session, path, given):
    schema = {**LISTS, **ITEMS}[path]
    fields = refuse(client, path, {"fields": given})
    assert list(fields) == ["fields"]
    [message] = fields["fields"]
    assert message.startswith("Takes at most") or all(name in message for name in schema().fields)


def test_given_twice_is_refused(client, session):
    assert list(refuse(client, "/api/conversations?fields=id&fields=title")) == ["fields"]


def test_other_parameters_go_on_to_work(client, add):
    for number in range(3):
        add(number)
    data = ask(client, "/api/conversations", fields="title", limit=2, sort_by="title")
    assert data["pagination"]["next_cursor"] is not None
    assert data["conversations"] == [{"title": "hello"}] * 2
    refuse(client, "/api/conversations", {"fields": "id", "limit": 0})


def test_what_is_not_there_is_left_out():
    assert choose({"a": 1}, {"a": None, "b": None}) == {"a": 1}
    assert choose(None, {"a": None}) is None
