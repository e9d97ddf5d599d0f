"""JSON bodies: bounded, parsed once, validated by a marshmallow schema."""

from __future__ import annotations

from functools import cache
from typing import Any

import falcon
import orjson
from marshmallow import Schema, ValidationError, fields

# JSON is parsed whole, so it is bounded whatever MAX_REQUEST_SIZE_MB allows an upload.
MAX_BODY_BYTES = 10 * 1024 * 1024
MAX_DEPTH = 32
# More than any body takes: each one that is unknown would be told of.
MAX_FIELDS = 200


class JsonInteger(fields.Integer):
    """A whole number as JSON writes it, which does not tell ``5`` from ``5.0``."""

    def _validated(self, value: Any) -> int:
        is_whole = isinstance(value, float) and value.is_integer()
        if not is_whole and (isinstance(value, bool) or not isinstance(value, int)):
            raise self.make_error("invalid", input=value)
        return int(value)


@cache
def loader(schema: type[Schema]) -> Schema:
    """Return what loads bodies by a schema: making it costs more than most of them."""
    return schema()


def read_raw_body(req: falcon.Request) -> bytes:
    """Return the body of a request.

    Raises:
        falcon.HTTPContentTooLarge: It is longer than MAX_REQUEST_SIZE_MB, or than 10 MiB.
        ValidationError: It does not come to its end, or too slowly.
    """
    max_bytes = min(MAX_BODY_BYTES, req.context.max_request_bytes)
    if req.content_length is not None and req.content_length > max_bytes:
        raise falcon.HTTPContentTooLarge
    # A body in chunks has no length; the server says whether it marks the end of one.
    is_chunked = req.content_length is None and bool(req.env.get("wsgi.input_terminated"))
    stream = req.stream if is_chunked else req.bounded_stream
    try:
        body = stream.read(max_bytes + 1)
    except TimeoutError as error:
        raise ValidationError("It came too slowly, and not to its end.", "body") from error
    except Exception as error:
        # A lost connection, or broken chunks: each server has errors of its own.
        raise ValidationError("It ends early, or its chunks are broken.", "body") from error
    if len(body) > max_bytes:
        raise falcon.HTTPContentTooLarge
    return bytes(body)


def check_depth(value: Any, *, depth: int = 0) -> None:
    """Return quietly when JSON data is nested no deeper than MAX_DEPTH.

    Raises:
        ValidationError: It is deeper.
    """
    if depth > MAX_DEPTH:
        raise ValidationError(f"Nested deeper than {MAX_DEPTH} levels.", "body")
    if isinstance(value, dict):
        for item in value.values():
            check_depth(item, depth=depth + 1)
    elif isinstance(value, list):
        for item in value:
            check_depth(item, depth=depth + 1)


def read_object(req: falcon.Request) -> tuple[bytes, dict[str, Any]]:
    """Return a JSON body as it came, and the object that it is.

    Raises:
        falcon.HTTPUnsupportedMediaType: The Content-Type is not JSON.
        falcon.HTTPContentTooLarge: It is too long.
        ValidationError: It is no JSON object, or nested too deeply.
    """
    content_type = (req.content_type or "").partition(";")[0].strip().lower()
    if content_type != "application/json":
        raise falcon.HTTPUnsupportedMediaType
    body = read_raw_body(req)
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ValidationError(f"Takes JSON; {error}.", "body") from error
    if not isinstance(value, dict):
        raise ValidationError("Takes a JSON object.", "body")
    check_depth(value)
    return body, value


def read_json(req: falcon.Request, schema: type[Schema]) -> tuple[bytes, Any]:
    """Return a JSON body as it came, and as a schema loads it.

    Raises:
        falcon.HTTPUnsupportedMediaType: The Content-Type is not JSON.
        falcon.HTTPContentTooLarge: It is too long.
        ValidationError: The body is wrong.
    """
    body, value = read_object(req)
    if len(value) > MAX_FIELDS:
        raise ValidationError(f"Has more than {MAX_FIELDS} fields.", "body")
    return body, loader(schema).load(value)
