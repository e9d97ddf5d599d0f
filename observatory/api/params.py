"""Query strings: validated by marshmallow, once per distinct string.

Clients ask the same few questions again and again, and validating costs more than the query of a
single row; so what a query string means is remembered.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import falcon
from marshmallow import Schema, ValidationError, fields, post_load, validate, validates_schema

from observatory.timestamps import parse_moment

MAX_QUERY_CHARACTERS = 4096
MAX_OFFSET = 10_000_000
_MAX_KEY = 2**53
_SURROGATE = re.compile("[\ud800-\udfff]")


class WholeNumber(fields.Integer):
    """An integer in plain digits: ``5`` and not ``5.0``, ``0x5`` or ``5_0``."""

    default_error_messages = {"invalid": "Takes a whole number."}

    def _validated(self, value: Any) -> int:
        if not isinstance(value, str) or not re.fullmatch(r"-?[0-9]{1,16}", value):
            raise self.make_error("invalid", input=value)
        return int(value)


class Moment(fields.Field[str]):
    """A day or a time in ISO 8601, in the one text form; a day means its first or last instant."""

    def __init__(self, *, is_end: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.is_end = is_end

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> str:
        parsed = parse_moment(value, is_end=self.is_end) if isinstance(value, str) else None
        if parsed is None:
            raise ValidationError("Takes a day (2026-01-31) or a time (2026-01-31T12:00:00Z).")
        return parsed


class Text(fields.String):
    """Text without NUL, which SQLite would cut, and without lone surrogates."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> str:
        text = super()._deserialize(value, attr, data, **kwargs)
        if text is None or "\0" in text or (not text.isascii() and _SURROGATE.search(text)):
            raise ValidationError("Takes text without control characters.")
        return text


class PageParams(Schema):
    """``limit`` and ``offset`` of a list."""

    limit: fields.Integer = WholeNumber(load_default=50, validate=validate.Range(1, 100))
    offset: fields.Integer = WholeNumber(load_default=0, validate=validate.Range(0, MAX_OFFSET))


class CursorParams(PageParams):
    """A list that can be read on from a cursor too."""

    cursor = Text(load_default=None, validate=validate.Length(1, 2000))

    @validates_schema
    def check_start(self, data: dict[str, Any], **kwargs: Any) -> None:
        """Refuse a cursor together with an offset."""
        if data.get("cursor") and data.get("offset"):
            raise ValidationError("Give a cursor or an offset, not both.", "offset")

    @post_load
    def freeze(self, data: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Return the parameters as they are; subclasses may shape them."""
        return data


class NoParams(Schema):
    """No parameters at all."""


@lru_cache(maxsize=2048)
def _load(schema: type[Schema], query_string: str) -> tuple[dict[str, Any], Any]:
    given = falcon.uri.parse_query_string(query_string, keep_blank=True, csv=False)
    loader = schema()
    loaded: dict[str, Any] = loader.load(given)
    loaded.pop("columns", None)
    columns = loader.fields.get("columns")
    if columns is None or columns.data_key not in given:
        return loaded, None
    return loaded, columns.deserialize(given[columns.data_key])


def read_params(req: falcon.Request, schema: type[Schema]) -> dict[str, Any]:
    """Return the parameters of a request, each with its default. Do not change them.

    The fields that a client chose (``columns`` of a schema) go to the answer, not to the store.

    Raises:
        ValidationError: Some are unknown, given twice, or malformed.
    """
    query_string = req.query_string
    if len(query_string) > MAX_QUERY_CHARACTERS:
        raise ValidationError(f"Longer than {MAX_QUERY_CHARACTERS} characters.", "query")
    params, columns = _load(schema, query_string)
    if columns is not None:
        req.context.columns = columns
    return params


def read_key(text: str, field: str = "id") -> int:
    """Return the whole number that names a row in a path.

    Raises:
        ValidationError: It is none.
    """
    if not re.fullmatch(r"[0-9]{1,16}", text) or int(text) > _MAX_KEY:
        raise ValidationError("Takes a whole number.", field)
    return int(text)
