"""A dispatcher that is killed at any moment loses no event, and doubles no delivery."""

from __future__ import annotations

import random
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

from observatory.store.database import fetch_all
from tests.processes import wait_for
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
KILLS = 8
MESSAGES_EACH = 20


def start(database: Path) -> subprocess.Popen[bytes]:
    child = subprocess.Popen([sys.executable, "-c", PROGRAM, str(database)], stdout=subprocess.PIPE)
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
    child = start(db)
    try:
        for hook in made:
            wait_for(
                lambda hook=hook: (
                    hooks.get(hook)["state"]["pending_deliveries"] == 0
                    and fetch_all("SELECT count(*) FROM webhook_deliveries WHERE webhook_key = ?",
                                  (hook["id"],)) == [(number,)]
                ),
                what="all to be sent",
            )  # fmt: skip
    finally:
        child.kill()
        child.wait()
    for receiver in (one, two):
        ids = defaultdict(set)
        for request in receiver.requests:
            ids[request.json["event"]["id"]].add(request.delivery)
        assert len(ids) == number
        assert all(len(found) == 1 for found in ids.values())
    assert fetch_all("SELECT DISTINCT status FROM webhook_deliveries") == [("delivered",)]
