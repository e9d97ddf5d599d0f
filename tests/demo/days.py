"""When the team works: on weekdays, with a lunch, seldom late, more and more."""

import random
from datetime import datetime, timedelta

SPAN_DAYS = 60
_REST = timedelta(hours=5)
_WEEKDAYS = (1.0, 1.15, 1.25, 1.1, 0.8, 0.12, 0.08)
_HOURS = {
    8: 0.35, 9: 1.0, 10: 1.3, 11: 1.2, 12: 0.3, 13: 0.7, 14: 1.2, 15: 1.3, 16: 1.1, 17: 0.7,
    18: 0.25, 20: 0.2, 21: 0.3, 22: 0.12,
}  # fmt: skip


def choose_starts(now: datetime, *, count: int, rng: random.Random) -> list[datetime]:
    """Return when so many sessions begin in the sixty days before ``now``, in order.

    The hours are those of the zone of ``now``; the last one is some hours ago.
    """
    hours = [
        (begin, weight)
        for age in range(SPAN_DAYS + 1)
        for begin, weight in _weigh_hours((now - timedelta(days=age)), age)
        if begin + timedelta(hours=1) < now - _REST
    ]
    places, weights = zip(*hours, strict=True)
    drawn = rng.choices(places, weights, k=count)
    return sorted(begin + timedelta(seconds=rng.randrange(3600)) for begin in drawn)


def _weigh_hours(day: datetime, age: int) -> list[tuple[datetime, float]]:
    weight = _WEEKDAYS[day.weekday()] * (1.3 - 0.7 * age / SPAN_DAYS)
    midnight = day.replace(hour=0, minute=0, second=0, microsecond=0)
    return [(midnight + timedelta(hours=hour), weight * share) for hour, share in _HOURS.items()]
