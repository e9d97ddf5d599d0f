"""``/api/conversations``."""

from __future__ import annotations

import base64
import json

import pytest

from observatory.api import schemas
from tests.api.asking import ask, ids, refuse, walk
from tests.api.sessions import SESSION, numbered, session_id

PATH = "/api/conversations"
SORTS = ("title", "created_at", "updated_at", "message_count", "total_tokens")


def test_an_empty_archive_has_an_empty_page(client):
    pagination = {"total": 0, "limit": 50, "offset": 0, "has_more": False, "next_cursor": None}
    assert ask(client, PATH) == {"conversations": [], "pagination": pagination}


def test_rows_are_as_their_schema_says(client, subagent):
    data = ask(client, PATH)
    schemas.Conversation(many=True).load(data["conversations"])
    schemas.Pagination().load(data["pagination"])


def test_a_row_says_what_the_transcript_said(client, session):
    [row] = ask(client, PATH)["conversations"]
    assert row["id"] == SESSION
    assert (row["title"], row["project_path"]) == ("Count the files", "/home/ada/engine")
    assert (row["kind"], row["parent_id"], row["git_branch"]) == ("session", None, "main")
    assert row["created_at"] == "2026-03-04T05:06:08.890Z"
    assert row["updated_at"] == "2026-03-04T05:06:14.890Z"
    assert row["models"] == ["claude-haiku-4-5-20251001", "claude-opus-4-5-20251101"]
    assert row["metadata"]["version"] == "2.1.120"


def test_a_row_counts_messages_uses_errors_and_tokens(client, session):
    [row] = ask(client, PATH)["conversations"]
    assert (row["message_count"], row["tool_use_count"], row["error_count"]) == (7, 2, 1)
    assert row["usage"] == {
        "input_tokens": 12,
        "output_tokens": 80,
        "cache_creation_input_tokens": 400,
        "cache_read_input_tokens": 4000,
    }
    assert row["total_tokens"] == sum(row["usage"].values())


def test_a_model_without_a_price_makes_the_cost_unknown(client, add):
    add(1, model="claude-of-tomorrow")
    [row] = ask(client, PATH)["conversations"]
    assert (row["cost_microdollars"], row["cost_complete"]) == (None, False)


def test_a_conversation_without_a_prompt_has_a_title_all_the_same(client, write, ingest):
    transcript = numbered(1)
    transcript.answer("I begin.")
    write(transcript)
    ingest()
    assert ask(client, PATH)["conversations"][0]["title"] == "(no prompt)"


def test_the_latest_comes_first(client, add):
    add(1, at="2026-01-01T00:00:00.000Z")
    add(2, at="2026-03-01T00:00:00.000Z")
    add(3, at="2026-02-01T00:00:00.000Z")
    assert ids(client, PATH) == [session_id(2), session_id(3), session_id(1)]


# Pages


def test_limit_and_offset_cut_out_a_page(client, add):
    for number in range(5):
        add(number)
    data = ask(client, PATH, limit=2, offset=1, sort_order="asc")
    assert [row["id"] for row in data["conversations"]] == [session_id(1), session_id(2)]
    cursor = data["pagination"].pop("next_cursor")
    assert data["pagination"] == {"total": 5, "limit": 2, "offset": 1, "has_more": True}
    assert ids(client, PATH, cursor=cursor, sort_order="asc") == [session_id(3), session_id(4)]


def test_a_page_beyond_the_end_is_empty(client, add):
    add(1)
    data = ask(client, PATH, offset=10)
    assert data["conversations"] == []
    assert (data["pagination"]["total"], data["pagination"]["has_more"]) == (1, False)


def test_the_last_full_page_has_no_next(client, add):
    add(1)
    add(2)
    pagination = ask(client, PATH, limit=1, offset=1)["pagination"]
    assert (pagination["has_more"], pagination["next_cursor"]) == (False, None)


@pytest.mark.parametrize("sort_order", ["asc", "desc"])
@pytest.mark.parametrize("sort_by", SORTS)
def test_cursors_lead_to_every_row_once(client, add, sort_by, sort_order):
    for number in range(7):
        add(number, f"prompt {number // 3}", at=f"2026-01-0{1 + number // 3}T00:00:00.000Z")
    found = walk(client, PATH, limit=2, sort_by=sort_by, sort_order=sort_order)
    assert sorted(found) == [session_id(number) for number in range(7)]
    assert found == ids(client, PATH, limit=100, sort_by=sort_by, sort_order=sort_order)


