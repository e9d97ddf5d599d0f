"""Moving windows: exact at their edges, and over threads, processes and their deaths."""

from __future__ import annotations

import os
import random
import signal
import threading
from collections import deque

import pytest

from observatory.rate_limits import Limits
from observatory.window_counts import STEPS, SharedWindows
from tests.processes import wait_for


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 5000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def limits(clock) -> Limits:
    return Limits(SharedWindows(sets=4, clock=clock))


def hit(limits: Limits, key: str = "k", *, max_hits: int = 3, window_ms: int = 60_000):
    return limits.check_limit("test", key, max_hits=max_hits, window_ms=window_ms)


def test_so_many_are_allowed_and_no_more(limits):
    states = [hit(limits) for _ in range(5)]
    assert [state.is_allowed for state in states] == [True, True, True, False, False]
    assert [state.remaining for state in states] == [2, 1, 0, 0, 0]
    assert {state.limit for state in states} == {3}


def test_hits_leave_one_by_one(limits, clock):
    for _ in range(3):
        hit(limits)
        clock.now += 20
    # The first is a minute old, and one more step is counted for where in its step it was.
    clock.now += 60 / (STEPS - 1) + 0.001
    assert [hit(limits).is_allowed for _ in range(2)] == [True, False]
    clock.now += 20
    assert [hit(limits).is_allowed for _ in range(2)] == [True, False]


def test_what_is_refused_is_not_counted(limits, clock):
    for _ in range(10):
        hit(limits)
    clock.now += 61
    assert [hit(limits).is_allowed for _ in range(4)] == [True, True, True, False]


def test_waiting_as_long_as_told_helps_and_less_does_not(limits, clock):
    clock.now += 0.123
    for _ in range(3):
        hit(limits)
        clock.now += 7
    seconds = hit(limits).seconds
    clock.now += seconds - 0.3
    assert not hit(limits).is_allowed
    clock.now += 0.31
    assert hit(limits).is_allowed


def test_whole_seconds_are_told(limits):
    state = [hit(limits) for _ in range(4)][-1]
    assert 60 <= state.retry_after <= 61
    assert state.retry_after >= state.seconds


def test_keys_names_and_windows_are_counted_apart(limits):
    assert [hit(limits).is_allowed for _ in range(4)] == [True] * 3 + [False]
    assert hit(limits, "other").is_allowed
    assert hit(limits, "k/").is_allowed
    assert hit(limits, "\udce9" * 1000).is_allowed
    assert hit(limits, window_ms=30_000).is_allowed
    assert limits.check_limit("login", "k", max_hits=3, window_ms=60_000).is_allowed


@pytest.mark.parametrize("seed", range(5))
def test_no_window_ever_has_more_and_hits_leave_soon(limits, clock, seed):
    """Against a list of all times, which is what a moving window means."""
    generator = random.Random(seed)
    window, max_hits = generator.choice([(1, 5), (10, 20), (900, 7)]), 0
    window, max_hits = window
    allowed: deque[float] = deque()
    slack = window / (STEPS - 1) + 0.001
    for _ in range(2000):
        clock.now += generator.choice([0, 0.001, window / 1000, window / 30, window / 2])
        is_allowed = hit(limits, max_hits=max_hits, window_ms=window * 1000).is_allowed
        # The clock is read in whole milliseconds.
        young = sum(clock.now - at < window - 0.001 for at in allowed)
        youngish = sum(clock.now - at <= window + slack for at in allowed)
        assert not (is_allowed and young >= max_hits)
        assert is_allowed or youngish >= max_hits
        if is_allowed:
            allowed.append(clock.now)
        while allowed and clock.now - allowed[0] > 2 * window:
            allowed.popleft()


def test_long_silence_forgets_everything(limits, clock):
    for _ in range(4):
        hit(limits)
    clock.now += 10_000_000
    assert [hit(limits).remaining for _ in range(3)] == [2, 1, 0]


def test_in_a_full_set_the_quietest_is_forgotten(clock):
    limits = Limits(SharedWindows(sets=1, clock=clock))
    for number in range(8):
        hit(limits, str(number), max_hits=1)
        clock.now += 0.01
    assert not hit(limits, "0", max_hits=1).is_allowed
    clock.now += 0.01
    assert hit(limits, "new", max_hits=1).is_allowed
    assert not hit(limits, "0", max_hits=1).is_allowed
    assert hit(limits, "1", max_hits=1).is_allowed


def test_high_limits_are_counted(limits):
    assert hit(limits, max_hits=100_000_000).remaining == 99_999_999


# Threads and processes


def test_threads_are_counted_together():
    limits = Limits()
    allowed: list[bool] = []

    def work() -> None:
        for _ in range(500):
            allowed.append(hit(limits, max_hits=1200, window_ms=3_600_000).is_allowed)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(allowed), sum(allowed)) == (2000, 1200)


def fork(work) -> int:
    """Run something in a forked process, whose exit code is what it returns."""
    pid = os.fork()
    if pid == 0:
        code = 255
        try:
            code = work()
        finally:
            os._exit(code)
    return pid


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_processes_are_counted_together():
    limits = Limits()
    read, write = os.pipe()

    def work() -> int:
        os.read(read, 1)
        hits = [hit(limits, max_hits=300, window_ms=3_600_000) for _ in range(200)]
        return sum(state.is_allowed for state in hits)

    children = [fork(work) for _ in range(4)]
    os.write(write, b"gggg")
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
    assert sum(codes) == 300
    assert not hit(limits, max_hits=300, window_ms=3_600_000).is_allowed
    os.close(read)
    os.close(write)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_process_that_is_killed_leaves_no_lock():
    limits = Limits(SharedWindows(sets=1))

    def work() -> int:
        while True:
            hit(limits, max_hits=100_000_000)

    for _ in range(5):
        before = hit(limits, max_hits=100_000_000).remaining
        pid = fork(work)

        def is_counting(before: int = before) -> bool:
            return hit(limits, max_hits=100_000_000).remaining < before - 1000

        wait_for(is_counting, what="the other process to count")
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        assert hit(limits, max_hits=100_000_000).is_allowed
