"""Hot requests run statements that are prepared already: SQLite plans none of them anew.

It does for a value that its plan may depend on, as a bound ``LIMIT`` is; with ``LIMIT +?`` it can
not. Planning a page of messages took as long as reading 20 of them.
"""

from __future__ import annotations

from tests.guards.asking import QUESTIONS, Asker
from tests.guards.counting import count_compiling

# What a write does on the side is planned anew. It is a debt: once it is paid, its line has to go.
DEBTS = {"new conversation", "new message"}


def test_hot_requests_plan_no_statement_anew(small: Asker) -> None:
    planned = {}
    for name, question in QUESTIONS.items():
        small.ask(question)
        planned[name] = count_compiling(lambda question=question: small.ask(question))
    assert {name for name, count in planned.items() if count} == DEBTS
