"""``/openapi.json``: what the API takes and gives, as OpenAPI 3.1.

Made from the table in ``operations.py`` and from the schemas that validate parameters and bodies
and that describe answers; what they say is what holds.
"""

from __future__ import annotations

from functools import cache
from hashlib import blake2b
from typing import Any

import falcon
import orjson
from apispec import APISpec

from observatory import __version__
from observatory.api.access import PUBLIC, RULES
from observatory.api.compression import negotiate
from observatory.api.errors import BY_STATUS
from observatory.api.etags import is_listed
from observatory.api.json_schemas import describe, finish, make_plugin, relax, teach
from observatory.api.operations import (
    JSON,
    LINKS,
    OPERATIONS,
    PATH_PARAMETERS,
    TAGS,
    AnyOf,
    ListOf,
    Operation,
    Raw,
)
from observatory.api.params import NoParams, read_params
from observatory.api.schemas import Error, Pagination

_ABOUT = """\
What coding agents did, kept and served. Every answer has the same envelope: `success`, `data` or \
`error` with its `code`, `timestamp` and `request_id`. Unknown parameters and fields are refused; \
each wrong one is named with its rule. A method that an address does not take is answered 405 with \
an `Allow` header; HEAD is taken wherever GET is. Bodies of answers are compressed as \
`Accept-Encoding` asks.

A request is let in by an API key or by the access token of a sign-in. Each operation takes a \
permission, which keys have as scopes and people by their role; projects that somebody may not see \
are for them as if they did not exist.
"""
_SERVER = (
    "The address that this description came from. Names that ALLOWED_HOSTS lacks are refused (403)."
)
_REASONS = {
    101: "It is a WebSocket from here on.",
    426: "This is for WebSockets of version 13.",
    501: "The server has no WebSockets.",
    200: "What was asked for.",
    201: "It was made.",
    202: "It was taken and will be done; ask how far it is.",
    304: "What you have is current.",
    303: "Go there.",
    400: "Something in the request is wrong; `details.fields` says what and why.",
    401: "Sign in: there are no credentials, or they do not hold.",
    403: "Not allowed to who asks, or not from here (Host, Origin).",
    404: "There is no such thing.",
    409: "It contradicts what is stored.",
    412: "It was changed since you read it.",
    414: "The address is longer than a request line may be.",
    413: "The body is too large.",
    415: "The body's Content-Type is not one of these.",
    429: "Too many requests; try again after the seconds in Retry-After.",
    431: "Headers are too many, or too long.",
    500: "Something went wrong here; the log tells what.",
    503: "Busy, or not ready; try again after the seconds in Retry-After.",
    507: "The disk is full: nothing was changed; try again once there is room.",
}
# What answers without the envelope look like, where that is no plain text.
_RAW: dict[str, dict[str, Any]] = {
    JSON: {},
    "text/event-stream": {
        "type": "object",
        "description": "One event: `data` is JSON, an event of `/api/events` or a notice.",
        "properties": {
            "id": {"type": "string"},
            "event": {"type": "string"},
            "data": {"type": "string"},
            "retry": {"type": "integer"},
        },
    },
}
_BUSY = 503
_TOO_MANY = 429
_FULL = 507
_LIMIT_HEADERS = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")
_UNREADABLE = frozenset({414, 431})
_HEADERS: dict[str, dict[str, Any]] = {
    "X-Request-ID": {
        "description": "The id of this exchange, which logs name too.",
        "required": True,
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$"},
    },
    "ETag": {
        "description": "Names this state of the answer; for If-None-Match and If-Match.",
        "required": True,
        "schema": {"type": "string", "pattern": '^"[0-9a-z-]+"$'},
    },
    "Link": {
        "description": "Where the first, prev, next and last pages are (RFC 8288).",
        "schema": {"type": "string"},
    },
    "Retry-After": {
        "description": "After how many seconds to try again.",
        "required": True,
        "schema": {"type": "string", "pattern": "^[0-9]+$"},
    },
    "X-RateLimit-Limit": {
        "description": "How many requests a window takes. Not sent where no limit holds.",
        "schema": {"type": "string", "pattern": "^[0-9]+$"},
    },
    "X-RateLimit-Remaining": {
        "description": "How many more are taken now.",
        "schema": {"type": "string", "pattern": "^[0-9]+$"},
    },
    "X-RateLimit-Reset": {
        "description": "When the oldest request leaves the window, as Unix time in seconds.",
        "schema": {"type": "string", "pattern": "^[0-9]+$"},
    },
    "Idempotency-Replayed": {
        "description": "That this is the answer to an earlier request with the same key.",
        "schema": {"type": "string", "enum": ["true"]},
    },
    "Content-Disposition": {
        "description": "A name for the file.",
        "required": True,
        "schema": {"type": "string"},
    },
}
_REQUEST_HEADERS: dict[str, tuple[str, dict[str, Any]]] = {
    "If-None-Match": (
        "An ETag that you have: answered 304 while it is current.",
        {"type": "string", "example": '"5e1fc0de-7-0123456789abcdef"'},
    ),
    "If-Match": (
        "The ETag that you read: refused (412) when it was changed since.",
        {"type": "string", "example": "*"},
    ),
    "Idempotency-Key": (
        "Makes a repeated request give the first answer again, for a day.",
        {"type": "string", "pattern": "^[!-~]{1,255}$", "example": "9f1c-1"},
    ),
}
# A cookie that /login gives is taken as well: it is for pages of the server, not for programs.
_SECURITY: dict[str, dict[str, str]] = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API key, or the access token of a sign-in.",
    },
    "apiKey": {
        "type": "apiKey",
        "in": "header",
        "name": "X-API-Key",
        "description": "An API key; `Authorization: ApiKey` takes it too.",
    },
}


