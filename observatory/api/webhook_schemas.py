"""Bodies and answers about webhooks."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from observatory.api.params import CursorParams, PageParams, Text
from observatory.api.schemas import ROLES, Count, Flag, Time
from observatory.store.event_notes import TYPES
from observatory.store.webhook_deliveries import STATUSES, TEST_TYPE
from observatory.webhooks.addresses import MAX_URL_CHARACTERS
from observatory.webhooks.signing import MAX_SECRET_CHARACTERS, MIN_SECRET_BYTES

_URL = validate.Length(1, MAX_URL_CHARACTERS)
_DESCRIPTION = validate.Length(0, 500)
_EVENTS = validate.Length(max=2 * len(TYPES))


class Secret(Text):
    """What signs: at least MIN_SECRET_BYTES bytes of text."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> str:
        text = super()._deserialize(value, attr, data, **kwargs)
        if len(text.encode()) < MIN_SECRET_BYTES:
            raise ValidationError(f"Takes at least {MIN_SECRET_BYTES} bytes.")
        return text


class WebhookFilters(Schema):
    """What else events must be; what is not given does not narrow."""

    project_path = Text(load_default=None, allow_none=True, validate=validate.Length(1, 4096))
    conversation_id = Text(load_default=None, allow_none=True, validate=validate.Length(1, 200))
    role = Text(load_default=None, allow_none=True, validate=validate.OneOf(ROLES))
    tool = Text(load_default=None, allow_none=True, validate=validate.Length(1, 200))


class CreateWebhook(Schema):
    """The body of ``POST /api/webhooks``."""

    url = Text(required=True, validate=_URL)
    description = Text(load_default="", validate=_DESCRIPTION)
    events = fields.List(Text(validate=validate.OneOf(TYPES)), load_default=list, validate=_EVENTS)
    filters = fields.Nested(WebhookFilters, load_default=dict)
    secret = Secret(load_default=None, validate=validate.Length(max=MAX_SECRET_CHARACTERS))
    is_active = Flag(load_default=True)


class ChangeWebhook(Schema):
    """The body of ``PATCH /api/webhooks/{id}``; what is not given stays."""

    url = Text(validate=_URL)
    description = Text(validate=_DESCRIPTION)
    events = fields.List(Text(validate=validate.OneOf(TYPES)), validate=_EVENTS)
    filters = fields.Nested(WebhookFilters)
    secret = Secret(validate=validate.Length(max=MAX_SECRET_CHARACTERS))
    rotate_secret = Flag()
    is_active = Flag()

    @validates_schema
    def check_change(self, data: dict[str, Any], **kwargs: Any) -> None:
        """Refuse a change of nothing, and two ways to another secret."""
        if not data:
            raise ValidationError("Takes at least one field.", "body")
        if "secret" in data and data.get("rotate_secret"):
            raise ValidationError("Give a secret or let one be made, not both.", "rotate_secret")


class WebhookParams(PageParams):
    """Which page of webhooks."""


class DeliveryParams(CursorParams):
    """Which deliveries of a webhook."""

    status = Text(load_default=None, validate=validate.OneOf(STATUSES))


class ShownFilters(Schema):
    """What else events must be; ``null`` does not narrow."""

    project_path = fields.String(required=True, allow_none=True)
    conversation_id = fields.String(required=True, allow_none=True)
    role = fields.String(required=True, allow_none=True)
    tool = fields.String(required=True, allow_none=True)


class WebhookState(Schema):
    """How it goes. ``switched_off`` is why it is not active, unless somebody said so."""

    switched_off = fields.String(
        required=True, allow_none=True, validate=validate.OneOf(("gone", "failing"))
    )
    switched_off_at = Time(required=True, allow_none=True)
    dead_in_a_row = Count(required=True)
    pending_deliveries = Count(required=True)
    last_delivered_at = Time(required=True, allow_none=True)
    missed_events_at = Time(required=True, allow_none=True)


class Webhook(Schema):
    """One webhook, without its secret."""

    id = Count(required=True)
    url = fields.String(required=True)
    description = fields.String(required=True)
    events = fields.List(fields.String(validate=validate.OneOf(TYPES)), required=True)
    filters = fields.Nested(ShownFilters, required=True)
    project_ids = fields.List(Count(), required=True, allow_none=True)
    is_active = Flag(required=True)
    created_at = Time(required=True)
    updated_at = Time(required=True)
    state = fields.Nested(WebhookState, required=True)


class NewWebhook(Webhook):
    """A webhook; ``secret`` is the one that was made just now, or ``null``. It is shown once."""

    secret = fields.String(required=True, allow_none=True)


class Delivery(Schema):
    """One event for one webhook; a test has no event."""

    id = fields.String(required=True)
    webhook_id = Count(required=True)
    event_id = Count(required=True, allow_none=True)
    event_type = fields.String(required=True, validate=validate.OneOf((*TYPES, TEST_TYPE)))
    status = fields.String(required=True, validate=validate.OneOf(STATUSES))
    attempts = Count(required=True)
    created_at = Time(required=True)
    next_attempt_at = Time(required=True, allow_none=True)
    last_attempt_at = Time(required=True, allow_none=True)
    last_status = Count(required=True, allow_none=True)
    last_error = fields.String(required=True, allow_none=True)
    finished_at = Time(required=True, allow_none=True)
