"""The search index in parts: what is found in many is what is found in one."""

from __future__ import annotations

import random

import pytest

from observatory.store import search, search_matches, search_parts
from observatory.store.database import execute, fetch_all
from observatory.store.search_parts import list_parts
from tests.guards.counting import list_statements
from tests.transcripts_for_tests import Transcript
from tests.verified import find_faults

SESSION = "11111111-1111-4111-8111-111111111111"
OTHER = "22222222-2222-4222-8222-222222222222"
WORDS = ("apple", "pear", "plum", "fig", "quince", "melon")
# The first is nearly everywhere, the last in some parts only.
SHARES = (32, 4, 3, 2, 2, 1)
QUERIES = (
    "apple",
    "melon",
    "apple pear",
    "fig OR quince",
    "plum -apple",
    '"apple pear"',
    "qu*",
    "melon quince OR apple",
)


@pytest.fixture
def texts() -> list[str]:
    """Return 60 texts of equally many words: lengths count against an average of their part."""
    chance = random.Random(7)
    return [" ".join(chance.choices(WORDS, SHARES, k=6)) for _ in range(60)]


@pytest.fixture
def archive(texts, write, ingest):
    """Return nothing; the texts are said in two conversations."""
    for session, prefix, said in ((SESSION, "a", texts[:30]), (OTHER, "b", texts[30:])):
        transcript = Transcript(session, prefix=prefix)
        for text in said:
            transcript.prompt(text)
        write(transcript)
    ingest()


def index_again(monkeypatch, part_keys: int, *, batch_messages: int = 100) -> int:
    """Make the index anew in parts of so many messages; return how many parts there are."""
    monkeypatch.setattr(search_parts, "PART_KEYS", part_keys)
    search.empty_index()
    while search.index_messages(batch_messages=batch_messages):
        pass
    return len(list_parts())


def look_for(client, q: str, **parameters) -> list[tuple[str, float]]:
    """Return ids and ranks of what is found."""
    answer = client.get("/api/search", {"q": q, "limit": "100", **parameters}).json
    assert answer["data"]["pagination"]["total_relation"] == "exact"
    return [(hit["message_id"], hit["rank"]) for hit in answer["data"]["hits"]]


@pytest.mark.parametrize("batch_messages", [7, 100])
@pytest.mark.parametrize("part_keys", [1, 7, 59, 60, 61])
def test_what_is_found_in_many_parts_is_found_in_one(
    archive, client, monkeypatch, part_keys, batch_messages
):
    assert index_again(monkeypatch, 1000) == 1
    expected = {q: look_for(client, q) for q in QUERIES}
    latest = {q: look_for(client, q, sort="time") for q in QUERIES}
    listed = {q: client.get("/api/conversations", {"search": q}).json for q in QUERIES}

    assert index_again(monkeypatch, part_keys, batch_messages=batch_messages) == -(-60 // part_keys)
    for q in QUERIES:
        assert {name for name, _ in look_for(client, q)} == {name for name, _ in expected[q]}
        assert look_for(client, q, sort="time") == latest[q]
        assert client.get("/api/conversations", {"search": q}).json["data"] == listed[q]["data"]
        snippets = client.get("/api/search", {"q": q}).json["data"]["hits"]
        assert all("<mark>" in hit["snippet"] for hit in snippets)
    assert find_faults() == []


@pytest.mark.parametrize("q", ["pear", "pear OR plum", "pear plum", "pear -plum"])
def test_ranks_are_those_of_one_table(archive, client, monkeypatch, q):
    index_again(monkeypatch, 1000)
    expected = look_for(client, q)
    index_again(monkeypatch, 17)
    # Each part has some, so all of them count for how rare a word is.
    found = look_for(client, q)
    assert [name for name, _ in found] == [name for name, _ in expected]
    assert [rank for _, rank in found] == pytest.approx([rank for _, rank in expected], abs=1e-3)


def test_a_young_part_does_not_weigh_less(write, ingest, client, monkeypatch):
    monkeypatch.setattr(search_parts, "PART_KEYS", 20)
    transcript = Transcript(SESSION)
    for number in range(20):
        transcript.prompt(f"flux {'of some other words' if number < 3 else number}")
    # The twenty-first message is alone in its part, where each row has the word.
    best = transcript.prompt("flux flux flux flux")
    write(transcript)
    ingest()
    assert len(list_parts()) == 2
    assert look_for(client, "flux")[0][0] == best["uuid"]


def test_what_changes_changes_in_its_own_part(archive, client, monkeypatch):
    assert index_again(monkeypatch, 7) == 9
    before = [fetch_all(f"SELECT id FROM {part.table}_docsize") for part in list_parts()]
    client.delete(f"/api/conversations/{OTHER}?permanent=true")
    assert {name[0] for name, _ in look_for(client, "apple")} == {"a"}
    after = [fetch_all(f"SELECT id FROM {part.table}_docsize") for part in list_parts()]
    assert after[:4] == before[:4]
    assert after[5:] == [[], [], [], []]
    assert find_faults() == []


def test_no_part_is_begun_for_keys_that_nobody_has(archive, monkeypatch):
    execute("UPDATE messages SET key = key + 1000000 WHERE key > 30")
    assert index_again(monkeypatch, 15) == 4


def test_a_row_in_the_wrong_part_is_found(archive, monkeypatch):
    index_again(monkeypatch, 30)
    execute("INSERT INTO message_search (rowid, text) VALUES (40, 'apple')")
    [fault] = find_faults()
    assert "row 40 is in it and not there" in fault.examples


def test_closed_parts_become_one_piece_each(archive, monkeypatch):
    monkeypatch.setattr(search_parts, "PART_KEYS", 20)
    search.empty_index()
    execute("INSERT INTO message_search (message_search, rank) VALUES ('automerge', 0)")
    while search.index_messages(batch_messages=5):
        pass
    pieces = [search_parts.count_segments(part.table) for part in list_parts()]
    assert pieces[0] == 4
    while search.merge_segments():
        pass
    assert [search_parts.count_segments(part.table) for part in list_parts()][:2] == [1, 1]
    assert find_faults() == []


def test_how_many_rows_a_part_has_is_read(archive, monkeypatch):
    index_again(monkeypatch, 25)
    assert [search_parts.count_rows(part.table) for part in list_parts()] == [25, 25, 10]


@pytest.mark.parametrize("sort", ["relevance", "time"])
def test_what_is_everywhere_is_looked_for_in_the_newest_parts(archive, client, monkeypatch, sort):
    monkeypatch.setattr(search_matches, "CANDIDATES", 10)
    index_again(monkeypatch, 12)

    def list_asked(q: str) -> set[str]:
        statements = list_statements(lambda: client.get("/api/search", {"q": q, "sort": sort}))
        return {part.table for part in list_parts() if f"FROM {part.table} " in str(statements)}

    newest, oldest = list_parts()[-1].table, list_parts()[0].table
    assert list_asked("apple") == {newest}
    assert oldest in list_asked("nowhere")