def _header_ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/headers/{name}"}


@cache
def build_document() -> dict[str, Any]:
    """Return the OpenAPI document. Do not change it."""
    plugin = make_plugin()
    spec = APISpec(
        title="Claude Code Observatory",
        version=__version__,
        openapi_version="3.1.0",
        plugins=[plugin],
        info={"description": _ABOUT, "license": {"name": "MIT", "identifier": "MIT"}},
        servers=[{"url": "/", "description": _SERVER}],
        tags=[{"name": name, "description": text} for name, text in TAGS.items()],
    )
    teach(plugin)
    for name, scheme in _SECURITY.items():
        spec.components.security_scheme(name, scheme)
    for name, header in _HEADERS.items():
        spec.components.header(name, header)
    for name, (text, schema) in _REQUEST_HEADERS.items():
        parameter = {"name": name, "description": text, "schema": schema}
        spec.components.parameter(name, "header", parameter)
    describe(spec, (Error,))
    _add_refusals(spec)
    by_path: dict[str, dict[str, Any]] = {}
    for (method, path), operation in OPERATIONS.items():
        by_path.setdefault(path, {})[method.lower()] = _describe(spec, (method, path), operation)
    for path, methods in by_path.items():
        spec.path(path=path, operations=methods)
    return finish(spec)


def _add_refusals(spec: APISpec) -> None:
    for status, text in _REASONS.items():
        if status == 304:
            headers = {"X-Request-ID": _header_ref("X-Request-ID"), "ETag": _header_ref("ETag")}
            spec.components.response("NotModified", {"description": text, "headers": headers})
        elif status >= 400:
            headers = {"X-Request-ID": _header_ref("X-Request-ID")}
            if status == _TOO_MANY:
                headers |= {name: _header_ref(name) for name in _LIMIT_HEADERS}
            if status in (_BUSY, _TOO_MANY, _FULL):
                headers["Retry-After"] = _header_ref("Retry-After")
            content = {JSON: {"schema": {"$ref": "#/components/schemas/Error"}}}
            response = {"description": text, "headers": headers, "content": content}
            spec.components.response(_name(status), response)


def _name(status: int) -> str:
    if status == _BUSY:
        return "Unavailable"
    code = BY_STATUS[status].code if status in BY_STATUS else _OTHER_CODES[status]
    return code.title().replace("_", "")


_OTHER_CODES = {
    412: "PRECONDITION_FAILED",
    414: "URI_TOO_LONG",
    431: "HEADERS_TOO_LARGE",
    500: "INTERNAL_ERROR",
}


def _describe(spec: APISpec, key: tuple[str, str], operation: Operation) -> dict[str, Any]:
    _, path = key
    parameters: list[Any] = [
        {"name": name, "in": "path", "required": True, "schema": dict(schema)}
        for name, schema in PATH_PARAMETERS.items()
        if f"{{{name}}}" in path
    ]
    parameters.append({"in": "query", "schema": operation.params})
    for wanted, name in (
        (operation.is_cached, "If-None-Match"),
        (operation.takes_match, "If-Match"),
        (operation.takes_key, "Idempotency-Key"),
    ):
        if wanted:
            parameters.append(name)
    described: dict[str, Any] = {
        "tags": [operation.tag],
        "summary": operation.summary,
        "operationId": operation.id,
        "parameters": parameters,
        "responses": _responses(spec, key, operation),
        "security": _security(key),
    }
    body = _body(spec, operation)
    if body:
        described["requestBody"] = {
            "required": operation.is_body_required,
            "content": body,
        }
    elif operation.example:
        described["x-example"] = operation.example
    return described


def _body(spec: APISpec, operation: Operation) -> dict[str, Any]:
    content = {name: {"schema": schema} for name, schema in operation.bodies.items()}
    if operation.body is not None:
        content[JSON] = {"schema": describe(spec, _forms(operation.body))}
        if operation.example:
            content[JSON]["example"] = operation.example
    return content


def _forms(form: Any) -> tuple[Any, ...]:
    return form.forms if isinstance(form, AnyOf) else (form,)


