"""``/api/search`` and ``/api/conversations/search``."""

from __future__ import annotations

import re
import threading
from unicodedata import normalize

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from observatory.store import search_matches, search_parts, searching
from observatory.store.conversation_removal import delete_conversation
from observatory.store.database import close, connect
from observatory.store.pages import encode_cursor
from observatory.store.scopes import WHOLE
from tests.transcripts_for_tests import Transcript

SESSION = "11111111-1111-4111-8111-111111111111"
OTHER = "22222222-2222-4222-8222-222222222222"
ANYTHING = settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(autouse=True, params=[search_parts.PART_KEYS, 3], ids=["one part", "parts of 3"])
def part_keys(request, monkeypatch):
    """Have the index in one part, and in many."""
    monkeypatch.setattr(search_parts, "PART_KEYS", request.param)


@pytest.fixture
def archive(write, ingest):
    """Return nothing; two conversations in two projects are there to be found."""
    first = Transcript(SESSION)
    first.prompt("Mend the flux capacitor in foo_bar")
    first.answer(blocks=[{"type": "thinking", "thinking": "hmm, gigawatts", "signature": "x"}])
    first.tool_use("Bash", {"command": "grep -rn fooBar src/engine.py\nimport os"})
    first.tool_result("src/engine.py:7: fooBar = <b>1.21</b>", is_error=True)
    first.answer("The flux capacitor works; flux!", model="claude-haiku-4-5")
    write(first)
    second = Transcript(OTHER, cwd="/home/bob/boat", prefix="b")
    second.prompt("请先理解项目结构 然后修改 config.yaml 文件")
    second.answer("flux again", timestamp="2026-05-06T00:00:00.000Z")
    second.prompt("请调用getZedUser函数。看看 src/zed.py里的")
    second.tool_use(
        "Write", {"zed_key": "第一行\nnewline在这", "n": ["\n第text"]}, tool_use_id="toolu_2"
    )
    second.side("custom-title", customTitle="Regatta planning")
    write(second)
    ingest()


def search(client, q: str | None = None, status: int = 200, **parameters):
    if q is not None:
        parameters["q"] = q
    return client.get("/api/search", parameters, status=status).json


def found(client, q: str | None = None, **parameters) -> list[str]:
    return [hit["message_id"][-2:] for hit in search(client, q, **parameters)["data"]["hits"]]


@pytest.mark.parametrize(
    ("q", "numbers"),
    [
        ("capacitor", {"01", "05"}),
        ("CAPACITOR mend", {"01"}),
        ('"flux capacitor"', {"01", "05"}),
        ('"capacitor flux"', set()),
        ("capac*", {"01", "05"}),
        ("capac", set()),
        ("capacitor -works", {"01"}),
        ("gigawatts OR mend", {"01", "02"}),
        ("capacitor works OR mend", {"01", "05"}),
        ("gigawatts OR mend OR 1.21", {"01", "02", "04"}),
        ("gigawatts AND hmm", {"02"}),
        ("gigawatts or mend", set()),
        ('"OR"', set()),
        ('gigawatts OR "OR"', {"02"}),
        ("gigawatts OR or", {"02"}),
        ("1.21 -OR", {"04"}),
        ("gigawatts", {"02"}),
        ("foo_bar", {"01"}),
        ("fooBar", {"03", "04"}),
        ("src/engine.py", {"03", "04"}),
        ("import", {"03"}),
        ("1.21", {"04"}),
        ("项目", {"01"}),
        ("项目结构", {"01"}),
        ("构项", set()),
        ("理解 config.yaml", {"01"}),
        ("文件 config", {"01"}),
        ("文件config", set()),
        ("getZedUser", {"03"}),
        ("getzeduser", {"03"}),
        ("getZed*", {"03"}),
        ("getZed", set()),
        ("用getZedUser", {"03"}),
        ("请调用getZedUser函数", {"03"}),
        ("用getZed*", {"03"}),
        ("用getZed", set()),
        ("用User", set()),
        ("函数 getZedUser", {"03"}),
        ('"src/zed.py里的"', {"03"}),
        ("src/zed.py", {"03"}),
        ('"看看 src/zed.py里的"', {"03"}),
        ("请 -getZedUser", {"01"}),
        ("ntext", set()),
        ("newline", {"04"}),
        ("zed_key", set()),
    ],
)
def test_the_query_language(q, numbers, client, archive):
    assert set(found(client, q)) == numbers


