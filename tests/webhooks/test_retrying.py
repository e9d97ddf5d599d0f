"""Attempts come apart further and further, and end after a day or so."""

from __future__ import annotations

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from observatory.webhooks.retrying import (
    CEILINGS_SECONDS,
    MAX_ATTEMPTS,
    MAX_RETRY_AFTER_SECONDS,
    delay_after,
    parse_retry_after,
)

chances = st.floats(0, 1)
attempts = st.integers(1, MAX_ATTEMPTS - 1)


@given(attempts, chances)
def test_a_delay_is_drawn_up_to_its_ceiling(number, chance):
    delay = delay_after(number, chance=chance)
    assert delay is not None
    assert 1.0 <= delay <= CEILINGS_SECONDS[number - 1]


@given(attempts, chances, st.floats(0, 1e9))
def test_a_receiver_lengthens_a_delay_within_bounds(number, chance, asked):
    plain = delay_after(number, chance=chance)
    delay = delay_after(number, chance=chance, retry_after=asked)
    assert plain is not None and delay is not None
    assert delay >= plain
    assert delay == max(plain, min(asked, MAX_RETRY_AFTER_SECONDS))


@given(st.integers(MAX_ATTEMPTS, 1000), chances, st.none() | st.floats(0, 1e9))
def test_the_last_attempt_is_the_last(number, chance, asked):
    assert delay_after(number, chance=chance, retry_after=asked) is None


def test_eight_attempts_take_a_day_on_average():
    assert MAX_ATTEMPTS == 8
    assert list(CEILINGS_SECONDS) == sorted(CEILINGS_SECONDS)
    assert 20 * 3600 < sum(CEILINGS_SECONDS) / 2 < 28 * 3600


@given(st.text(max_size=40) | st.none(), st.floats(0, 4e9))
def test_any_header_is_read_or_passed_over(value, moment):
    found = parse_retry_after(value, moment=moment)
    assert found is None or found >= 0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120.0), (" 5 ", 5.0), ("0", 0.0), ("-1", None), ("1.5", None), ("soon", None),
        ("", None), (formatdate(1_800_000_060, usegmt=True), 60.0),
        (formatdate(1_700_000_000, usegmt=True), 0.0), ("Mon, 99 Foo 2026 00:00:00 GMT", None),
    ],
)  # fmt: skip
def test_seconds_and_dates_are_read(value, seconds):
    assert parse_retry_after(value, moment=1_800_000_000.0) == seconds
