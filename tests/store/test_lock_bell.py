"""Who waits for the lock of the database hears when it has come free."""

from __future__ import annotations

import os
import time

from observatory.store.lock_bell import Bell

LONG_SECONDS = 30.0


def test_a_ring_of_another_process_wakes_who_waits():
    bell = Bell()
    child = os.fork()
    if not child:
        bell.ring()
        os._exit(0)
    began = time.monotonic()
    bell.wait(LONG_SECONDS)
    assert time.monotonic() - began < LONG_SECONDS
    os.waitpid(child, 0)


def test_rings_that_nobody_waited_for_are_passed_over():
    bell = Bell()
    # More than the pipe of the system takes: nobody is kept waiting by it.
    for _ in range(100_000):
        bell.ring()
    bell.forget()
    began = time.monotonic()
    bell.wait(0.01)
    assert time.monotonic() - began >= 0.01
