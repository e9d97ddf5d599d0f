"""How many functions are called for a hot request, at most.

The numbers are those of Python 3.11; later versions make fewer calls, since comprehensions are
none. A request may take 15 % more before its number has to be said anew.
"""

from __future__ import annotations

from tests.guards.asking import QUESTIONS, Asker
from tests.guards.counting import count_calls

MARGIN = 1.15
CALLS = {
    "health": 126,
    "readiness": 230,
    "profile": 162,
    "list": 215,
    "list by a person": 215,
    "list, next page": 238,
    "list of a project": 215,
    "list by tokens": 215,
    "one": 185,
    "messages": 477,
    "messages, next page": 496,
    "tool uses": 255,
    "one message": 179,
    "search, newest first": 979,
    "search, newest first, next page": 1830,
    "search, in titles too": 1079,
    "search, best first": 727,
    "search for a phrase": 726,
    "projects": 204,
    "tags": 162,
    "project": 1147,
    "files": 251,
    "file": 200,
    "events": 589,
    "newest events": 782,
    "newest events of a type": 670,
    "live status": 473,
    "new conversation": 1017,
    "new message": 1250,
}


def test_requests_call_few_functions(small: Asker) -> None:
    counted = {}
    for name, question in QUESTIONS.items():
        # Twice: what a first write leaves to be done is done by the second.
        small.ask(question)
        small.ask(question)
        counted[name] = count_calls(lambda question=question: small.ask(question))
    assert set(counted) == set(CALLS)
    more = {
        name: (counted[name], calls)
        for name, calls in CALLS.items()
        if counted[name] > MARGIN * calls
    }
    assert more == {}
