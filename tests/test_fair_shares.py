"""Who has fewer connections than another."""

from __future__ import annotations

from observatory.fair_shares import Shares


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
