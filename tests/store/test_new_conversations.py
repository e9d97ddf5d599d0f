"""Conversations that clients make: all that is kept of one is as if it had been counted."""

from __future__ import annotations

import uuid
from functools import partial
from typing import Any
from unittest import mock

import orjson
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from observatory.store import new_ids
from observatory.store.conversation_documents import make_documents
from observatory.store.conversations import get_conversation
from observatory.store.counters import find_miscounted
from observatory.store.database import execute, fetch_all
from observatory.store.new_conversations import insert_conversation
from observatory.store.new_ids import make_id
from observatory.store.places import count_misplaced
from observatory.store.projects import find_missummed
from observatory.store.rollup_building import verify_rollups
from observatory.store.scopes import WHOLE
from observatory.store.together import run_together
from tests.store.new_conversations import make_conversation

# As bodies let it in: no NUL and no half of a pair.
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)
WANTED = st.fixed_dictionaries(
    {
        "title": TEXTS,
        "project_path": st.none() | st.sampled_from(("/a", "/b")) | TEXTS.map("/{}".format),
        "metadata": st.fixed_dictionaries(
            {},
            optional={
                "model": st.none() | TEXTS,
                "tags": st.lists(TEXTS, unique=True, max_size=3),
                "custom": st.dictionaries(st.text(), st.none() | st.text() | st.integers()),
            },
        ),
        "found": st.lists(
            st.tuples(st.sampled_from(("jwt", "aws")), st.just("title"), TEXTS, st.integers(1, 3)),
            max_size=2,
        ),
    }
)


def make(wanted: dict[str, Any]) -> Any:
    made = insert_conversation(**wanted, project_name=wanted["project_path"], scope=WHOLE)
    return orjson.loads(orjson.dumps(made))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(wanted=st.lists(WANTED, min_size=1, max_size=4))
def test_all_that_is_kept_is_as_if_it_had_been_counted(db, wanted):
    execute("DELETE FROM conversations")
    ends = run_together([partial(make, each) for each in wanted])
    assert [end.error for end in ends] == [None] * len(wanted)
    for each, end in zip(wanted, ends, strict=True):
        told = end.result
        assert (told["title"], told["project_path"]) == (each["title"], each["project_path"])
        assert told == orjson.loads(orjson.dumps(get_conversation(told["id"], scope=WHOLE)))
    kept = fetch_all("SELECT document, details, key FROM conversations ORDER BY key")
    keys = [key for *_, key in kept]
    assert kept == make_documents(keys)
    assert find_miscounted(keys[0], keys[-1]) == []
    assert count_misplaced(keys) == 0
    tags = fetch_all("SELECT conversation_key, tag FROM conversation_tags")
    wanted_tags = [each["metadata"].get("tags", ()) for each in wanted]
    by_id = dict(fetch_all("SELECT id, key FROM conversations"))
    assert sorted(tags) == sorted(
        (by_id[end.result["id"]], tag)
        for named, end in zip(wanted_tags, ends, strict=True)
        for tag in named
    )


def test_sums_titles_and_findings_are_of_all_who_shared(db):
    found = [("jwt", "title", "hash", 2)]
    run_together(
        [
            partial(make_conversation, "/a", title="first words", found=found),
            partial(make_conversation, "/a", title="second words"),
            partial(make_conversation, title="third"),
        ]
    )
    assert find_missummed() == []
    assert verify_rollups().are_none
    words = fetch_all("SELECT rowid FROM title_search('words') ORDER BY rowid")
    titled = fetch_all("SELECT key FROM conversations WHERE title LIKE '%words' ORDER BY key")
    assert words == titled
    assert len(words) == 2
    findings = fetch_all(
        "SELECT c.title, f.kind, f.count FROM secret_findings f"
        " JOIN conversations c ON c.key = f.conversation_key"
    )
    assert findings == [("first words", "jwt", 2)]
    events = fetch_all("SELECT type FROM events ORDER BY id")
    assert events == [("project_discovered",), *[("conversation_started",)] * 3]


def test_ids_are_in_the_order_of_their_times(monkeypatch):
    moments = [0, 1, 1_000, 1_800_000_000_000, 2**48 - 1]
    made = []
    for moment in moments:
        monkeypatch.setattr(new_ids.time, "time_ns", lambda now=moment: now * 1_000_000 + 999_999)
        made += sorted({make_id() for _ in range(100)})
    assert made == sorted(made)
    assert len(set(made)) == 100 * len(moments)
    for text in made:
        one = uuid.UUID(text)
        assert (one.version, one.variant, str(one)) == (7, uuid.RFC_4122, text)
    assert {uuid.UUID(text).int >> 80 for text in made} == set(moments)


@given(chance=st.binary(min_size=10, max_size=10))
def test_all_other_bits_are_chance(chance):
    with mock.patch.object(new_ids.os, "urandom", lambda count: chance[:count]):
        made = uuid.UUID(make_id()).int
    number = int.from_bytes(chance, "big")
    assert made >> 64 & 0xFFF == number >> 68
    assert made & (2**62 - 1) == number & (2**62 - 1)
