"""Threads that take turns."""

from __future__ import annotations

import threading

from observatory.store.handed_over_lock import Turns
from tests.processes import wait_for


def test_turns_come_in_order_and_nobody_pushes_in():
    turns = Turns()
    assert turns.take(0)
    order: list[int] = []

    def wait(number: int) -> None:
        assert turns.take(60)
        order.append(number)
        turns.end()

    threads = []
    for number in range(5):
        thread = threading.Thread(target=wait, args=(number,))
        thread.start()
        threads.append(thread)
        wait_for(lambda: turns.count_waiting() == len(threads), what="it to queue")
    turns.end()
    # Those who waited come first.
    assert turns.take(60)
    assert order == [0, 1, 2, 3, 4]
    for thread in threads:
        thread.join()
    turns.end()
    assert turns.seconds_taken() == 0


def test_who_gives_up_leaves_the_queue():
    turns = Turns()
    assert turns.take(0)
    assert not turns.take(0)
    assert not turns.take(0.01)
    assert turns.count_waiting() == 0
    assert turns.seconds_taken() > 0
    turns.end()
    assert turns.take(0)


def test_no_turn_is_lost_to_who_gives_up_as_it_comes():
    """The longest waits are about as long as a turn takes, so that both meet again and again."""
    turns = Turns()
    taken = [0] * 4

    def work(number: int) -> None:
        for _ in range(300):
            if turns.take(0.0002 * number):
                taken[number] += 1
                assert turns.seconds_taken() >= 0
                turns.end()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(taken)
    assert turns.take(0)
