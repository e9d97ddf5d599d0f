"""A dispatcher that is killed at any moment loses no event, and doubles no delivery."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from observatory.store.database import fetch_all
from tests.processes import DEADLINE_SECONDS, wait_for
from tests.webhooks.receivers import Receiver
from tests.webhooks.test_dispatching import MESSAGES

PROGRAM = """
import sys, threading
from observatory.log import configure_logging
from observatory.store.database import configure
from observatory.webhooks.dispatching import run_dispatcher
configure_logging(level="error", log_format="json")
configure(sys.argv[1])
print("begun", flush=True)
run_dispatcher(threading.Event(), allowed_networks=["127.0.0.0/8"], poll_seconds=0.001)
"""
# Ends itself as kill -9 would, before or after the nth call of a function of the store.
DYING = """
import importlib, os, signal, sys
module, name, moment, number = sys.argv[2:6]
module = importlib.import_module("observatory.store." + module)
known, calls = getattr(module, name), []
def dying(*arguments, **options):
    calls.append(1)
    is_last = len(calls) == int(number)
    if is_last and moment == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    result = known(*arguments, **options)
    if is_last:
        os.kill(os.getpid(), signal.SIGKILL)
    return result
setattr(module, name, dying)
"""
KILLS = 8
MESSAGES_EACH = 20


def start(database: Path, *death: str) -> subprocess.Popen[bytes]:
    program = DYING + PROGRAM if death else PROGRAM
    child = subprocess.Popen(
        [sys.executable, "-c", program, str(database), *death], stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"begun\n"
    child.stdout.close()
    return child


def test_each_event_comes_at_least_once_and_under_one_id(db, hooks, receivers, say):
    chance = random.Random(1)
    one, two = receivers(), receivers()
    made = [hooks.make(receiver, **MESSAGES) for receiver in (one, two)]
    number = 0
    for _ in range(KILLS):
        child = start(db)
        seen = len(one.requests)
        say(*(f"message {number + index}" for index in range(MESSAGES_EACH)))
        number += MESSAGES_EACH
        # Killed before it began, in the middle of its work, or at its end.
        wanted = seen + chance.randrange(MESSAGES_EACH + 1)
        wait_for(lambda wanted=wanted: len(one.requests) >= wanted, what="some requests")
        child.kill()
        child.wait()
    finish(db, hooks, made, number=number)
    check(one, number)
    check(two, number)


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize(
    ("module", "name", "call"),
    [
        ("webhook_deliveries", "insert_deliveries", "1"),
        ("webhook_deliveries", "insert_deliveries", "2"),
        ("webhooks", "move_webhook", "1"), ("webhooks", "move_webhook", "2"),
        ("webhook_deliveries", "find_next", "1"), ("webhook_deliveries", "find_next", "2"),
        ("webhook_deliveries", "note_attempt", "1"), ("webhook_deliveries", "note_attempt", "3"),
        ("webhooks", "note_delivered", "2"),
    ],
)  # fmt: skip
def test_it_may_die_anywhere(db, hooks, receivers, say, module, name, call, moment):
    one, two = receivers(), receivers()
    made = [hooks.make(receiver, **MESSAGES) for receiver in (one, two)]
    say("a", "b", "c")
    child = start(db, module, name, moment, call)
    assert child.wait(timeout=DEADLINE_SECONDS) == -signal.SIGKILL
    finish(db, hooks, made, number=3)
    check(one, 3)
    check(two, 3)


def finish(database: Path, hooks: Any, made: list[dict[str, Any]], *, number: int) -> None:
    """Run a dispatcher until all is sent."""
    child = start(database)
    try:
        for hook in made:
            wait_for(lambda hook=hook: is_done(hooks, hook, number), what="all to be sent")
    finally:
        child.kill()
        child.wait()
    assert fetch_all("SELECT DISTINCT status FROM webhook_deliveries") == [("delivered",)]


def is_done(hooks: Any, hook: dict[str, Any], number: int) -> bool:
    made = fetch_all(
        "SELECT count(*), count(DISTINCT event_id) FROM webhook_deliveries WHERE webhook_key = ?",
        (hook["id"],),
    )
    return made == [(number, number)] and hooks.get(hook)["state"]["pending_deliveries"] == 0


def check(receiver: Receiver, number: int) -> None:
    """Check that so many events came, each under one id."""
    ids = defaultdict(set)
    for request in receiver.requests:
        ids[request.json["event"]["id"]].add(request.delivery)
    assert len(ids) == number
    assert all(len(found) == 1 for found in ids.values())