@pytest.mark.parametrize(
    ("q", "parameters", "numbers"),
    [
        ("flux project:engine", {}, ["01", "05"]),
        ("flux", {"project": "/home/bob/boat"}, ["02"]),
        ("flux role:user", {}, ["01"]),
        ("flux", {"role": "assistant", "project": "engine"}, ["05"]),
        ("fooBar tool:bash", {}, ["03", "04"]),
        ("flux model:haiku", {}, ["05"]),
        ("fooBar is:error", {}, ["03", "04"]),
        ("flux before:2026-04-01", {}, ["01", "05"]),
        ("flux after:2026-04-01", {}, ["02"]),
        ("flux", {"after": "2026-04-01", "before": "2026-06-01"}, ["02"]),
        (f"flux in:{OTHER}", {}, ["02"]),
        ("flux in:nowhere", {}, []),
        ("flux kind:prompt", {}, ["01"]),
        ("is:error", {}, ["03", "04"]),
        (None, {"tool": "Bash"}, ["03", "04"]),
        ("fooBar", {"is_error": "false"}, []),
    ],
)
def test_filters(q, parameters, numbers, client, archive):
    assert sorted(found(client, q, **parameters)) == numbers


def test_a_hit_tells_where_it_is(client, archive):
    [hit] = search(client, "1.21")["data"]["hits"]
    assert hit["conversation_id"] == SESSION
    assert hit["conversation_title"] == "Mend the flux capacitor in foo_bar"
    assert hit["project_path"] == "/home/ada/engine"
    assert (hit["role"], hit["kind"]) == ("user", "tool_result")
    assert hit["snippet"] == ("src/engine.py:7: fooBar = &lt;b&gt;<mark>1.21</mark>&lt;/b&gt;")


def test_snippets_put_chinese_together_again(client, archive):
    [hit] = search(client, "项目结构")["data"]["hits"]
    assert "<mark>项目结构</mark>" in hit["snippet"]


@pytest.mark.parametrize(
    ("q", "snippet"),
    [
        ("用getZedUser", "请调<mark>用getZedUser</mark>函数。看看 src/zed.py里的"),
        ("getZedUser", "请调用<mark>getZedUser</mark>函数。看看 src/zed.py里的"),
        ("在这", "第一行 newline<mark>在这</mark> 第text"),
    ],
)
def test_snippets_put_words_beside_chinese_together_again(q, snippet, client, archive):
    [hit] = search(client, q)["data"]["hits"]
    assert hit["snippet"] == snippet


def test_titles_are_found_too(client, archive):
    data = search(client, "regatta")["data"]
    assert data["hits"] == []
    assert data["titles"][0]["conversation_id"] == OTHER
    assert data["titles"][0]["title"] == "<mark>Regatta</mark> planning"


@pytest.mark.parametrize(
    ("q", "numbers"),
    [
        ("项目", "12"),
        ("结构", "1"),
        ("构项", ""),
        ("理解 项目", "1"),
        ("项目 config", "2"),
        ("项目 conf*", "2"),
        ("项目 conf", ""),
        ("项目 -config", "1"),
        ("项目 -结构", "2"),
        ("结构 OR regatta", "13"),
        ("用getzeduser", "3"),
        ("getZedUser", "3"),
        ("getZed", ""),
        ('"修改 config.yaml"', "2"),
        ("项目?", "12"),
        ("_项目%", "12"),
        ("项目 project:boat", "2"),
        ("项目 role:user", ""),
    ],
)
def test_titles_are_found_by_any_part_in_chinese(q, numbers, client, add):
    add(1, "请先理解项目结构")
    add(2, "修改 config.yaml 项目", cwd="/home/bob/boat")
    add(3, "Regatta 用getZedUser函数")
    titles = search(client, q)["data"]["titles"]
    assert {title["conversation_id"][7] for title in titles} == set(numbers)
    assert all("<mark>" in title["title"] for title in titles)