@pytest.mark.parametrize("sort_order", ["asc", "desc"])
@pytest.mark.parametrize("sort_by", SORTS)
def test_a_row_that_is_added_in_between_moves_no_other(client, add, sort_by, sort_order):
    order = {"sort_by": sort_by, "sort_order": sort_order, "limit": 2}
    for number in range(5):
        add(number)
    first = ask(client, PATH, **order)
    seen = [row["id"] for row in first["conversations"]]
    for number, day in ((5, "2020-01-01"), (6, "2026-12-31")):
        add(number, "aaa" if number == 5 else "zzz", at=f"{day}T00:00:00.000Z")
    cursor = first["pagination"]["next_cursor"]
    while cursor:
        page = ask(client, PATH, **order, cursor=cursor)
        seen += [row["id"] for row in page["conversations"]]
        cursor = page["pagination"]["next_cursor"]
    assert len(seen) == len(set(seen))
    assert {session_id(number) for number in range(5)} <= set(seen)


def test_cursors_keep_to_the_filters(client, add):
    for number in range(6):
        add(number, "odd" if number % 2 else "even")
    assert len(walk(client, PATH, limit=1, search="odd")) == 3


@pytest.mark.parametrize(
    ("sort_by", "expected"),
    [("title", [2, 3, 1]), ("created_at", [1, 3, 2]), ("message_count", [1, 2, 3])],
)
def test_rows_are_sorted_by(client, add, write, ingest, sort_by, expected):
    add(1, "cherry", at="2026-01-01T00:00:00.000Z")
    add(2, "apple", at="2026-03-01T00:00:00.000Z")
    longest = numbered(3)
    for word in ("banana", "more", "more"):
        longest.prompt(word, timestamp="2026-02-01T00:00:00.000Z")
    write(longest)
    ingest()
    ascending = ids(client, PATH, sort_by=sort_by, sort_order="asc")
    assert ascending == [session_id(number) for number in expected]
    assert ids(client, PATH, sort_by=sort_by) == ascending[::-1]


def test_rows_are_sorted_by_tokens(client, add):
    for number, tokens in ((1, 20), (2, 30), (3, 10)):
        add(number, usage={"input_tokens": tokens, "output_tokens": 0})
    assert ids(client, PATH, sort_by="total_tokens") == [session_id(n) for n in (2, 1, 3)]


def _cursor(*parts: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).rstrip(b"=").decode()


ORDER = "conversations:updated_at:desc"


@pytest.mark.parametrize(
    "cursor",
    [
        "x",
        "=",
        "%",
        "é",
        "a" * 2000,
        _cursor(),
        _cursor(ORDER),
        _cursor(ORDER, 1, 1),
        _cursor(ORDER, "2026", True),
        _cursor(ORDER, "2026", 2**63),
        _cursor(ORDER, "2026", 1, 1),
        _cursor(ORDER, {"a": 1}, 1),
        _cursor("messages", 1, 1),
        _cursor("conversations:title:desc", "a", 1),
        base64.urlsafe_b64encode(b"[" * 1000).decode(),
        base64.urlsafe_b64encode(b'{"a": 1}').decode(),
    ],
)
def test_what_is_no_cursor_of_this_list_is_refused(client, cursor):
    assert list(refuse(client, PATH, {"cursor": cursor})) == ["cursor"]


def test_a_cursor_of_another_order_is_refused(client, add):
    add(1)
    add(2)
    cursor = ask(client, PATH, limit=1)["pagination"]["next_cursor"]
    assert list(refuse(client, PATH, {"cursor": cursor, "sort_order": "asc"})) == ["cursor"]


def test_a_cursor_and_an_offset_contradict_each_other(client, add):
    add(1)
    add(2)
    cursor = ask(client, PATH, limit=1)["pagination"]["next_cursor"]
    assert list(refuse(client, PATH, {"cursor": cursor, "offset": 1})) == ["offset"]


# Search


def test_search_finds_words_of_the_title(client, write, ingest):
    transcript = numbered(1)
    transcript.prompt("hello")
    transcript.side("custom-title", customTitle="Analytical engine", sessionId=session_id(1))
    write(transcript)
    ingest()
    assert ids(client, PATH, search="engine") == [session_id(1)]


@pytest.mark.parametrize(
    "words",
    ["files", "FILES", "look", "ls", "exist", "count files", "cou", '"files"', "the: files"],
)
def test_search_finds_words_of_prompts_answers_and_tools(client, session, add, words):
    add(1)
    assert ids(client, PATH, search=words) == [SESSION]


@pytest.mark.parametrize("words", ["absent", "count absent", "hello files", "***", "AND", "- "])
def test_search_wants_all_words_together(client, session, add, words):
    add(1)
    assert ids(client, PATH, search=words) == []


