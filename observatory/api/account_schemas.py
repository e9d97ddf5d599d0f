"""Bodies and answers about accounts, sign-ins, keys and the audit log."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from observatory.accounts.passwords import MAX_CHARACTERS
from observatory.accounts.permissions import ROLES, SCOPES
from observatory.accounts.signing_in import EMAIL_CHARACTERS, NAME_CHARACTERS
from observatory.api.bodies import JsonInteger
from observatory.api.params import CursorParams, Moment, PageParams, Text
from observatory.api.schemas import Count, Flag, Time
from observatory.store.audit import ACTIONS
from observatory.timestamps import format_timestamp, now

_EMAIL = validate.Length(1, EMAIL_CHARACTERS)
_NAME = validate.Length(0, NAME_CHARACTERS)
# What is too long is refused here; whether a password is good enough is judged elsewhere.
_PASSWORD = validate.Length(1, MAX_CHARACTERS)
_TOKEN = validate.Length(1, 200)
_ROLE = validate.OneOf(tuple(ROLES))
_MAX_PROJECTS = 1000
_LIFE = re.compile(r"([1-9][0-9]{0,4})([hd])")
_MAX_YEARS = timedelta(days=366 * 10)


class Register(Schema):
    """The body of ``POST /api/auth/register``."""

    email = Text(required=True, validate=_EMAIL)
    password = Text(required=True, validate=_PASSWORD, metadata={"format": "password"})
    name = Text(load_default="", validate=_NAME)
    setup_token = Text(load_default=None, validate=_TOKEN)


class Login(Schema):
    """The body of ``POST /api/auth/login``; ``cookie`` is for pages: a cookie, and no tokens."""

    email = Text(required=True, validate=_EMAIL)
    password = Text(required=True, validate=_PASSWORD, metadata={"format": "password"})
    cookie = Flag(load_default=False)


class Refresh(Schema):
    """The body of ``POST /api/auth/refresh``."""

    refresh_token = Text(required=True, validate=_TOKEN)


class Logout(Schema):
    """The body of ``POST /api/auth/logout``, which may be left out."""

    everywhere = Flag(load_default=False)


class ChangeProfile(Schema):
    """The body of ``PATCH /api/auth/profile``; another address takes the password."""

    name = Text(load_default=None, validate=_NAME)
    email = Text(load_default=None, validate=_EMAIL)
    current_password = Text(load_default=None, validate=_PASSWORD, metadata={"format": "password"})

    @validates_schema
    def check_change(self, data: dict[str, Any], **kwargs: Any) -> None:
        """Refuse a change of nothing, and another address without the password."""
        if data["name"] is None and data["email"] is None:
            raise ValidationError("Takes name, email or both.", "body")
        if data["email"] is not None and data["current_password"] is None:
            raise ValidationError("Another address takes it.", "current_password")


class ChangePassword(Schema):
    """The body of ``POST /api/auth/password``."""

    current_password = Text(required=True, validate=_PASSWORD, metadata={"format": "password"})
    new_password = Text(required=True, validate=_PASSWORD, metadata={"format": "password"})


class CreateUser(Schema):
    """The body of ``POST /api/users``."""

    email = Text(required=True, validate=_EMAIL)
    password = Text(required=True, validate=_PASSWORD, metadata={"format": "password"})
    name = Text(load_default="", validate=_NAME)
    role = Text(load_default="member", validate=_ROLE)


class ChangeUser(Schema):
    """The body of ``PATCH /api/users/{id}``."""

    name = Text(load_default=None, validate=_NAME)
    role = Text(load_default=None, validate=_ROLE)
    disabled = Flag(load_default=None)
    password = Text(load_default=None, validate=_PASSWORD, metadata={"format": "password"})

    @validates_schema
    def check_not_empty(self, data: dict[str, Any], **kwargs: Any) -> None:
        """Refuse a change of nothing."""
        if all(value is None for value in data.values()):
            raise ValidationError("Takes name, role, disabled or password.", "body")


def parse_expiry(text: str) -> str:
    """Return when a key ends, in the one text form.

    Args:
        text: A life such as ``12h`` or ``30d``, a day, or a time in ISO 8601.

    Raises:
        ValidationError: It is none of these, or has passed.
    """
    life = _LIFE.fullmatch(text)
    if life:
        hours = int(life[1]) * (24 if life[2] == "d" else 1)
        moment = format_timestamp(datetime.now(UTC) + min(timedelta(hours=hours), _MAX_YEARS))
    else:
        moment = Moment(is_end=True).deserialize(text)
    if moment <= now():
        raise ValidationError("Takes a time to come.")
    return moment


class Expiry(fields.Field[str]):
    """When a key ends: ``30d``, ``12h``, a day or a time."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> str:
        if not isinstance(value, str) or len(value) > 40:
            raise ValidationError("Takes a life such as 30d or 12h, a day, or a time.")
        return parse_expiry(value)