def test_titles_in_chinese_mark_what_matched(client, add):
    add(1, "<b> Config 和config.yaml的项目config项目")
    [title] = search(client, "项目 config OR conf*")["data"]["titles"]
    expected = (
        "&lt;b&gt; <mark>Config</mark> 和<mark>config</mark>.yaml的"
        "<mark>项目</mark><mark>config</mark><mark>项目</mark>"
    )
    assert title["title"] == expected


@pytest.mark.parametrize(
    ("q", "parameters", "numbers"),
    [
        ("needle", {}, "012"),
        ("needle project:boat", {}, "2"),
        ("needle", {"project": "/home/ada/engine"}, "01"),
        ("needle model:haiku", {}, "1"),
        ("needle model:none", {}, ""),
        ("needle after:2026-06-01", {}, "2"),
        ("needle before:2026-06-01", {}, "01"),
        ("needle", {"after": "2026-03-01", "before": "2026-05-01"}, "0"),
        ("needle in:ID1", {}, "1"),
        ("needle role:user", {}, ""),
        ("needle kind:prompt", {}, ""),
        ("needle tool:Bash", {}, ""),
        ("needle", {"is_error": "false"}, ""),
        ("project:boat", {}, ""),
    ],
)
def test_titles_pass_the_filters_that_speak_of_conversations(q, parameters, numbers, client, add):
    ids = [
        add(0, "needle 0", at="2026-04-01T00:00:00.000Z"),
        add(1, "needle 1", at="2026-05-06T00:00:00.000Z", model="claude-haiku-4-5"),
        add(2, "needle 2", at="2026-07-01T00:00:00.000Z", cwd="/home/bob/boat"),
    ]
    q = q.replace("ID1", ids[1])
    titles = search(client, q, **parameters)["data"]["titles"]
    assert sorted(title["conversation_id"] for title in titles) == [ids[int(n)] for n in numbers]
    body = {"q": q, **parameters}
    if "is_error" in body:
        body["is_error"] = False
    assert client.post_json("/api/conversations/search", body).json["data"]["titles"] == titles


def test_best_first_or_latest_first(client, archive):
    assert found(client, "flux")[0] == "05"
    times = [hit["timestamp"] for hit in search(client, "flux", sort="time")["data"]["hits"]]
    assert times == sorted(times, reverse=True)


def test_facets_count_what_matches(client, archive):
    facets = search(client, "flux", facets="true")["data"]["facets"]
    assert facets["role"] == [{"value": "assistant", "count": 2}, {"value": "user", "count": 1}]
    assert {f["value"]: f["count"] for f in facets["project"]} == {
        "/home/ada/engine": 2,
        "/home/bob/boat": 1,
    }
    assert {f["value"] for f in facets["month"]} == {"2026-03", "2026-05"}
    assert search(client, "fooBar", facets="1")["data"]["facets"]["tool"] == [
        {"value": "Bash", "count": 2}
    ]


def test_the_facet_of_tools_counts_messages(client):
    made = client.post_json("/api/conversations", {"title": "mine"}).json["data"]["id"]
    calls = [{"function": {"name": name}, "result": "x"} for name in ("Bash", "Read", "Bash")]
    for content in ("needle one", "needle two"):
        body = {"role": "assistant", "content": content, "tool_calls": calls}
        client.post_json(f"/api/conversations/{made}/messages", body, status=201)
        calls.pop(1)
    facets = search(client, "needle", facets="true")["data"]["facets"]
    assert facets["tool"] == [{"value": "Bash", "count": 2}, {"value": "Read", "count": 1}]


