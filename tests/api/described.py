"""Answers compared with the OpenAPI document: their status, their type, their body."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import jsonschema_rs
import webtest

from observatory.api.openapi import build_document
from tests.api.keyed import KeyedApp


@cache
def _patterns() -> list[tuple[re.Pattern[str], str]]:
    # A path with fewer parameters is the more particular one.
    paths = sorted(build_document()["paths"], key=lambda path: path.count("{"))
    return [(re.compile(re.sub(r"{\w+}", "[^/]+", path) + "/?"), path) for path in paths]


def find_path(address: str) -> str | None:
    """Return the path of the document that an address belongs to."""
    for pattern, path in _patterns():
        if pattern.fullmatch(address):
            return path
    return None


@cache
def _validator(path: str, method: str, status: str, media_type: str) -> Any:
    document = build_document()
    response = document["paths"][path][method]["responses"][status]
    if "$ref" in response:
        response = document["components"]["responses"][response["$ref"].rpartition("/")[2]]
    schema = response["content"][media_type]["schema"]
    return jsonschema_rs.Draft202012Validator(
        {**schema, "components": document["components"]}, validate_formats=False
    )


def check_answer(answer: webtest.TestResponse) -> None:
    """Check an answer against the document; addresses and methods that are not in it are free.

    Raises:
        AssertionError: The document says otherwise.
    """
    request = answer.request
    method = "get" if request.method == "HEAD" else request.method.lower()
    path = find_path(request.environ["PATH_INFO"])
    operations = build_document()["paths"].get(path, {}) if path else {}
    if method not in operations:
        return
    status = str(answer.status_int)
    where = f"{request.method} {path}"
    assert status in operations[method]["responses"], f"{where}: {status} is not documented"
    if answer.content_type != "application/json" or request.method == "HEAD":
        return
    if "Content-Encoding" in answer.headers or not answer.body:
        return
    errors = list(_validator(path, method, status, "application/json").iter_errors(answer.json))
    assert not errors, f"{where}: {errors[0]}"


class DescribedApp(KeyedApp):
    """A client that compares every answer with the document."""

    def do_request(self, *args: Any, **kwargs: Any) -> webtest.TestResponse:
        """Send a request and check its answer."""
        answer = super().do_request(*args, **kwargs)
        check_answer(answer)
        return answer
