"""Which changes of conversations are shown at once, later or never."""

from __future__ import annotations

from observatory.live.printing import UPDATE_SECONDS, Updates, go_on_after
from observatory.store.events import Bounds


def test_a_change_shortly_after_another_one_is_kept_until_it_is_due():
    updates = Updates()
    assert updates.take("a", 100.0, b"first")
    assert not updates.take("a", 101.0, b"second")
    assert not updates.take("a", 102.0, b"third")
    assert updates.pop_due(102.0) == []
    assert updates.pop_due(100.0 + UPDATE_SECONDS) == [b"third"]
    assert updates.pop_due(200.0) == []
    assert not updates.take("a", 101.0 + UPDATE_SECONDS, b"fourth")


def test_a_change_a_while_after_another_one_is_shown_and_replaces_what_waits():
    updates = Updates()
    assert updates.take("a", 100.0, b"first")
    assert not updates.take("a", 101.0, b"second")
    assert updates.take("a", 100.0 + UPDATE_SECONDS, b"third")
    assert updates.pop_due(200.0) == []


def test_conversations_do_not_keep_each_other_back():
    updates = Updates()
    assert updates.take("a", 100.0, b"one")
    assert updates.take("b", 100.0, b"other")


def test_going_back_in_time_the_last_of_several_is_shown():
    updates = Updates()
    assert [updates.take("a", moment) for moment in (100.0, 99.0, 96.0, 95.0, 91.0)] == [
        True, False, False, True, False,
    ]  # fmt: skip


def test_after_a_gap_it_goes_on_with_the_oldest_or_behind_the_newest():
    assert go_on_after(3, Bounds(oldest=10, latest=20)) == 9
    assert go_on_after(30, Bounds(oldest=10, latest=20)) == 20