def walk(client, q: str, between=lambda: None, **parameters) -> list[str]:
    """Return the ids on all pages, something being done between each two."""
    ids, cursor = [], {}
    while True:
        data = search(client, q, limit=2, **parameters, **cursor)["data"]
        ids += [hit["message_id"] for hit in data["hits"]]
        if not data["pagination"]["has_more"]:
            return ids
        cursor = {"cursor": data["pagination"]["next_cursor"]}
        between()


@pytest.mark.parametrize("sort", ["relevance", "time"])
def test_a_walk_by_cursor_has_everything_once(sort, client, write, ingest):
    transcript = Transcript()
    for number in range(7):
        transcript.prompt(f"needle {number}")
    write(transcript)
    ingest()
    ids = walk(client, "needle", sort=sort)
    assert len(ids) == len(set(ids)) == 7


def test_a_walk_by_time_misses_nothing_while_more_comes_and_some_goes(client, write, ingest):
    """Some of what was shown, and some of what was not, goes to the trash after each page."""
    sessions = [Transcript(f"{number}" * 8, prefix="abcd"[number]) for number in range(4)]
    for number in range(6):
        for transcript in sessions:
            transcript.prompt(f"needle {number}")
    for transcript in sessions:
        write(transcript)
    ingest()
    kept, trashed = sessions[0], [transcript.session_id for transcript in sessions[1:]]

    def change() -> None:
        if trashed:
            client.delete(f"/api/conversations/{trashed.pop()}")
        kept.prompt("needle more", timestamp="2026-03-04T05:06:09.000Z")
        write(kept)
        ingest()

    ids = walk(client, "needle", change, sort="time")
    assert len(ids) == len(set(ids))
    assert [id_ for id_ in ids if id_[0] == "a"] == [kept.uuid(n) for n in range(6, 0, -1)]


def test_titles_stand_on_the_first_page_alone(client, add):
    for number in (1, 2, 3):
        add(number, "needle")
    page = search(client, "needle", sort="time", limit=2)["data"]
    assert len(page["titles"]) == 3
    for hit in page["hits"]:
        client.delete(f"/api/conversations/{hit['conversation_id']}")
    cursor = page["pagination"]["next_cursor"]
    last = search(client, "needle", sort="time", limit=2, cursor=cursor)["data"]
    assert (len(last["hits"]), last["titles"], last["pagination"]["offset"]) == (1, [], 0)


def test_the_total_is_a_least_number_beyond_the_bound(client, archive, monkeypatch):
    exact = search(client, "flux")["data"]["pagination"]
    assert (exact["total"], exact["total_relation"]) == (3, "exact")
    monkeypatch.setattr(search_matches, "CANDIDATES", 2)
    bounded = search(client, "flux")["data"]["pagination"]
    assert (bounded["total"], bounded["total_relation"]) == (2, "at_least")


COPIES = ("22222222-2222-4222-8222-222222222222", "33333333-3333-4333-8333-333333333333")


@pytest.fixture
def copied(write, ingest):
    """A conversation, and two in other projects that begin with its messages."""
    original = Transcript(SESSION)
    original.prompt("Mend the flux capacitor")
    original.tool_use("Bash", {"command": "gigawatts"})
    original.tool_result("gigawatts: not found", is_error=True)
    write(original)
    ingest()
    for number, session in enumerate(COPIES):
        copy = Transcript(session, cwd=f"/home/bob/{number}", prefix="bc"[number])
        copy.records = [{**record, **copy.common} for record in original.records]
        copy.number = original.number
        copy.prompt(f"flux in copy {number}")
        write(copy)
        ingest()


def places(client, q: str | None = None, **parameters) -> set[tuple[str, str]]:
    """Return the first letter of each conversation that has a hit, with the id of the hit."""
    hits = search(client, q, **parameters)["data"]["hits"]
    found = [(hit["conversation_id"][0], hit["message_id"][-2:]) for hit in hits]
    assert len(found) == len(set(found))
    for hit in hits:
        message = client.get(f"/api/messages/{hit['message_id']}").json["data"]
        assert message["conversation_id"] == hit["conversation_id"]
    return set(found)


