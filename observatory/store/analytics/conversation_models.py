"""What single conversations used in a period, by model."""

from __future__ import annotations

import json
from collections.abc import Iterable

from observatory.store.analytics import figures
from observatory.store.analytics.figures import Numbers
from observatory.store.analytics.periods import Period
from observatory.store.database import fetch_all
from observatory.store.rollup_tables import NO_MODEL, USAGE

_SUMMED = ", ".join(f"sum(u.{name})" for name in USAGE.measures)
_MODELS = f"""
    SELECT c.id, u.model, {_SUMMED}
    FROM json_each(:ids) w CROSS JOIN conversations c ON c.id = w.value
    CROSS JOIN conversation_usage u ON u.conversation_key = c.key
    WHERE u.model != :no_model AND u.start >= :start AND u.start < :end
    GROUP BY 1, 2
"""


def read_models_of(ids: Iterable[str], period: Period) -> dict[str, dict[str, Numbers]]:
    """Return the sums of conversations by their ids and then by model.

    Args:
        ids: Of conversations that are there for who asks.
        period: Of which time.
    """
    rows = fetch_all(
        _MODELS,
        {
            "ids": json.dumps(list(ids)),
            "no_model": NO_MODEL,
            "start": period.start,
            "end": period.end,
        },
    )
    found: dict[str, dict[str, Numbers]] = {}
    for identifier, model, *numbers in rows:
        found.setdefault(identifier, {})[model] = figures.number(numbers)
    return found
