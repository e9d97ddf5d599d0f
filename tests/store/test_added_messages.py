"""Messages that are added to what was counted before."""

from __future__ import annotations

from typing import Any

import orjson

from observatory.store.conversations import get_conversation
from observatory.store.counters import find_miscounted
from observatory.store.message_changes import NewMessage, insert_messages
from observatory.store.rollup_building import build_rollups, forget_rollups, verify_rollups
from observatory.store.scopes import WHOLE
from tests.store.new_conversations import make_conversation

TOKENS = {
    "input_tokens": 10,
    "output_tokens": 5,
    "cache_creation_input_tokens": 0,
    "cache_read_input_tokens": 0,
}


def say(conversation_id: str, model: str) -> None:
    message = NewMessage("assistant", "some words", model=model, tokens=TOKENS)
    insert_messages(conversation_id, [message], scope=WHOLE)


def read_usage(conversation_id: str) -> dict[str, Any]:
    """Return how many calls of each model a conversation is said to have."""
    told = orjson.loads(orjson.dumps(get_conversation(conversation_id, scope=WHOLE)))
    return {each["model"]: each["api_calls"] for each in told["usage_by_model"]}


def test_usage_by_model_grows_with_each_message(db):
    identifier = make_conversation("/p")
    for number, model in enumerate(("one", "other", "one"), start=1):
        say(identifier, model)
        assert sum(read_usage(identifier).values()) == number
    assert read_usage(identifier) == {"one": 2, "other": 1}


def test_what_is_written_while_sums_are_built_is_told_as_it_is(db):
    # More than are built in one transaction.
    made = [make_conversation("/p") for _ in range(120)]
    for identifier in made:
        say(identifier, "one")
        say(identifier, "other")
    first, last = made[0], made[-1]
    forget_rollups()
    batches = 0

    def write_between() -> bool:
        nonlocal batches
        batches += 1
        if batches == 2:
            # Of the one there are sums already, of the other there are none.
            say(first, "one")
            say(last, "one")
        return False

    build_rollups(should_stop=write_between)
    assert read_usage(first) == read_usage(last) == {"one": 2, "other": 1}
    assert find_miscounted(1, 2**62) == []
    assert verify_rollups().are_none