@pytest.mark.parametrize("sort", ["relevance", "time"])
@pytest.mark.parametrize(
    ("q", "trashed", "expected"),
    [
        ("capacitor", (), {("1", "01")}),
        (f"capacitor in:{COPIES[0]}", (), {("2", "01")}),
        (f"capacitor in:{SESSION}", (), {("1", "01")}),
        (f"flux in:{COPIES[0]}", (), {("2", "01"), ("2", "04")}),
        (f"in:{COPIES[0]}", (), {("2", "01"), ("2", "02"), ("2", "03"), ("2", "04")}),
        (f"in:{COPIES[0]} tool:bash", (), {("2", "02"), ("2", "03")}),
        (f"gigawatts in:{COPIES[1]} is:error", (), {("3", "02"), ("3", "03")}),
        (f"capacitor in:{COPIES[1]} project:engine", (), set()),
        ("capacitor", (SESSION,), {("2", "01")}),
        ("flux", (SESSION,), {("2", "01"), ("2", "04"), ("3", "04")}),
        ("capacitor", (SESSION, COPIES[0]), {("3", "01")}),
        ("capacitor", (SESSION, *COPIES), set()),
        ("capacitor", (COPIES[0],), {("1", "01")}),
        ("gigawatts tool:Bash is:error", (SESSION,), {("2", "02"), ("2", "03")}),
        ("project:/home/bob/0", (SESSION,), {("2", n) for n in ("01", "02", "03", "04")}),
        ("capacitor project:/home/bob/0", (SESSION,), {("2", "01")}),
        ("capacitor project:engine", (SESSION,), set()),
        (f"capacitor in:{SESSION}", (SESSION,), set()),
        (f"capacitor in:{COPIES[1]}", (SESSION,), {("3", "01")}),
        (f"in:{COPIES[1]} kind:tool_result", (SESSION,), {("3", "03")}),
    ],
)
def test_what_was_copied_is_found_once_where_it_can_be_read(
    q, trashed, expected, sort, client, copied
):
    for conversation in trashed:
        client.delete(f"/api/conversations/{conversation}")
    assert places(client, q, sort=sort) == expected


def test_a_copy_shows_the_text_that_it_copied(client, copied):
    [hit] = search(client, f"capacitor in:{COPIES[0]}")["data"]["hits"]
    assert hit["snippet"] == "Mend the flux <mark>capacitor</mark>"
    assert hit["project_path"] == "/home/bob/0"
    snippets = {hit["snippet"] for hit in search(client, f"in:{COPIES[0]}")["data"]["hits"]}
    assert {"Mend the flux capacitor", "gigawatts: not found", "flux in copy 0"} <= snippets


def test_facets_and_conversations_count_copies_where_they_are_found(client, copied):
    client.delete(f"/api/conversations/{SESSION}")
    facets = search(client, "gigawatts", facets="true")["data"]["facets"]
    assert facets["project"] == [{"value": "/home/bob/0", "count": 2}]
    assert facets["tool"] == [{"value": "Bash", "count": 2}]
    for body, expected in (
        ({"q": "flux"}, {COPIES[0]: 2, COPIES[1]: 1}),
        ({"q": "flux", "conversation_id": COPIES[1]}, {COPIES[1]: 2}),
    ):
        data = client.post_json("/api/conversations/search", body).json["data"]
        items = {item["conversation"]["id"]: item for item in data["conversations"]}
        assert {key: item["matches"] for key, item in items.items()} == expected
        for key, item in items.items():
            assert {hit["conversation_id"] for hit in item["messages"]} == {key}
            assert len(item["messages"]) == item["matches"]


