"""Figures made of sums."""

from __future__ import annotations

import math
from bisect import bisect_right

from hypothesis import given
from hypothesis import strategies as st

from observatory.store.analytics.figures import change, quantile, share, share_of_cost
from observatory.store.rollup_tables import DURATION_BOUNDS_MS, DURATIONS

LAST = DURATION_BOUNDS_MS[-1]


def count(durations: list[int]) -> list[int]:
    counts = [0] * len(DURATIONS)
    for duration in durations:
        counts[bisect_right(DURATION_BOUNDS_MS, duration)] += 1
    return counts


@given(
    durations=st.lists(st.floats(0, 8).map(lambda power: int(10**power) - 1), min_size=1),
    wanted=st.sampled_from((0.5, 0.95)),
)
def test_a_percentile_is_about_the_exact_one(durations, wanted):
    exact = sorted(durations)[math.ceil(wanted * len(durations)) - 1]
    about = quantile(count(durations), wanted, largest=max(durations))
    assert about is not None
    assert about <= max(durations)
    if exact < 10:
        assert about <= 10
    elif exact >= LAST:
        assert about >= LAST
    else:
        assert exact / 1.8 <= about <= exact * 1.8 + 1


def test_the_percentile_of_nothing_is_unknown_and_of_no_time_is_none():
    assert quantile(count([]), 0.5, largest=0) is None
    assert quantile(count([0, 0]), 0.95, largest=0) == 0


def test_a_share_of_nothing_is_unknown():
    assert share(0, 0) is None
    assert share(1, 3) == 0.333333
    unknown = {"api_calls": 2, "unpriced_calls": 2, "cost_nanodollars": 0}
    known = {"api_calls": 2, "unpriced_calls": 1, "cost_nanodollars": 5}
    assert share_of_cost(unknown, known) is None
    assert share_of_cost(known, known) == 1


def test_changes_are_of_numbers_and_not_of_ratios():
    now = {"calls": 3, "cost": None, "new": 5, "some_rate": None, "hit_rate": 0.5, "is_all": True}
    before = {"calls": 2, "cost": 7, "new": 0, "some_rate": 0.5, "hit_rate": 0.2, "is_all": False}
    assert change(now, before) == {"calls": 0.5, "cost": None, "new": None}
    assert change(before, now)["cost"] is None
