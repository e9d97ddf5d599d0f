"""Budgets as they are stored: what may be spent in a day, week or month, and by what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from observatory.errors import Conflict, Forbidden, NotFound
from observatory.store.database import execute, fetch_all, fetch_one, writing
from observatory.store.event_notes import forget_budget
from observatory.store.scopes import WHOLE, Scope
from observatory.timestamps import now

MAX_BUDGETS = 100
PERIODS = ("day", "week", "month")
# What is spent, and what may be: with any other of these it begins anew.
_MEASURED = (
    "period", "timezone", "project_path", "model", "limit_nanodollars", "limit_tokens",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Budget:
    """One budget; its id in the API is its key here.

    Attributes:
        period: One of PERIODS, as the clock of ``timezone`` shows them; weeks begin on Monday.
        timezone: The IANA name of a zone.
        project_path: Only what is spent in this project, which may not be there yet.
        model: Only what is spent for this model.
        limit_nanodollars: What may be spent in a period, or ``None`` when tokens are limited.
        limit_tokens: The same in tokens of all four kinds.
        noted_period: When the period began in which a threshold was told of last.
        noted_percent: The highest threshold that was told of then.
        project_key: The project that has the path now, if there is one.
    """

    key: int
    name: str
    period: str
    timezone: str
    project_path: str | None
    model: str | None
    limit_nanodollars: int | None
    limit_tokens: int | None
    created_at: str
    updated_at: str
    noted_period: str | None
    noted_percent: int
    project_key: int | None

    def document(self) -> dict[str, Any]:
        """Return the budget as the API shows it, without its state."""
        nanodollars = self.limit_nanodollars
        return {
            "id": self.key,
            "name": self.name,
            "period": self.period,
            "timezone": self.timezone,
            "project_path": self.project_path,
            "model": self.model,
            "limit_microdollars": None if nanodollars is None else nanodollars // 1000,
            "limit_tokens": self.limit_tokens,
            "created_at": self.created_at,
            "updated_at": self.updated_at,
        }


_SELECT = """
    SELECT b.key, b.name, b.period, b.timezone, b.project_path, b.model, b.limit_nanodollars,
        b.limit_tokens, b.created_at, b.updated_at, b.noted_period, b.noted_percent, p.key
    FROM budgets b LEFT JOIN projects p ON p.path = b.project_path