@pytest.mark.parametrize(
    "words",
    ['"', "a-b", "c++", "foo:bar", "it's", "*", "^", "NEAR(", "content:(" * 22, "( " * 99, "日本",
     "text : hello", "{text}: x", "\x1f", "\u202e", "😀", "x" * 200, "\\", "';--", "- - -"],
)  # fmt: skip
def test_search_takes_whatever_is_typed(client, session, words):
    ask(client, PATH, search=words)


def test_search_ignores_accents_as_typed_or_not(client, add):
    add(1, "Éclair au café")
    assert ids(client, PATH, search="eclair CAFE") == ids(client, PATH, search="café")


def test_searching_for_blanks_filters_nothing(client, add):
    add(1)
    assert ids(client, PATH, search="  ") == [session_id(1)]


@pytest.mark.parametrize(
    ("words", "numbers"),
    [("项目", [1, 2]), ("结构", [1]), ("项目 conf", [2]), ("理解 结构", [1]), ("构项", [])],
)
def test_search_finds_any_part_of_a_title_in_chinese(client, db, words, numbers):
    titles = ["", "请先理解项目结构", "修改 config.yaml 项目"]
    for title in titles[1:]:
        client.post_json("/api/conversations", {"title": title}, status=201)
    found = ask(client, PATH, search=words)["conversations"]
    assert {row["title"] for row in found} == {titles[number] for number in numbers}


def test_search_takes_200_characters_and_no_more(client):
    ask(client, PATH, search="a" * 200)
    assert list(refuse(client, PATH, {"search": "a" * 201})) == ["search"]


# Filters


def test_project_path_is_exact(client, add):
    add(1, cwd="/home/ada/engine")
    add(2, cwd="/home/ada/engine/sub")
    add(3, cwd="/home/ada/naïve & co")
    assert ids(client, PATH, project_path="/home/ada/engine") == [session_id(1)]
    assert ids(client, PATH, project_path="/home/ada/naïve & co") == [session_id(3)]
    assert ids(client, PATH, project_path="/home/ada") == []


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"date_from": "2026-01-02"}, [2, 3]),
        ({"date_to": "2026-01-02"}, [1, 2]),
        ({"date_from": "2026-01-02", "date_to": "2026-01-02"}, [2]),
        ({"date_from": "2026-01-02T12:00:00Z"}, [2, 3]),
        ({"date_from": "2026-01-02T12:00:00.001Z"}, [3]),
        ({"date_to": "2026-01-02T12:00:00Z"}, [1, 2]),
        ({"date_to": "2026-01-02T11:59:59.999Z"}, [1]),
        ({"date_from": "2026-01-02T13:00:00+01:00"}, [2, 3]),
        ({"date_from": "2026-01-02T13:00:01+01:00"}, [3]),
        ({"date_from": "2026-01-02T12:00:00"}, [2, 3]),
        ({"date_from": "2026-01-03", "date_to": "2026-01-01"}, []),
        ({"date_from": "1970-01-01", "date_to": "9998-12-31"}, [1, 2, 3]),
    ],
)
def test_dates_bound_when_a_conversation_was_active(client, add, params, expected):
    for number in (1, 2, 3):
        add(number, at=f"2026-01-0{number}T12:00:00.000Z")
    found = ids(client, PATH, sort_order="asc", **params)
    assert found == [session_id(number) for number in expected]


def test_a_conversation_that_spans_a_day_was_active_on_it(client, write, ingest):
    transcript = numbered(1)
    transcript.prompt("begin", timestamp="2026-01-01T12:00:00.000Z")
    transcript.prompt("end", timestamp="2026-01-05T12:00:00.000Z")
    write(transcript)
    ingest()
    assert ids(client, PATH, date_from="2026-01-03", date_to="2026-01-03") == [session_id(1)]


def test_model_finds_conversations_that_asked_it(client, session, add):
    add(1)
    assert ids(client, PATH, model="claude-haiku-4-5-20251001") == [SESSION]
    assert ids(client, PATH, model="claude-opus-4-5-20251101") == [SESSION, session_id(1)]
    assert ids(client, PATH, model="gpt") == []


@pytest.mark.parametrize(
    ("value", "expected"), [("true", True), ("1", True), ("false", False), ("0", False)]
)
def test_has_errors(client, session, add, value, expected):
    add(1)
    assert (ids(client, PATH, has_errors=value) == [SESSION]) is expected
    assert (ids(client, PATH, has_errors=value) == [session_id(1)]) is not expected


