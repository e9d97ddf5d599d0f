"""Reading the sums: of a period, where somebody may look, by what is asked."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from observatory.errors import NotFound
from observatory.store.analytics.periods import Period, Segment, is_one_unit, split
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


# No place has this key.
_NOWHERE = -1


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

    @property
    def is_together(self) -> bool:
        """Whether it is of all places, of which there are sums together."""
        return self.scope.is_whole and self.project_key is None

    def and_there(self, conversations: str) -> str:
        """Return what narrows a statement to the scope and the project, as Scope.and_there does."""
        there = self.scope.and_there(conversations)
        if self.project_key is None:
            return there
        return f"{there} AND {conversations}.project_key = {self.project_key:d}"

    def and_placed(self, conversations: str) -> str:
        """Return the same by where conversations stand: one comparison for each."""
        if self.is_together:
            return ""
        if self.scope.is_whole:
            places = f"SELECT key FROM places WHERE project_key = {self.project_key:d}"
        else:
            found = find_places(self.scope, project_key=self.project_key)
            # Of no places at all SQLite would not use the index that it is told to.
            places = ",".join(map(str, found or [_NOWHERE]))
        return f" AND {conversations}.place_key IN ({places})"

    def over(self, period: Period) -> Asked:
        """Return the same question about another time."""
        return Asked(period, self.scope, self.project_key, self.model)

    def of_all_projects(self) -> Asked:
        """Return the same question about all projects that are there."""
        return Asked(self.period, self.scope, None, self.model)

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
    among: Mapping[str, Sequence[int]] | None = None,
    places: list[int] | None = None,
    order_by: str | None = None,
    limit: int | None = None,
    offset: int = 0,
    is_zero_left_out: bool = False,
) -> list[tuple[Any, ...]]:
    """Return sums as rows: what they are by, then the measures.

    Args:
        sums: Which ones.
        asked: Of what, for whom.
        by: Names of the sums, PROJECT, BUCKET or WEEK_HOUR; nothing for one row over all.
        measures: Which measures; by default all.
        segments: The spans to read; by default the period.
        only: Names of the sums with what they must be.
        among: Names of the sums with what they must be one of.
        places: Only of these places, which are there for who asks.
        order_by: The measure of which the largest come first.
        limit: Largest number of rows.
        offset: How many of them to pass over.
        is_zero_left_out: Whether what adds nothing to that measure is not read.
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
    assert all(span.sign > 0 for span in spans) or not {*measures} & {*sums.largest}
    is_together = sums.has_together and sums.names[0] not in (*by, *(only or ()))
    names = sums.names[1:] if is_together else sums.names
    is_row_each = len(places) == 1 and {*by} == {BUCKET, *names} and _are_single(spans)
    narrowed = "".join(f" AND r.{name} = :{name}" for name in only or ())
    if is_zero_left_out:
        narrowed += f" AND r.{order_by} > 0"
    for name in among or ():
        narrowed += f" AND r.{name} IN (SELECT value FROM json_each(:{name}))"
    sql = _statement(sums, by, measures, spans, places, narrowed, is_row_each=is_row_each)
    levels = TOGETHER if is_together else 0
    parameters: dict[str, Any] = {
        "segments": _as_json((span for span in spans if span.level != QUARTER), more_levels=levels),
        "quarters": _as_json(span for span in spans if span.level == QUARTER),
        "places": json.dumps(places),
        **(only or {}),
        **{name: json.dumps(wanted) for name, wanted in (among or {}).items()},
    }
    if order_by is not None:
        place = len(by) + measures.index(order_by) + 1
        sql += f" ORDER BY {place} DESC, 1 LIMIT :limit OFFSET :offset"
        parameters |= {"limit": -1 if limit is None else limit, "offset": offset}
    rows = fetch_all(sql, parameters)
    # One row over nothing holds nothing.
    return rows if by else [tuple(value or 0 for value in row) for row in rows]


