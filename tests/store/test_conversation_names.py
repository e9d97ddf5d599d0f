"""Short names of conversations and projects."""

from __future__ import annotations

import pytest

from observatory.store.conversation_names import (
    find_conversation_ids,
    find_project_paths,
    shorten_conversation_id,
)
from observatory.store.database import execute, execute_many, fetch_all, writing
from observatory.store.projects import ensure_project
from tests.transcripts_for_tests import Transcript

FIRST = "11111111-1111-4111-8111-111111111111"
ALIKE = "11111111-2222-4111-8111-111111111111"
OTHER = "22222222-1111-4111-8111-111111111111"
IDS = (
    FIRST, ALIKE, OTHER, f"{OTHER}.a1234567", f"{OTHER}.a1239999", f"{OTHER}.b0000000",
    "33333333-1111.alone000", "abc", "abcdefgh", "abcdefghij",
)  # fmt: skip


@pytest.fixture
def conversations(ingest, write):
    """Ten conversations, made by copying a row."""
    for number in range(len(IDS)):
        transcript = Transcript(f"{number:08d}-9999-4111-8111-111111111111", prefix=f"{number}")
        transcript.prompt("hello")
        write(transcript)
    ingest()
    keys = [key for (key,) in fetch_all("SELECT key FROM conversations ORDER BY key")]
    with writing():
        execute_many(
            "UPDATE conversations SET id = ? WHERE key = ?", list(zip(IDS, keys, strict=True))
        )


@pytest.mark.parametrize(
    ("identifier", "short"),
    [
        (FIRST, FIRST[:10]),
        (OTHER, "2222222"),
        (f"{OTHER}.a1234567", "2222222.a1234"),
        (f"{OTHER}.b0000000", "2222222.b000"),
        ("33333333-1111.alone000", "3333333.alon"),
        ("abc", "abc"),
        ("abcdefgh", "abcdefgh"),
        ("abcdefghij", "abcdefghi"),
        ("gone-for-good", "gone-fo"),
    ],
)
def test_an_id_is_as_short_as_can_be(conversations, identifier, short):
    assert shorten_conversation_id(identifier) == short


@pytest.mark.parametrize("identifier", IDS)
def test_a_short_form_means_its_conversation(conversations, identifier):
    assert find_conversation_ids(shorten_conversation_id(identifier), limit=5) == [identifier]


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        (FIRST, [FIRST]),
        ("1111", [FIRST, ALIKE]),
        ("111", []),
        ("abc", ["abc"]),
        ("3333", ["33333333-1111.alone000"]),
        ("2222.a", [f"{OTHER}.a1234567", f"{OTHER}.a1239999"]),
        (f"{OTHER}.b", [f"{OTHER}.b0000000"]),
        ("2222.c", []),
        ("%%%%", []),
        ("zzzz", []),
    ],
)
def test_a_beginning_means_those_that_begin_so(conversations, text, meant):
    assert find_conversation_ids(text, limit=5) == meant


def test_what_is_in_the_trash_is_not_meant(conversations):
    execute(
        "UPDATE conversations SET deleted_at = '2026-01-01T00:00:00.000Z' WHERE id = ?", (FIRST,)
    )
    assert find_conversation_ids("1111", limit=5) == [ALIKE]
    assert find_conversation_ids(FIRST, limit=5) == []


def test_no_more_are_returned_than_asked_for(conversations):
    assert find_conversation_ids("1111", limit=1) == [FIRST]


def test_projects_go_by_path_or_name(db):
    with writing():
        for path in ("/a/engine", "/b/engine", "/a/wheel"):
            ensure_project(path, name=path.rsplit("/", 1)[1])
    assert find_project_paths("/a/engine", limit=5) == ["/a/engine"]
    assert find_project_paths("wheel", limit=5) == ["/a/wheel"]
    assert find_project_paths("engine", limit=5) == ["/a/engine", "/b/engine"]
    assert find_project_paths("gear", limit=5) == []