def test_what_is_newer_in_the_trash_hides_nothing(client, add, monkeypatch):
    monkeypatch.setattr(search_matches, "CANDIDATES", 2)
    ids = [add(number, "needle") for number in range(5)]
    for conversation in ids[1:]:
        client.delete(f"/api/conversations/{conversation}")
    data = search(client, "needle")["data"]
    assert [hit["conversation_id"] for hit in data["hits"]] == ids[:1]
    assert data["pagination"]["total_relation"] == "exact"


@pytest.mark.parametrize(
    ("q", "parameters", "field"),
    [
        (None, {}, "q"),
        ("", {}, "q"),
        ("***", {}, "q"),
        ('""', {}, "q"),
        ("-only", {}, "q"),
        ("x " * 33, {}, "q"),
        ("x" * 1001, {}, "q"),
        ("role:robot", {}, "q"),
        ("is:odd", {}, "q"),
        ("before:tomorrow", {}, "q"),
        ("project:", {}, "q"),
        ("a role:user", {"role": "assistant"}, "q"),
        ("a", {"role": "robot"}, "role"),
        ("a", {"sort": "price"}, "sort"),
        ("a", {"cursor": "nonsense"}, "cursor"),
        ("a", {"limit": "101"}, "limit"),
    ],
)
def test_what_can_not_be_searched_for_is_told(q, parameters, field, client, db):
    answer = search(client, q, status=400, **parameters)
    assert list(answer["details"]["fields"]) == [field]


@pytest.mark.parametrize(
    "q",
    [
        "foo OR -bar",
        "-foo OR bar",
        "foo OR project:x",
        "project:x OR foo",
        'foo OR project:"x y"',
        "OR foo",
        "foo OR",
        "OR",
        "foo OR OR bar",
        "foo OR AND bar",
        "foo AND OR bar",
        "foo OR --- bar",
        "foo --- OR bar",
        "foo OR is:error bar",
    ],
)
def test_or_beside_what_it_can_not_join_is_told(q, client, archive):
    answer = search(client, q, status=400)
    assert answer["code"] == "VALIDATION_ERROR"
    [message] = answer["details"]["fields"]["q"]
    assert message.startswith("OR joins two words or phrases")


@ANYTHING
@given(
    q=st.text(max_size=80)
    | st.text('"*-:() ORANDNOT^{}+項', max_size=60)
    | st.lists(
        st.sampled_from(("OR", "AND", "a", "-a", "項b", '"b 項"', "項*", "is:error", "in:x", "-"))
    ).map(" ".join)
)
@example(q='"')
@example(q="a-b c++ foo:bar it's")
@example(q="NEAR(a b)")
@example(q="a OR 项b")
@example(q="OR")
@example(q="项 OR")
@example(q="content:(" * 100)
@example(q="^a {b} + c")
@example(q="a\0b")
@example(q="-- DROP TABLE messages")
def test_anything_that_can_be_typed(q, client):
    response = client.get("/api/search", {"q": q}, expect_errors=True)
    assert response.status_int in (200, 400)
    body = {"q": q} if q else {"q": "x"}
    response = client.post_json("/api/conversations/search", body, expect_errors=True)
    assert response.status_int in (200, 400)


CURSORS = st.text(max_size=40) | st.builds(
    encode_cursor,
    st.sampled_from(
        [f"search{kind}:{by}" for kind in ("", "_conversations") for by in ("best", "newest")]
    ),
    st.lists(st.integers(-(2**63), 2**64 - 1) | st.text(max_size=5) | st.none(), max_size=4).map(
        tuple
    ),
)


@ANYTHING
@given(
    q=st.sampled_from(("needle", "項", "in:x", "role:user", "項 OR needle")),
    cursor=CURSORS,
    sort=st.sampled_from(("time", "relevance")),
    fields=st.sampled_from(("matches", "messages.role", "rank", "")) | st.text(max_size=9),
)
@example(q="needle", cursor=encode_cursor("search:newest", (9, "", 0)), sort="time", fields="rank")
def test_any_place_to_go_on_from(q, cursor, sort, fields, client):
    for place in ({"cursor": cursor}, {"cursor": cursor, "fields": fields}):
        body = {"q": q, "sort": sort, "facets": True, **place}
        answer = client.post_json("/api/conversations/search", body, expect_errors=True)
        assert answer.status_int in (200, 400)
        answer = client.get("/api/search", {**body, "facets": "true"}, expect_errors=True)
        assert answer.status_int in (200, 400)


