"""Times in the one text form."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from observatory.timestamps import format_timestamp, milliseconds_between, now, parse_timestamp


@pytest.mark.parametrize(
    ("given_text", "expected"),
    [
        ("2026-01-02T03:04:05.678Z", "2026-01-02T03:04:05.678Z"),
        ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05.000Z"),
        ("2026-01-02T03:04:05.678901+02:00", "2026-01-02T01:04:05.678Z"),
        ("2026-01-02T03:04:05", "2026-01-02T03:04:05.000Z"),
        ("2026-W01-1T00:00:00.000Z", "2025-12-29T00:00:00.000Z"),
        ("2026-02-30T00:00:00.000Z", None),
        ("0001-01-01T00:00:00.000Z", None),
        ("9999-12-31T23:59:59.999-12:00", None),
        ("yesterday", None),
        (17, None),
        (None, None),
    ],
)
def test_parsing(given_text, expected):
    assert parse_timestamp(given_text) == expected


@given(
    st.datetimes(datetime(1971, 1, 1), datetime(9998, 12, 1)),
    st.integers(-14 * 60, 14 * 60),
)
def test_what_is_formatted_can_be_parsed(moment, offset_minutes):
    aware = moment.replace(tzinfo=timezone(timedelta(minutes=offset_minutes)))
    text = format_timestamp(aware)
    assert parse_timestamp(text) == text
    assert abs(datetime.fromisoformat(text) - aware) < timedelta(milliseconds=1)


def test_spans_are_never_negative():
    assert milliseconds_between("2026-01-01T00:00:00.000Z", "2026-01-01T00:00:01.250Z") == 1250
    assert milliseconds_between("2026-01-01T00:00:01.000Z", "2026-01-01T00:00:00.000Z") == 0


def test_now_is_now():
    assert abs(datetime.fromisoformat(now()) - datetime.now(UTC)) < timedelta(minutes=1)


def test_now_is_the_present_in_the_one_text_form():
    for _ in range(2000):
        before = format_timestamp(datetime.now(UTC))
        text = now()
        assert before <= text <= format_timestamp(datetime.now(UTC))
        assert parse_timestamp(text) == text
