"""Periods and their parts, by the clocks of all zones."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from observatory.store.analytics.periods import (
    UNITS,
    list_buckets,
    list_offsets,
    make_period,
    split,
    split_at_edges,
)

ZONES = sorted(available_timezones() - {"localtime"})
HOURS = {"hour": 50, "day": 24 * 40, "week": 24 * 200, "month": 24 * 800}
# Clocks that are not set at a quarter of an hour, which nobody's are any more.
UNEVEN = {"America/Goose_Bay", "America/Moncton", "America/St_Johns", "Antarctica/Casey"}
UNEVEN |= {"Canada/Newfoundland"}


def name_of(moment: datetime, unit: str) -> str:
    """Return what a clock calls the hour, day, week or month of a time."""
    if unit == "hour":
        return moment.strftime("%Y-%m-%dT%H") + moment.isoformat(timespec="minutes")[16:]
    if unit == "week":
        return (moment.date() - timedelta(days=moment.weekday())).isoformat()
    return moment.strftime("%Y-%m-%d" if unit == "day" else "%Y-%m")


@given(
    zone=st.sampled_from(ZONES),
    start=st.datetimes(datetime(1993, 1, 1), datetime(2040, 1, 1)),
    hours=st.integers(1, 800),
    unit=st.sampled_from(UNITS),
    places=st.lists(st.floats(0, 0.999), min_size=5, max_size=5),
)
@example("Australia/Lord_Howe", datetime(2026, 4, 4, 10), 10, "hour", [0.5, 0.52, 0.54, 0.56, 0.6])
@example("Pacific/Chatham", datetime(2026, 4, 4, 10), 10, "hour", [0.4, 0.42, 0.44, 0.46, 0.5])
@example("Pacific/Apia", datetime(2011, 12, 28), 96, "day", [0.1, 0.3, 0.5, 0.6, 0.9])
@example("America/Sao_Paulo", datetime(2018, 11, 3), 48, "day", [0.1, 0.5, 0.58, 0.6, 0.9])
@example("Africa/Cairo", datetime(2026, 4, 23), 48, "day", [0.1, 0.9, 0.94, 0.98, 0.99])
@example("Antarctica/Troll", datetime(2026, 3, 28), 48, "hour", [0.1, 0.5, 0.52, 0.54, 0.6])
def test_buckets_have_no_gap_and_no_overlap_and_are_what_the_clock_says(
    zone, start, hours, unit, places
):
    start = start.replace(tzinfo=UTC)
    end = start + timedelta(hours=min(hours, HOURS[unit]))
    period = make_period(start, end, ZoneInfo(zone))
    assert period.start <= start.timestamp() < end.timestamp() <= period.end
    buckets = list_buckets(period, unit)
    assert [buckets[0].start, buckets[-1].end] == [period.start, period.end]
    assert all(a.end == b.start for a, b in pairwise(buckets))
    assert all(bucket.start < bucket.end for bucket in buckets)
    assert len({bucket.name for bucket in buckets}) == len(buckets)
    if zone in UNEVEN:
        return
    for place in places:
        moment = period.start + int(place * (period.end - period.start))
        [bucket] = [each for each in buckets if each.start <= moment < each.end]
        wanted = name_of(datetime.fromtimestamp(moment, period.zone), unit)
        assert bucket.name == wanted or (
            unit == "hour" and bucket.name[:13] + bucket.name[16:] == wanted
        )


@given(
    start=st.integers(0, 2**31 // 900).map(lambda n: n * 900),
    length=st.integers(1, 200_000).map(lambda n: n * 900),
)
def test_what_a_span_is_read_from_has_no_gap_and_no_overlap(start, length):
    parts = split(7, start, start + length)
    assert [parts[0].start, parts[-1].end] == [start, start + length]
    assert all(a.end == b.start for a, b in pairwise(parts))
    assert all(part.bucket == 7 and part.start < part.end for part in parts)


@given(
    zone=st.sampled_from(ZONES),
    start=st.datetimes(datetime(1993, 1, 1), datetime(2040, 1, 1)),
    hours=st.integers(1, 800),
    unit=st.sampled_from([unit for unit in UNITS if unit != "hour"]),
)
def test_what_lies_between_edges_makes_up_for_what_units_are_read_as(zone, start, hours, unit):
    start = start.replace(tzinfo=UTC)
    end = start + timedelta(hours=min(hours, HOURS[unit]))
    buckets = list_buckets(make_period(start, end, ZoneInfo(zone)), unit)
    segments, moved = split_at_edges(buckets)
    assert all(segment.sign == 1 and segment.start < segment.end for segment in segments)
    read: Counter[tuple[int, int]] = Counter()
    for place, _, first, last, sign in segments:
        read.update({(place, quarter): sign for quarter in range(first, last, 900)})
    for place, _, first, last, sign in moved:
        for quarter in range(first, last, 900):
            read[place, quarter] -= sign
            read[place - 1, quarter] += sign
    outside = (-1, len(buckets))
    assert {key: n for key, n in read.items() if n and key[0] not in outside} == {
        (place, quarter): 1
        for place, bucket in enumerate(buckets)
        for quarter in range(bucket.start, bucket.end, 900)
    }


@given(
    zone=st.sampled_from([zone for zone in ZONES if zone not in UNEVEN]),
    start=st.datetimes(datetime(1993, 1, 1), datetime(2040, 1, 1)),
    hours=st.integers(1, 20_000),
    places=st.lists(st.floats(0, 0.999), min_size=5, max_size=5),
)
def test_offsets_are_those_of_the_clock(zone, start, hours, places):
    start = start.replace(tzinfo=UTC)
    period = make_period(start, start + timedelta(hours=hours), ZoneInfo(zone))
    spans = list_offsets(period)
    assert [spans[0].start, spans[-1].end] == [period.start, period.end]
    assert all(a.end == b.start for a, b in pairwise(spans))
    for place in places:
        moment = period.start + int(place * (period.end - period.start))
        [span] = [each for each in spans if each.start <= moment < each.end]
        offset = datetime.fromtimestamp(moment, period.zone).utcoffset()
        assert offset == timedelta(seconds=span.bucket)


def test_an_hour_in_which_the_clock_is_set_ends_there():
    zone = ZoneInfo("Australia/Lord_Howe")
    start, end = datetime(2026, 4, 5, 1, tzinfo=zone), datetime(2026, 4, 5, 3, tzinfo=zone)
    buckets = list_buckets(make_period(start, end, zone), "hour")
    assert [(bucket.name, bucket.end - bucket.start) for bucket in buckets] == [
        ("2026-04-05T01:00+11:00", 3600),
        ("2026-04-05T01:30+10:30", 1800),
        ("2026-04-05T02:00+10:30", 3600),
    ]


def test_a_day_that_a_zone_left_out_has_no_bucket():
    zone = ZoneInfo("Pacific/Apia")
    period = make_period(
        datetime(2011, 12, 29, tzinfo=zone), datetime(2012, 1, 1, tzinfo=zone), zone
    )
    names = [bucket.name for bucket in list_buckets(period, "day")]
    assert names == ["2011-12-29", "2011-12-31"]


@pytest.mark.parametrize(
    ("day", "hours"), [(date(2026, 3, 29), 23), (date(2026, 10, 25), 25), (date(2026, 7, 1), 24)]
)
def test_the_day_before_a_day_is_a_whole_one_too(day, hours):
    zone = ZoneInfo("Europe/Berlin")
    start = datetime(day.year, day.month, day.day, tzinfo=zone)
    period = make_period(start, start + timedelta(days=1), zone)
    assert period.end - period.start == hours * 3600
    assert period.previous().end - period.previous().start == 24 * 3600
    following = make_period(start + timedelta(days=1), start + timedelta(days=2), zone)
    assert following.previous() == period
