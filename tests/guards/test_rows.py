"""What a hot request touches in the database does not grow with the archive."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.guards.asking import QUESTIONS, Asker, Question
from tests.guards.conftest import TIMES
from tests.guards.counting import count_steps

# Another key in a list is no row. An index of words is in more pieces in a larger archive.
_SLACK = {"search": 2.0}
_SLACK_OF_OTHERS = 1.03
_SLACK_STEPS = 20
# What does grow, at most as the rows do. Each is a debt: once it is paid, its line has to go.
DEBTS = {
    "files": "all are counted",
}


def count(server: Asker) -> dict[str, int]:
    """Return the steps of each request when it is not the first of its kind."""
    counted = {}
    for name, question in QUESTIONS.items():
        server.ask(question)
        counted[name] = count_steps(lambda question=question: server.ask(question))
    return counted


def _slack(name: str) -> float:
    return next((share for part, share in _SLACK.items() if part in name), _SLACK_OF_OTHERS)


def test_work_in_the_database_does_not_grow_with_the_archive(
    open_server: Callable[[Path], Asker], small_archive: Path, large_archive: Path
) -> None:
    few, many = count(open_server(small_archive)), count(open_server(large_archive))
    grown = {
        name: (few[name], many[name])
        for name in QUESTIONS
        if many[name] > few[name] * _slack(name) + _SLACK_STEPS
    }
    assert {name: steps for name, steps in grown.items() if name not in DEBTS} == {}
    assert set(grown) == set(DEBTS)
    faster = {name: steps for name, steps in grown.items() if steps[1] > TIMES * steps[0]}
    assert faster == {}


@pytest.mark.parametrize("has_usage", [False, True])
def test_a_message_costs_as_much_in_a_long_conversation(small: Asker, has_usage: bool) -> None:
    path = QUESTIONS["new message"].path
    said: dict[str, Any] = {"role": "user", "content": "common hello"}
    if has_usage:
        usage = {"input_tokens": 10, "output_tokens": 5}
        said |= {"role": "assistant", "metadata": {"model": "claude-opus-4-5", "usage": usage}}
    one = Question(path, "POST", said)
    small.ask(one)
    few = count_steps(lambda: small.ask(one))
    small.ask(Question(path, "POST", {"messages": [said] * 500}))
    small.ask(one)
    many = count_steps(lambda: small.ask(one))
    assert many <= few * _SLACK_OF_OTHERS + _SLACK_STEPS
