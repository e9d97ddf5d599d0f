"""How many statements each hot request runs, exactly: one more is seen here, and said here."""

from __future__ import annotations

from tests.guards.asking import QUESTIONS, Asker
from tests.guards.counting import list_statements

STATEMENTS = {
    "health": 0,
    "readiness": 2,
    "profile": 2,
    "list": 3,
    "list by a person": 3,
    "list, next page": 3,
    "list of a project": 3,
    "list by tokens": 3,
    "one": 3,
    "messages": 4,
    "messages, next page": 4,
    "tool uses": 4,
    "one message": 2,
    "search, newest first": 8,
    "search, newest first, next page": 6,
    "search, in titles too": 8,
    "search, best first": 8,
    "search for a phrase": 8,
    "projects": 3,
    "tags": 2,
    "project": 22,
    "files": 5,
    "file": 4,
    "events": 6,
    "newest events": 8,
    # One that counts each piece of those that are looked at.
    "newest events of a type": 26,
    "live status": 3,
    # With three for how long to wait for the lock, and those of the sums that reports are made of:
    # four levels of time, for each place; and four that keep the sums of the project.
    "new conversation": 32,
    "new message": 46,
}


def count(server: Asker) -> dict[str, int]:
    """Return how many statements each request runs when it is not the first of its kind."""
    counted = {}
    for name, question in QUESTIONS.items():
        server.ask(question)
        counted[name] = len(list_statements(lambda question=question: server.ask(question)))
    return counted


def test_requests_run_as_many_statements_as_is_said(small: Asker) -> None:
    assert count(small) == STATEMENTS


def test_a_larger_archive_takes_no_more_statements(large: Asker) -> None:
    assert count(large) == STATEMENTS
