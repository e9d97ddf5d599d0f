"""What every report may be asked: of which time, in which zone, of what, in which form."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

import falcon
from marshmallow import ValidationError, fields, post_load, validate

from observatory.api.auth import scope_of
from observatory.api.params import NoParams, Text
from observatory.errors import InvalidParameter
from observatory.store.analytics.periods import Period, begin_unit, make_period
from observatory.store.analytics.reading import Asked, find_project_key

DEFAULT_DAYS = 30
FORMATS = ("json", "csv", "ndjson")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
# With the last day as ``to``. What lies before 1970 in UTC is cut.
_FIRST, _LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)


@lru_cache(maxsize=1)
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


class Zone(fields.Field[ZoneInfo]):
    """The IANA name of a time zone."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> ZoneInfo:
        if not isinstance(value, str) or value not in _zones() or value == "localtime":
            raise ValidationError("Takes the name of a time zone, such as Europe/Berlin or UTC.")
        return ZoneInfo(value)


class LocalMoment(fields.Field[datetime]):
    """A day, or a time in ISO 8601; without an offset it is of the zone that is asked for."""

    def __init__(self, *, is_end: bool = False, **kwargs: Any) -> None:
        super().__init__(load_default=None, **kwargs)
        self.is_end = is_end

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> datetime:
        wrong = "Takes a day (2026-01-31) or a time (2026-01-31T12:00:00Z) from 1970 to 9998."
        try:
            moment = datetime.fromisoformat(value)
            if _DAY.fullmatch(value):
                moment += timedelta(days=int(self.is_end))
            elif len(value) <= len("2026-01-31"):
                raise ValidationError(wrong)
            if not _FIRST <= moment.replace(tzinfo=UTC) <= _LAST:
                raise ValidationError(wrong)
        except (ValueError, TypeError, OverflowError) as error:
            raise ValidationError(wrong) from error
        return moment


class ReportParams(NoParams):
    """Of which time, in which zone, of what, in which form.

    A day as ``to`` is in the period. Periods are made of whole hours of the zone.
    """

    from_ = LocalMoment(data_key="from")
    to = LocalMoment(is_end=True)
    timezone = Zone(load_default=ZoneInfo("UTC"), metadata={"description": "An IANA name."})
    project = Text(load_default=None, validate=validate.Length(1, 4096))
    model = Text(load_default=None, validate=validate.Length(1, 200))
    format = Text(load_default=None, validate=validate.OneOf(FORMATS))

    @post_load
    def place(self, data: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Give times without an offset the zone."""
        for name in [name for name, value in data.items() if isinstance(value, datetime)]:
            moment = data[name]
            if moment.tzinfo is None:
                data[name] = moment.replace(tzinfo=data["timezone"])
        return data


def complete_against(params: dict[str, Any], period: Period) -> dict[str, Any]:
    """Return parameters in which the second period, if it has one end, is as long as the first.

    Raises:
        InvalidParameter: Its other end lies too far away.
    """
    begun, ended = (datetime.fromtimestamp(t, period.zone) for t in (period.start, period.end))
    length = ended.replace(tzinfo=None) - begun.replace(tzinfo=None)
    start, end = params["against_from_"], params["against_to"]
    try:
        if end is None:
            end = start.astimezone(period.zone) + length
        if start is None:
            start = end.astimezone(period.zone) - length
        if not _FIRST <= end.replace(tzinfo=UTC) <= _LAST or start.year < _FIRST.year:
            raise OverflowError
    except OverflowError as error:
        name = "against_from" if params["against_to"] is None else "against_to"
        raise InvalidParameter(name, "Lies too far away; give both ends.") from error
    return {**params, "against_from_": start, "against_to": end}


def ask(req: falcon.Request, params: dict[str, Any], *, prefix: str = "") -> Asked:
    """Return what a report is asked; by default of the last 30 days with this one.

    Args:
        req: Whose question it is.
        params: The loaded parameters.
        prefix: Of the names of those that say which time and which project.

    Raises:
        InvalidParameter: The period ends before it begins.
        NotFound: There is no such project.
    """
    scope, zone = scope_of(req), params["timezone"]
    end = params[f"{prefix}to"] or datetime.now(UTC)
    start = params[f"{prefix}from_"]
    if start is None:
        # A period that ends at midnight has nothing of the day that begins then.
        last = end.astimezone(zone) - timedelta(microseconds=1)
        first = (last - timedelta(days=DEFAULT_DAYS - 1)).timestamp()
        start = datetime.fromtimestamp(max(begin_unit("day", int(first), zone), 0), UTC)
    return Asked(
        period=make_period(start, end, zone),
        scope=scope,
        project_key=find_project_key(params[f"{prefix}project"], scope=scope),
        model=params["model"],
    )