def _responses(spec: APISpec, key: tuple[str, str], operation: Operation) -> dict[str, Any]:
    _, path = key
    responses = {str(status): _good(spec, path, status, operation) for status in operation.statuses}
    for response in responses.values():
        if operation.id in LINKS:
            response["links"] = {
                target: {"operationId": target, "parameters": {name: f"$response.body#{place}"}}
                for target, name, place in LINKS[operation.id]
            }
    if operation.is_cached:
        responses["304"] = {"$ref": "#/components/responses/NotModified"}
    for status in sorted(list_refusals(key, operation)):
        responses[str(status)] = {"$ref": f"#/components/responses/{_name(status)}"}
    return responses


def _security(key: tuple[str, str]) -> list[dict[str, list[str]]]:
    """Return what lets a client in: any of these, or nothing at all where the list is empty."""
    if RULES[key] is PUBLIC:
        return []
    return [{name: []} for name in _SECURITY]


def list_refusals(key: tuple[str, str], operation: Operation) -> set[int]:
    """Return the statuses with which an operation can be refused."""
    refusals = {400, 403, *_UNREADABLE, 500, *operation.refusals}
    _, path = key
    if RULES[key] is not PUBLIC:
        refusals.add(401)
    if path.startswith("/api/"):
        refusals.add(_TOO_MANY)
    has_body = operation.body is not None or bool(operation.bodies)
    if "{" in path:
        refusals.add(404)
    if has_body:
        refusals |= {413, 415}
    if operation.needs_database:
        refusals.add(_BUSY)
        if key[0] != "GET":
            refusals.add(_FULL)
    if operation.takes_key:
        refusals.add(409)
    if operation.takes_match:
        refusals.add(412)
    return refusals


def _good(spec: APISpec, path: str, status: int, operation: Operation) -> dict[str, Any]:
    headers: dict[str, Any] = {"X-Request-ID": _header_ref("X-Request-ID")}
    if path.startswith("/api/"):
        headers |= {name: _header_ref(name) for name in _LIMIT_HEADERS}
    if operation.is_cached:
        headers["ETag"] = _header_ref("ETag")
    if operation.takes_key:
        headers["Idempotency-Replayed"] = _header_ref("Idempotency-Replayed")
    if operation.has_links:
        headers["Link"] = _header_ref("Link")
    response: dict[str, Any] = {"description": _REASONS[status], "headers": headers}
    if isinstance(operation.answer, Raw):
        if len(operation.answer.media_types) > 1:
            headers["Content-Disposition"] = _header_ref("Content-Disposition")
        response["content"] = {
            name: {"schema": _RAW.get(name, {"type": "string"})}
            for name in operation.answer.media_types
        }
        return response
    data = _data(spec, operation)
    response["content"] = {JSON: {"schema": _wrap(data)}}
    for name in operation.other_types:
        response["content"][name] = {"schema": {"type": "string"}}
        headers["Content-Disposition"] = {
            "description": "A name for the file; not with JSON.",
            "schema": {"type": "string"},
        }
    return response


def _wrap(data: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of data in the envelope."""
    properties = {
        "success": {"type": "boolean", "enum": [True]},
        "data": data,
        "timestamp": {"type": "string", "format": "date-time"},
        "request_id": {"type": "string"},
    }
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _data(spec: APISpec, operation: Operation) -> dict[str, Any]:
    answer = operation.answer
    can_choose = any(
        isinstance(schema, type) and "columns" in schema().fields
        for schema in (operation.params, operation.body)
    )
    if isinstance(answer, ListOf):
        rows = describe(spec, (answer.rows,))
        if can_choose:
            rows = relax(spec, rows)
        pagination = describe(spec, (Pagination,))
        return {
            "type": "object",
            "properties": {
                answer.noun: {"type": "array", "items": rows},
                "pagination": pagination,
            },
            "required": [answer.noun, "pagination"],
            "additionalProperties": False,
        }
    data = describe(spec, _forms(answer))
    return relax(spec, data) if can_choose else data


@cache
def _encoded() -> tuple[bytes, str]:
    body = orjson.dumps(build_document())
    return body, blake2b(body, digest_size=8).hexdigest()


def is_current(req: falcon.Request, resp: falcon.Response, digest: str) -> bool:
    """Give an unchanging answer its tag, and tell whether the client has it already."""
    coding = negotiate(req.env.get("HTTP_ACCEPT_ENCODING")).coding
    tag = f'"{digest}-{coding or "plain"}"'
    req.context.etag = tag
    known = req.env.get("HTTP_IF_NONE_MATCH")
    if known is None or not is_listed(tag, known):
        return False
    resp.status = falcon.HTTP_304
    return True


class Description:
    """``/openapi.json``."""

    needs_database = False

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer with the document, which is made once."""
        read_params(req, NoParams)
        body, digest = _encoded()
        if is_current(req, resp, digest):
            return
        resp.content_type = JSON
        resp.data = body