"""


def _there(scope: Scope) -> str:
    """Return the condition that a budget ``b`` of a project ``p`` is there for somebody.

    What is over more than a project counts everything, so it is there for who sees everything.
    """
    return "1" if scope.is_whole else f"(p.key IS NOT NULL AND {scope.condition('p.key')})"


def insert_budget(
    *,
    name: str,
    period: str,
    timezone: str,
    project_path: str | None,
    model: str | None,
    limit_microdollars: int | None,
    limit_tokens: int | None,
    scope: Scope,
) -> Budget:
    """Insert a budget and return it.

    Args:
        name: What people call it.
        period: One of PERIODS.
        timezone: The IANA name of a zone.
        project_path: Only of this project.
        model: Only of this model.
        limit_microdollars: What may be spent; or else
        limit_tokens: the same in tokens.
        scope: What is there for who makes it.

    Raises:
        Conflict: There are MAX_BUDGETS already.
        Forbidden: It is over everything, and not everything is there for who makes it.
        NotFound: There is no such project for them.
    """
    moment = now()
    with writing():
        _check_project(project_path, scope=scope)
        counted = fetch_one("SELECT count(*) FROM budgets")
        if counted and counted[0] >= MAX_BUDGETS:
            raise Conflict(f"There are {MAX_BUDGETS} budgets already; delete one first.")
        row = fetch_one(
            "INSERT INTO budgets (name, period, timezone, project_path, model, limit_nanodollars,"
            " limit_tokens, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
            " RETURNING key",
            (
                name,
                period,
                timezone,
                project_path,
                model,
                None if limit_microdollars is None else limit_microdollars * 1000,
                limit_tokens,
                moment,
                moment,
            ),
        )
        assert row is not None
        return get_budget(row[0], scope=scope)


def _check_project(path: str | None, *, scope: Scope) -> None:
    """Return quietly when somebody may have a budget of a project, or of everything.

    Who sees everything may name a project that is still to come; for others it has to be there.
    """
    if scope.is_whole:
        return
    if path is None:
        raise Forbidden(
            "Budgets over all projects are made by those who see all; give a project_path."
        )
    row = fetch_one("SELECT key FROM projects WHERE path = ?", (path,))
    if row is None or not scope.allows(row[0]):
        raise NotFound("project", path)


def get_budget(key: int, *, scope: Scope) -> Budget:
    """Return a budget.

    Raises:
        NotFound: There is none for who asks.
    """
    row = fetch_one(f"{_SELECT} WHERE b.key = ? AND {_there(scope)}", (key,))
    if row is None:
        raise NotFound("budget", str(key))
    return Budget(*row)


def list_budgets(*, scope: Scope, limit: int = MAX_BUDGETS, offset: int = 0) -> list[Budget]:
    """Return the budgets that are there for somebody, in the order of their making.

    Args:
        scope: What is there for who asks.
        limit: Largest number of them.
        offset: How many to pass over.
    """
    rows = fetch_all(
        f"{_SELECT} WHERE {_there(scope)} ORDER BY b.key LIMIT ? OFFSET ?", (limit, offset)
    )
    return [Budget(*row) for row in rows]


def count_budgets(*, scope: Scope) -> int:
    """Return how many budgets are there for somebody."""
    row = fetch_one(
        "SELECT count(*) FROM budgets b LEFT JOIN projects p ON p.path = b.project_path"
        f" WHERE {_there(scope)}"
    )
    return row[0] if row else 0


def update_budget(key: int, changes: dict[str, Any], *, scope: Scope) -> Budget:
    """Change a budget and return it.

    With another limit, period, zone, project or model it begins anew: thresholds are told of
    again. What was told of another project is taken back.

    Args:
        key: Which one.
        changes: New values, by the names of ``insert_budget``; what is missing stays. A limit
            takes the place of the other one.
        scope: What is there for who changes it.

    Raises:
        NotFound: There is none for who asks, or no such project.
        Forbidden: It would be over everything, and not everything is there for who changes it.
    """
    columns = {name: value for name, value in changes.items() if not name.startswith("limit_")}
    if changes.get("limit_microdollars") is not None:
        columns |= {"limit_nanodollars": changes["limit_microdollars"] * 1000, "limit_tokens": None}
    elif changes.get("limit_tokens") is not None:
        columns |= {"limit_nanodollars": None, "limit_tokens": changes["limit_tokens"]}
    with writing():
        known = get_budget(key, scope=scope)
        if "project_path" in columns:
            _check_project(columns["project_path"], scope=scope)
        changed = {name for name, value in columns.items() if value != getattr(known, name)}
        if changed.intersection(_MEASURED):
            columns |= {"noted_period": None, "noted_percent": 0}
        if "project_path" in changed:
            forget_budget(key)
        columns["updated_at"] = now()
        assignments = ", ".join(f"{name} = ?" for name in columns)
        execute(f"UPDATE budgets SET {assignments} WHERE key = ?", (*columns.values(), key))
        return get_budget(key, scope=scope)


def move_budgets(path: str, *, to: str) -> None:
    """Let the budgets of a project be of another path, inside a transaction.

    A project got another path because there was a secret in it, which must not stay here.
    """
    execute("UPDATE budgets SET project_path = ? WHERE project_path = ?", (to, path))


def note_told(key: int, *, period_from: str, percent: int) -> None:
    """Note, inside a transaction, which threshold was told of in a period."""
    execute(
        "UPDATE budgets SET noted_period = ?, noted_percent = ? WHERE key = ?",
        (period_from, percent, key),
    )


def delete_budget(key: int, *, scope: Scope) -> None:
    """Delete a budget with its events.

    Raises:
        NotFound: There is none for who asks.
    """
    with writing():
        get_budget(key, scope=scope)
        execute("DELETE FROM budgets WHERE key = ?", (key,))
        forget_budget(key)


def list_all_budgets() -> list[Budget]:
    """Return all budgets, for what is told of them."""
    return list_budgets(scope=WHOLE)