def test_kind_tells_sessions_from_subagents(client, subagent):
    assert ids(client, PATH, kind="session") == [SESSION]
    assert ids(client, PATH, kind="subagent") == [subagent]


def test_parent_id_finds_the_subagents(client, subagent, add):
    add(1)
    assert ids(client, PATH, parent_id=SESSION) == [subagent]
    assert ids(client, PATH, parent_id="unknown") == []


def test_filters_are_combined(client, session, add):
    add(1, "files")
    add(2, "files", model="claude-haiku-4-5-20251001", cwd="/elsewhere")
    question = {"search": "files", "model": "claude-haiku-4-5-20251001"}
    assert sorted(ids(client, PATH, **question)) == [session_id(2), SESSION]
    assert ids(client, PATH, **question, project_path="/elsewhere") == [session_id(2)]
    assert ids(client, PATH, **question, has_errors="true", kind="session") == [SESSION]
    everything = {
        "project_path": "/home/ada/engine",
        "date_from": "2026-03-04",
        "date_to": "2026-03-04",
        "has_errors": "true",
        "kind": "session",
        "sort_by": "title",
        "sort_order": "asc",
        "limit": 1,
    }
    assert ids(client, PATH, **question, **everything) == [SESSION]


# What is refused


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=-1", "limit"),
        ("limit=1.0", "limit"),
        ("limit=1e1", "limit"),
        ("limit=0x5", "limit"),
        ("limit=1_0", "limit"),
        ("limit=%D9%A1", "limit"),
        ("limit=99999999999999999999999", "limit"),
        ("limit=", "limit"),
        ("limit", "limit"),
        ("limit=5&limit=6", "limit"),
        ("limit=5&limit=5", "limit"),
        ("offset=-1", "offset"),
        ("offset=10000001", "offset"),
        ("offset=x", "offset"),
        ("cursor=", "cursor"),
        ("cursor=" + "a" * 2001, "cursor"),
        ("cursor=a&cursor=b", "cursor"),
        ("search=", "search"),
        ("search=a%00b", "search"),
        ("search=a&search=b", "search"),
        ("project_path=", "project_path"),
        ("project_path=%00", "project_path"),
        ("project_path=a&project_path=b", "project_path"),
        ("date_from=", "date_from"),
        ("date_from=yesterday", "date_from"),
        ("date_from=2026-02-30", "date_from"),
        ("date_from=2026-1-1", "date_from"),
        ("date_from=20260101", "date_from"),
        ("date_from=2026-W01-1", "date_from"),
        ("date_from=2026-01-01T25:00:00Z", "date_from"),
        ("date_from=2026-01-01T12:00:00%2B99:00", "date_from"),
        ("date_from=1969-12-31", "date_from"),
        ("date_from=0001-01-01T00:00:00%2B14:00", "date_from"),
        ("date_from=2026-01-01&date_from=2026-01-01", "date_from"),
        ("date_to=9999-12-31T23:59:59-14:00", "date_to"),
        ("date_to=9999-12-31", "date_to"),
        ("date_to=1767225600", "date_to"),
        ("model=", "model"),
        ("model=" + "m" * 201, "model"),
        ("has_errors=", "has_errors"),
        ("has_errors=maybe", "has_errors"),
        ("has_errors=True", "has_errors"),
        ("has_errors=true&has_errors=true", "has_errors"),
        ("kind=", "kind"),
        ("kind=robot", "kind"),
        ("kind=session&kind=subagent", "kind"),
        ("parent_id=", "parent_id"),
        ("parent_id=" + "p" * 501, "parent_id"),
        ("parent_id=%00", "parent_id"),
        ("sort_by=id", "sort_by"),
        ("sort_by=updated_at;", "sort_by"),
        ("sort_by=", "sort_by"),
        ("sort_order=DESC", "sort_order"),
        ("sort_order=up", "sort_order"),
        ("page=2", "page"),
        ("Limit=2", "Limit"),
        ("limit[]=2", "limit[]"),
        ("=1", ""),
        ("x" * 4097, "query"),
    ],
)
def test_a_wrong_parameter_is_refused_by_name(client, query, field):
    assert list(refuse(client, f"{PATH}?{query}")) == [field]


def test_all_wrong_parameters_are_named_at_once(client):
    wrong = {"limit": "x", "offset": "-1", "date_to": "never", "page": "2"}
    assert set(refuse(client, PATH, wrong)) == set(wrong)


def test_a_refusal_says_what_is_taken(client):
    fields = refuse(client, PATH, {"sort_order": "up", "date_from": "x"})
    assert fields["sort_order"] == ["Must be one of: asc, desc."]
    assert "2026-01-31" in fields["date_from"][0]
