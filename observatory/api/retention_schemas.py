"""Bodies and answers about how long conversations are kept."""

from __future__ import annotations

from marshmallow import Schema, fields, validate

from observatory.api.bodies import JsonInteger
from observatory.api.params import Text
from observatory.api.schemas import Count, Flag, Time
from observatory.store.retention import ACTIONS, MAX_DAYS, TRASH

_WRONG = f"Takes a whole number of days from 1 to {MAX_DAYS}, or null to keep them for ever."


class SetRetention(Schema):
    """The body of ``PUT /api/projects/{id}/retention``.

    ``days`` is how long after the last activity the ``action`` comes: ``trash``, or ``remove`` for
    good; ``null`` keeps everything.
    """

    days = JsonInteger(
        required=True,
        allow_none=True,
        validate=validate.Range(1, MAX_DAYS, error=_WRONG),
        error_messages={"invalid": _WRONG, "too_large": _WRONG, "required": _WRONG},
    )
    action = Text(load_default=TRASH, validate=validate.OneOf(ACTIONS))


class Retention(Schema):
    """For how long the conversations of a project are kept; ``is_default`` by the server's rule."""

    project_id = Count(required=True)
    days = Count(required=True, allow_none=True)
    action = fields.String(required=True, validate=validate.OneOf(ACTIONS))
    is_default = Flag(required=True)
    updated_at = Time(required=True, allow_none=True)