def test_conversations_with_their_matching_messages(client, archive):
    data = client.post_json("/api/conversations/search", {"q": "flux"}).json["data"]
    by_id = {item["conversation"]["id"]: item for item in data["conversations"]}
    assert {key: item["matches"] for key, item in by_id.items()} == {SESSION: 2, OTHER: 1}
    assert by_id[SESSION]["conversation"]["message_count"] == 5
    assert all("<mark>" in m["snippet"] for m in by_id[SESSION]["messages"])


def search_all(client, **body):
    return client.post_json("/api/conversations/search", body).json["data"]


def test_facets_of_conversations_are_those_of_their_messages(client, archive):
    facets = search_all(client, q="flux", facets=True, limit=1)["facets"]
    assert facets == search(client, "flux", facets="true")["data"]["facets"]
    for without in (False, None):
        assert "facets" not in search_all(client, q="flux", facets=without)


@pytest.mark.parametrize("sort", ["relevance", "time"])
def test_conversations_are_walked_by_cursor(sort, client, add):
    expected = {add(number, "needle") for number in range(5)}
    found: list[str] = []
    cursor = None
    while True:
        data = search_all(client, q="needle", sort=sort, limit=2, cursor=cursor)
        assert bool(data["titles"]) == (cursor is None)
        assert data["pagination"]["offset"] == len(found)
        found += [row["conversation"]["id"] for row in data["conversations"]]
        cursor = data["pagination"]["next_cursor"]
        assert data["pagination"]["has_more"] == (cursor is not None)
        if cursor is None:
            break
        add(10 + len(found), "needle that came later")
    assert len(found) == 5
    assert set(found) == expected


def test_conversations_are_found_as_they_are_at_one_moment(client, add, monkeypatch):
    """One is removed for good by another worker while its search goes on."""
    find_matches, gone = searching.find_matches, add(1, "needle")

    def remove() -> None:
        connect()
        delete_conversation(gone, scope=WHOLE)
        close()

    def find_and_remove(*args, **kwargs):
        matches = find_matches(*args, **kwargs)
        worker = threading.Thread(target=remove)
        worker.start()
        worker.join()
        return matches

    with monkeypatch.context() as patch:
        patch.setattr(searching, "find_matches", find_and_remove)
        [row] = search_all(client, q="needle")["conversations"]
    assert row["conversation"]["id"] == gone
    assert search_all(client, q="needle")["conversations"] == []


def test_fields_of_conversations_that_match(client, archive):
    fields = "matches,conversation.id,messages.snippet"
    data = search_all(client, q="flux", fields=fields)
    assert set(data) == {"conversations", "titles", "pagination"}
    whole = search_all(client, q="flux")["conversations"]
    assert data["conversations"] == [
        {
            "matches": row["matches"],
            "conversation": {"id": row["conversation"]["id"]},
            "messages": [{"snippet": hit["snippet"]} for hit in row["messages"]],
        }
        for row in whole
    ]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "q"),
        ({"q": 7}, "q"),
        ({"q": "x", "extra": 1}, "extra"),
        ({"q": "x", "limit": "5"}, "limit"),
        ({"q": "x", "is_error": "maybe"}, "is_error"),
        ({"q": "x", "facets": "true"}, "facets"),
        ({"q": "x", "cursor": "nonsense"}, "cursor"),
        ({"q": "x", "cursor": ""}, "cursor"),
        ({"q": "x", "cursor": 7}, "cursor"),
        ({"q": "x", "cursor": encode_cursor("search:best", (9, 2))}, "cursor"),
        ({"q": "x", "cursor": encode_cursor("search_conversations:newest", (9, 2))}, "cursor"),
        ({"q": "x", "cursor": encode_cursor("search_conversations:best", (9, -2))}, "cursor"),
        (
            {"q": "x", "cursor": encode_cursor("search_conversations:best", (9, 2)), "offset": 1},
            "offset",
        ),
        ({"q": "x", "fields": ""}, "fields"),
        ({"q": "x", "fields": "nope"}, "fields"),
        ({"q": "x", "fields": ["matches"]}, "fields"),
    ],
)
def test_a_wrong_body_is_told_field_by_field(body, field, client, db):
    answer = client.post_json("/api/conversations/search", body, status=400).json
    assert list(answer["details"]["fields"]) == [field]


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"a":' * 100 + b"1" + b"}" * 100])
def test_a_body_that_is_no_object_is_told(body, client, db):
    answer = client.post(
        "/api/conversations/search", body, content_type="application/json", status=400
    ).json
    assert list(answer["details"]["fields"]) == ["body"]


