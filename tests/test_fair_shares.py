"""Who has fewer connections than another."""

from __future__ import annotations

import socket
import sys
from contextlib import ExitStack

import pytest

from observatory.fair_shares import Shares, count_waiting
from tests.processes import wait_for


def test_who_has_most_knows_that_another_has_less():
    shares = Shares()
    shares.tell(1, 3)
    shares.tell(2, 2)
    assert shares.has_less(3)
    assert not shares.has_less(2)


def test_a_worker_alone_waits_for_nobody():
    shares = Shares()
    shares.tell(1, 9)
    assert not shares.has_less(9)


def test_who_has_none_counts_and_who_has_ended_does_not():
    shares = Shares()
    shares.tell(1, 5)
    shares.tell(2, 0)
    assert shares.has_less(1)
    shares.forget(2)
    assert not shares.has_less(5)


def test_the_fewest_are_those_of_who_has_told():
    shares = Shares()
    assert shares.fewest() == 0
    shares.tell(1, 5)
    assert shares.fewest() == 5
    shares.tell(2, 3)
    assert shares.fewest() == 3
    shares.forget(2)
    assert shares.fewest() == 5


@pytest.mark.parametrize(
    ("others", "mine", "waiting", "missing"),
    [
        ([], 0, 0, 0),
        ([], 3, 7, 7),
        ([0], 0, 1, 1),
        ([0], 0, 1000, 500),
        ([0], 499, 501, 1),
        ([500], 0, 500, 500),
        ([500], 500, 0, 0),
        ([500], 500, 1, 1),
        ([10], 20, 4, 0),
        ([10], 20, 12, 1),
        ([0, 0, 0], 0, 10, 3),
        # Where nobody tells how many wait, as long as another has not far fewer.
        ([0], 0, None, 1),
        ([0], 1, None, 0),
        ([100], 100, None, 13),
        ([100], 114, None, 1),
        ([100], 115, None, 0),
    ],
)
def test_each_misses_its_share_of_those_that_wait(others, mine, waiting, missing):
    shares = Shares()
    shares.tell(0, mine)
    for age, connections in enumerate(others, start=1):
        shares.tell(age, connections)
    assert shares.count_missing(mine, waiting=waiting) == missing


def test_two_who_take_turns_come_to_the_same():
    shares, has, waiting = Shares(), [0, 0], 997
    shares.tell(0, 0)
    shares.tell(1, 0)
    while waiting:
        for age in (0, 1):
            taken = min(waiting, shares.count_missing(has[age], waiting=waiting))
            has[age] += taken
            waiting -= taken
            shares.tell(age, has[age])
    assert sorted(has) == [498, 499]


def test_how_many_wait_is_told_by_the_system():
    with socket.create_server(("127.0.0.1", 0)) as listener, ExitStack() as clients:
        if sys.platform != "linux":
            assert count_waiting(listener) is None
            return
        assert count_waiting(listener) == 0
        for _ in range(2):
            clients.enter_context(socket.create_connection(listener.getsockname()))
        wait_for(lambda: count_waiting(listener) == 2, what="two that wait")
        listener.accept()[0].close()
        assert count_waiting(listener) == 1


def test_of_other_sockets_it_is_not_known(tmp_path):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        listener.listen()
        assert count_waiting(listener) is None
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()) as client,
    ):
        assert count_waiting(client) is None