def _are_single(spans: Sequence[Segment]) -> bool:
    """Tell whether each of some spans is one unit of its level, and of another bucket."""
    return len({span.bucket for span in spans}) == len(spans) and all(
        span.sign > 0 and is_one_unit(span.level, span.start, span.end) for span in spans
    )


def _as_json(spans: Iterable[Segment], *, more_levels: int = 0) -> str:
    told = [(bucket, level + more_levels, *others) for bucket, level, *others in spans]
    return orjson.dumps(told).decode()


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
    narrowed: str,
    *,
    is_row_each: bool,
) -> str:
    columns = ("start", "place_key", *sums.names, *measures)
    rollups = [span for span in spans if span.level != QUARTER]
    quarters = [span for span in spans if span.level == QUARTER]
    sources = [(_read_rollups(sums, columns) + narrowed, rollups)] if rollups else []
    if quarters:
        sources.append((_read_parts(sums, columns, places) + narrowed, quarters))
    if is_row_each:
        # Nothing is to be summed up, and all is in order.
        return f"SELECT {', '.join((*by, *measures))} FROM ({sources[0][0]})"
    joined = " JOIN places pl ON pl.key = place_key" if PROJECT in by else ""
    expressions = {name: _EXPRESSIONS.get(name, name) for name in by}
    summed = [
        _sum_up(expressions, _add_up(sums, measures, read), f"({source}){joined}")
        for source, read in sources
    ]
    if len(summed) == 1:
        return summed[0]
    # Each by itself, so that it need not be sorted when it is in order.
    again = _add_up(sums, measures, ())
    return _sum_up({name: name for name in by}, again, f"({' UNION ALL '.join(summed)})")


def _add_up(sums: Sums, measures: Iterable[str], spans: Iterable[Segment]) -> dict[str, str]:
    """Return how each measure is added up, with the signs of what is read."""
    signs = {span.sign for span in spans}
    added = "sum(sign * {})" if len(signs) > 1 else "-sum({})" if signs == {-1} else "sum({})"
    return {name: ("max({})" if name in sums.largest else added).format(name) for name in measures}


def _sum_up(by: Mapping[str, str], measures: Mapping[str, str], source: str) -> str:
    """Return what sums up a source; both mappings tell what is named how."""
    columns = ", ".join(f"{how} AS {name}" for name, how in {**by, **measures}.items())
    grouped = f" GROUP BY {', '.join(str(n + 1) for n in range(len(by)))}" if by else ""
    return f"SELECT {columns} FROM {source}{grouped}"


# In their order: what is read for one bucket after the other is not sorted to be grouped. And each
# is taken apart once: without an order SQLite would do so again for each row that it compares.
_SPANS = (
    "(SELECT value ->> 0 AS bucket, value ->> 1 AS level, value ->> 2 AS first,"
    " value ->> 3 AS last, value ->> 4 AS sign FROM json_each(:{}) ORDER BY 1) s"
)


def _read_rollups(sums: Sums, columns: Iterable[str]) -> str:
    return (
        f"SELECT s.bucket, s.sign, {', '.join(f'r.{name}' for name in columns)}"
        f" FROM {_SPANS.format('segments')} CROSS JOIN json_each(:places) p"
        f" CROSS JOIN {sums.rollups} r ON r.level = s.level AND r.place_key = p.value"
        " AND r.start >= s.first AND r.start < s.last"
    )


def _read_parts(sums: Sums, columns: Iterable[str], places: list[int]) -> str:
    there = (
        ""
        if places == [EVERYWHERE]
        else " AND r.place_key IN (SELECT value FROM json_each(:places))"
    )
    return (
        f"SELECT s.bucket, s.sign, {', '.join(f'r.{name}' for name in columns)}"
        f" FROM {_SPANS.format('quarters')}"
        f" CROSS JOIN {sums.parts} r INDEXED BY {sums.parts}_by_time"
        f" ON r.start >= s.first AND r.start < s.last{there}"
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