def test_a_body_of_another_type_is_refused(client, db):
    client.post("/api/conversations/search", b"q=x", status=415)


def test_snippets_are_never_markup(client, write, ingest):
    transcript = Transcript()
    transcript.prompt("<script>alert(1)</script> needle \x02bold\x03 <img onerror=x>")
    write(transcript)
    ingest()
    [hit] = search(client, "needle")["data"]["hits"]
    assert set(re.findall(r"<[^>]*>", hit["snippet"])) <= {"<mark>", "</mark>"}


@pytest.mark.parametrize("value", [0, 1, "true", []])
def test_a_flag_in_a_body_is_true_or_false(client, value):
    answer = client.post_json(
        "/api/conversations/search", {"q": "x", "is_error": value}, expect_errors=True
    )
    assert (answer.status_int, list(answer.json["details"]["fields"])) == (400, ["is_error"])


def test_a_search_by_body_takes_no_parameters(client):
    answer = client.post_json("/api/conversations/search?limit=5", {"q": "x"}, expect_errors=True)
    assert answer.status_int == 400


@pytest.mark.parametrize(
    ("text", "q", "is_found"),
    [
        ("使用React Router DOM的时候", '"React Router"', True),
        ("使用React Router DOM的时候", '"React Router DOM"', True),
        ("使用React Router DOM的时候", '"用React Router DOM的"', True),
        ("使用React Router DOM的时候", '"React DOM"', False),
        ("他说「React Router DOM」好", '"React DOM"', False),
        ("first line\n修改 foo_bar 函数\nlast", '"修改 foo_bar 函数"', True),
        ("first line\n修改 foo_bar 函数\nlast", '"修改 函数"', False),
        ("프로젝트", "로젝", True),
        (normalize("NFD", "프로젝트"), "로젝", True),
        ("프로젝트", normalize("NFD", "로젝"), True),
        (normalize("NFD", "がぎ and ぐ"), '"ぎ and"', True),
    ],
)
def test_lines_with_chinese_japanese_or_korean_are_indexed_whole(client, add, text, q, is_found):
    add(1, text)
    data = search(client, q)["data"]
    assert bool(data["hits"]) == bool(data["titles"]) == is_found


def test_no_text_can_forge_a_mark(client, add):
    add(1, "evil \x03\x02 marker aardwolf \x02<b>")
    data = search(client, "aardwolf")["data"]
    for shown in (data["hits"][0]["snippet"], data["titles"][0]["title"]):
        assert (shown.count("<mark>"), shown.count("</mark>")) == (1, 1)
        assert "<mark>aardwolf</mark>" in shown


def test_a_title_of_several_lines_is_shown_whole(client, db):
    client.post_json("/api/conversations", {"title": "Plain words\n中文标题"}, status=201)
    for q, shown in (
        ("plain", "<mark>Plain</mark> words 中文标题"),
        ("标题", "Plain words 中文<mark>标题</mark>"),
    ):
        [title] = search(client, q)["data"]["titles"]
        assert title["title"] == shown
