"""Bodies and answers about budgets."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from observatory.api.bodies import JsonInteger
from observatory.api.params import PageParams, Text
from observatory.api.report_params import Zone
from observatory.api.schemas import Count, Flag, Time
from observatory.store.budget_states import THRESHOLDS
from observatory.store.budgets import PERIODS

MAX_NAME_CHARACTERS = 100
# A thousand million dollars; with it all sums are whole numbers of SQLite.
MAX_LIMIT = 10**15

_NAME = validate.Length(1, MAX_NAME_CHARACTERS)
_PERIOD = validate.OneOf(PERIODS)
_PATH = validate.Length(1, 4096)
_MODEL = validate.Length(1, 200)
_LIMITS = ("limit_microdollars", "limit_tokens")


class ZoneName(Text):
    """The IANA name of a time zone, as it is stored."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> str:
        zone: ZoneInfo = Zone().deserialize(value)
        return zone.key


class Limit(JsonInteger):
    """How much may be spent; ``null`` says that something else is limited."""

    def __init__(self) -> None:
        wrong = f"Takes a whole number from 1 to {MAX_LIMIT}."
        super().__init__(
            allow_none=True,
            validate=validate.Range(1, MAX_LIMIT, error=wrong),
            error_messages={"invalid": wrong, "too_large": wrong},
        )


def _check_limits(data: dict[str, Any]) -> None:
    """Return quietly when exactly one limit is given.

    Raises:
        ValidationError: None is, or both are.
    """
    given = [name for name in _LIMITS if data.get(name) is not None]
    if not given:
        raise ValidationError("Give limit_microdollars or limit_tokens.", "limit_microdollars")
    if len(given) > 1:
        raise ValidationError("Give limit_microdollars or limit_tokens, not both.", "limit_tokens")


class CreateBudget(Schema):
    """The body of ``POST /api/budgets``; it takes one of the two limits."""

    name = Text(required=True, validate=_NAME)
    period = Text(required=True, validate=_PERIOD)
    timezone = ZoneName(load_default="UTC")
    project_path = Text(load_default=None, allow_none=True, validate=_PATH)
    model = Text(load_default=None, allow_none=True, validate=_MODEL)
    limit_microdollars = Limit()
    limit_tokens = Limit()

    @validates_schema
    def check_limits(self, data: dict[str, Any], **kwargs: Any) -> None:
        """Refuse a budget without a limit, and one with two."""
        _check_limits(data)


class ChangeBudget(Schema):
    """The body of ``PATCH /api/budgets/{id}``; what is not given stays.

    A limit takes the place of the other one.
    """

    name = Text(validate=_NAME)
    period = Text(validate=_PERIOD)
    timezone = ZoneName()
    project_path = Text(allow_none=True, validate=_PATH)
    model = Text(allow_none=True, validate=_MODEL)
    limit_microdollars = Limit()
    limit_tokens = Limit()

    @validates_schema
    def check_change(self, data: dict[str, Any], **kwargs: Any) -> None:
        """Refuse a change of nothing, and one that leaves no limit or two."""
        if not data:
            raise ValidationError("Takes at least one field.", "body")
        if data.keys() & set(_LIMITS):
            _check_limits(data)


class BudgetParams(PageParams):
    """Which page of budgets."""


def _percent() -> fields.Float:
    return fields.Float(required=True, allow_none=True)


class BudgetState(Schema):
    """How far a budget is used in the period that runs.

    Where a price is not known, ``cost_complete`` is false and ``unpriced_tokens`` says of how many
    tokens: the cost is then the least that it can be, and ``null`` when no price is known at all.
    """

    period_from = Time(required=True)
    period_to = Time(required=True)
    spent_microdollars = Count(required=True, allow_none=True)
    spent_tokens = Count(required=True)
    cost_complete = Flag(required=True)
    unpriced_tokens = Count(required=True)
    used_percent = _percent()
    level = fields.Integer(required=True, strict=True, validate=validate.OneOf((0, *THRESHOLDS)))
    remaining = Count(required=True, allow_none=True)
    projected_percent = _percent()


class Budget(Schema):
    """One budget; one of the two limits is ``null``."""

    id = Count(required=True)
    name = fields.String(required=True)
    period = fields.String(required=True, validate=_PERIOD)
    timezone = fields.String(required=True)
    project_path = fields.String(required=True, allow_none=True)
    model = fields.String(required=True, allow_none=True)
    limit_microdollars = Count(required=True, allow_none=True)
    limit_tokens = Count(required=True, allow_none=True)
    created_at = Time(required=True)
    updated_at = Time(required=True)
    state = fields.Nested(BudgetState, required=True)
