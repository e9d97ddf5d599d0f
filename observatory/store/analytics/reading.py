"""Reading the sums: of a period, where somebody may look, by what is asked."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from observatory.errors import NotFound
from observatory.store.analytics.periods import Bucket, Period, Segment, list_buckets, split
from observatory.store.database import fetch_all, fetch_one
from observatory.store.places import find_places, list_places
from observatory.store.projects import find_project
from observatory.store.rollup_tables import EVERYWHERE, QUARTER, TOGETHER, Sums
from observatory.store.scopes import Scope

# What a report can be grouped by beside units of time and the names of its sums.
PROJECT = "project"
BUCKET = "bucket"
# The hour of the week, from Monday 0:00 on, where segments have offsets in place of buckets.
WEEK_HOUR = "week_hour"


@dataclass(frozen=True, slots=True)
class Asked:
    """What every report is asked.

    Attributes:
        period: Of which time.
        scope: What is there for who asks.
        project_key: Only of this project.
        model: Only of this model; of tools it tells nothing.
    """

    period: Period
    scope: Scope
    project_key: int | None = None
    model: str | None = None

    @property
    def only(self) -> dict[str, str]:
        """What the names of the sums of usage must be."""
        return {} if self.model is None else {"model": self.model}

    def and_there(self, conversations: str) -> str:
        """Return what narrows a statement to the scope and the project, as Scope.and_there does."""
        return self.scope.and_there(conversations) + self._and_of_project(conversations)

    def and_among(self, conversations: str) -> str:
        """Return the same for statements that look at most conversations."""
        return self.scope.and_among(conversations) + self._and_of_project(conversations)

    def _and_of_project(self, conversations: str) -> str:
        if self.project_key is None:
            return ""
        return f" AND {conversations}.project_key = {self.project_key:d}"

    def over(self, period: Period) -> Asked:
        """Return the same question about another time."""
        return Asked(period, self.scope, self.project_key, self.model)

    def of_all_models(self) -> Asked:
        """Return the same question about all models."""
        return Asked(self.period, self.scope, self.project_key)


def find_project_key(path: str | None, *, scope: Scope) -> int | None:
    """Return the key of a project by its path; ``None`` for ``None``.

    Raises:
        NotFound: There is none for who asks.
    """
    if path is None:
        return None
    key = find_project(path)
    if key is None or not scope.allows(key):
        raise NotFound("project", path)
    return key


def read_sums(
    sums: Sums,
    asked: Asked,
    *,
    by: Sequence[str] = (),
    measures: Sequence[str] | None = None,
    segments: Iterable[Segment] | None = None,
    only: Mapping[str, str | int] | None = None,
    places: list[int] | None = None,
    order_by: str | None = None,
    limit: int | None = None,
    offset: int = 0,
) -> list[tuple[Any, ...]]:
    """Return sums as rows: what they are by, then the measures.

    Args:
        sums: Which ones.
        asked: Of what, for whom.
        by: Names of the sums, PROJECT, BUCKET or WEEK_HOUR; nothing for one row over all.
        measures: Which measures; by default all.
        segments: The spans to read; by default the period.
        only: Names of the sums with what they must be.
        places: Only of these places, which are there for who asks.
        order_by: The measure of which the largest come first.
        limit: Largest number of rows.
        offset: How many of them to pass over.
    """
    measures = sums.measures if measures is None else measures
    spans = list(split(0, asked.period.start, asked.period.end) if segments is None else segments)
    if not spans:
        return [] if by else [(0,) * len(measures)]
    if places is None:
        places = (
            [place for place, _ in list_places(asked.scope, project_key=asked.project_key)]
            if PROJECT in by
            else find_places(asked.scope, project_key=asked.project_key)
        )
    sql = _statement(sums, by, measures, spans, places, tuple(only or ()))
    is_together = sums.has_together and sums.names[0] not in (*by, *(only or ()))
    levels = TOGETHER if is_together else 0
    parameters: dict[str, Any] = {
        "segments": json.dumps(
            [
                (span.bucket, span.level + levels, span.start, span.end)
                for span in spans
                if span.level != QUARTER
            ]
        ),
        "quarters": json.dumps([span for span in spans if span.level == QUARTER]),
        "places": json.dumps(places),
        **(only or {}),
    }
    if order_by is not None:
        place = len(by) + measures.index(order_by) + 1
        sql += f" ORDER BY {place} DESC, 1 LIMIT :limit OFFSET :offset"
        parameters |= {"limit": -1 if limit is None else limit, "offset": offset}
    rows = fetch_all(sql, parameters)
    # One row over nothing holds nothing.
    return rows if by else [tuple(value or 0 for value in row) for row in rows]


_EXPRESSIONS = {
    PROJECT: "pl.project_key",
    BUCKET: "bucket",
    WEEK_HOUR: "((start + bucket) / 3600 + 72) % 168",
}


def _statement(
    sums: Sums,
    by: Sequence[str],
    measures: Sequence[str],
    spans: list[Segment],
    places: list[int],
    only: tuple[str, ...],
) -> str:
    columns = ("start", "place_key", *sums.names, *measures)
    named = "".join(f" AND r.{name} = :{name}" for name in only)
    sources = []
    if any(span.level != QUARTER for span in spans):
        sources.append(_read_rollups(sums, columns) + named)
    if any(span.level == QUARTER for span in spans):
        sources.append(_read_parts(sums, columns, places) + named)
    grouped = ", ".join(_EXPRESSIONS.get(name, name) for name in by)
    summed = ", ".join(f"{'max' if name in sums.largest else 'sum'}({name})" for name in measures)
    joined = " JOIN places pl ON pl.key = place_key" if PROJECT in by else ""
    return (
        f"SELECT {grouped + ', ' if by else ''}{summed}"
        f" FROM ({' UNION ALL '.join(sources)}){joined}"
        + (f" GROUP BY {', '.join(str(n + 1) for n in range(len(by)))}" if by else "")
    )


def _read_rollups(sums: Sums, columns: Iterable[str]) -> str:
    return (
        f"SELECT s.value ->> 0 AS bucket, {', '.join(f'r.{name}' for name in columns)}"
        " FROM json_each(:segments) s CROSS JOIN json_each(:places) p"
        f" CROSS JOIN {sums.rollups} r ON r.level = s.value ->> 1 AND r.place_key = p.value"
        " AND r.start >= s.value ->> 2 AND r.start < s.value ->> 3"
    )


def _read_parts(sums: Sums, columns: Iterable[str], places: list[int]) -> str:
    there = (
        ""
        if places == [EVERYWHERE]
        else " AND r.place_key IN (SELECT value FROM json_each(:places))"
    )
    return (
        f"SELECT s.value ->> 0 AS bucket, {', '.join(f'r.{name}' for name in columns)}"
        " FROM json_each(:quarters) s"
        f" CROSS JOIN {sums.parts} r INDEXED BY {sums.parts}_by_time"
        f" ON r.start >= s.value ->> 2 AND r.start < s.value ->> 3{there}"
    )


def find_bounds(sums: Sums, asked: Asked) -> tuple[int, int] | None:
    """Return from when to when there is anything in the sums, in Unix seconds, by whole hours.

    Over all times; ``None`` when there is nothing.
    """
    places = find_places(asked.scope, project_key=asked.project_key)
    row = fetch_one(
        "SELECT min(first), max(last) FROM (SELECT"
        f" (SELECT start FROM {sums.rollups} WHERE level = 5 AND place_key = p.value"
        " ORDER BY start LIMIT 1) AS first,"
        f" (SELECT start FROM {sums.rollups} WHERE level = 5 AND place_key = p.value"
        " ORDER BY start DESC LIMIT 1) AS last FROM json_each(?) p)",
        (json.dumps(places),),
    )
    if row is None or row[0] is None:
        return None
    return row[0], row[1] + 3600


def clip(period: Period, sums: Sums, asked: Asked) -> Period | None:
    """Return the part of a period in which there is anything, or ``None`` when there is nothing."""
    bounds = find_bounds(sums, asked)
    if bounds is None:
        return None
    start, end = max(period.start, bounds[0]), min(period.end, bounds[1])
    return Period(start, end, period.zone) if start < end else None


def divide(asked: Asked, unit: str, sums: Sums) -> tuple[list[Bucket], list[Segment]]:
    """Return the units of time from the first with anything in the sums to the last.

    And the spans that they are read from, each with the place of its unit.

    Raises:
        InvalidParameter: They are too many.
    """
    period = clip(asked.period, sums, asked)
    buckets = [] if period is None else list_buckets(period, unit, within=asked.period)
    return buckets, [
        segment
        for place, bucket in enumerate(buckets)
        for segment in split(place, bucket.start, bucket.end)
    ]


def name_projects(keys: Iterable[int]) -> dict[int, dict[str, Any]]:
    """Return id, path and name of projects, by their keys; 0 is none."""
    rows = fetch_all(
        "SELECT p.key, p.path, p.name FROM json_each(?) w JOIN projects p ON p.key = w.value",
        (json.dumps(list(keys)),),
    )
    named = {
        key: {"project_id": key, "project_path": path, "project_name": name}
        for key, path, name in rows
    }
    nothing = {"project_id": None, "project_path": None, "project_name": None}
    return {0: nothing, **named}