class CreateApiKey(Schema):
    """The body of ``POST /api/api-keys``."""

    name = Text(required=True, validate=validate.Length(1, NAME_CHARACTERS))
    scopes = fields.List(
        Text(validate=validate.OneOf(tuple(SCOPES))), required=True, validate=validate.Length(1, 20)
    )
    expires_at = Expiry(load_default=None, allow_none=True)
    project_ids = fields.List(
        JsonInteger(validate=validate.Range(0, 2**53)),
        load_default=None,
        allow_none=True,
        validate=validate.Length(1, _MAX_PROJECTS),
    )


class UserParams(PageParams):
    """Which page of accounts."""


class ApiKeyParams(PageParams):
    """Which keys: one's own; an admin may ask for everybody's."""

    owner = Text(load_default="me", validate=validate.OneOf(("me", "all")))


class AuditParams(CursorParams):
    """Which lines of the audit log."""

    action = Text(load_default=None, validate=validate.OneOf(ACTIONS))
    actor = Text(load_default=None, validate=validate.Length(1, 100))
    target = Text(load_default=None, validate=validate.Length(1, 200))
    date_from = Moment(load_default=None)
    date_to = Moment(load_default=None, is_end=True)


class User(Schema):
    """One account."""

    id = Count(required=True)
    email = fields.String(required=True)
    name = fields.String(required=True)
    role = fields.String(required=True, validate=_ROLE)
    disabled = Flag(required=True)
    created_at = Time(required=True)
    updated_at = Time(required=True)
    last_login_at = Time(required=True, allow_none=True)


class Profile(Schema):
    """Who is signed in, and what they may do. Who runs the server has no account."""

    user = fields.Nested(User, required=True, allow_none=True)
    identity = fields.String(required=True)
    permissions = fields.List(fields.String(), required=True)
    csrf_token = fields.String(required=True, allow_none=True)


class Tokens(Schema):
    """A sign-in: the access token goes with each request, the refresh token gets the next one."""

    access_token = fields.String(required=True)
    token_type = fields.String(required=True, validate=validate.OneOf(("Bearer",)))
    expires_in = Count(required=True)
    refresh_token = fields.String(required=True)
    refresh_expires_in = Count(required=True)
    user = fields.Nested(User, required=True)


class CookieSignIn(Schema):
    """A sign-in by a cookie, which comes as ``Set-Cookie``."""

    expires_in = Count(required=True)
    csrf_token = fields.String(required=True)
    user = fields.Nested(User, required=True)


class SignedOut(Schema):
    """How many sign-ins were ended."""

    ended = Count(required=True)


class Removed(Schema):
    """What was removed."""

    id = Count(required=True)


class ApiKey(Schema):
    """One key, without the key."""

    id = Count(required=True)
    name = fields.String(required=True)
    prefix = fields.String(required=True)
    scopes = fields.List(fields.String(), required=True)
    project_ids = fields.List(Count(), required=True, allow_none=True)
    user_id = Count(required=True, allow_none=True)
    created_at = Time(required=True)
    expires_at = Time(required=True, allow_none=True)
    last_used_at = Time(required=True, allow_none=True)


class NewApiKey(ApiKey):
    """A key that was just made; this is the only time that it is shown."""

    key = fields.String(required=True)


class AuditEntry(Schema):
    """One line of the audit log."""

    id = Count(required=True)
    created_at = Time(required=True)
    action = fields.String(required=True, validate=validate.OneOf(ACTIONS))
    actor = fields.String(required=True, allow_none=True)
    actor_name = fields.String(required=True, allow_none=True)
    target = fields.String(required=True, allow_none=True)
    address = fields.String(required=True, allow_none=True)
    request_id = fields.String(required=True, allow_none=True)
    details = fields.Dict(required=True)
