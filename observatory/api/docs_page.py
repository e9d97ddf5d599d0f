"""``/docs``: the OpenAPI document as a page for people, without scripts and without the network."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from hashlib import blake2b
from html import escape
from importlib.resources import files
from shlex import quote
from typing import Any
from urllib.parse import urlencode

import falcon

from observatory.api.login_page import POLICY
from observatory.api.openapi import build_document, is_current
from observatory.api.params import NoParams, read_params
from observatory.page.assets import read_assets

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>API · Claude Code Observatory</title><link rel="stylesheet" href="/docs.css">
<link rel="icon" href="{assets}/icon.svg" type="image/svg+xml"></head><body>
<nav aria-label="Operations"><a class="home" href="#top">Observatory API</a>{navigation}</nav>
<main id="top"><h1>Observatory API <small>{version}</small></h1>{about}
<p><a href="/openapi.json">openapi.json</a> says the same to programs; <a href="/">the page</a>
shows what there is.</p>
{operations}<section id="schemas"><h2>Schemas</h2>{schemas}</section></main></body></html>
"""
_PREFIX = "#/components/schemas/"
_BASE = "http://127.0.0.1:3001"
_ANY = "anything"
_MAX_CHOICES = 8


def _code(text: str) -> str:
    """Return escaped text whose ``code`` is marked."""
    parts = escape(text).split("`")
    return "".join(f"<code>{p}</code>" if i % 2 else p for i, p in enumerate(parts))


def _resolve(document: dict[str, Any], value: dict[str, Any]) -> dict[str, Any]:
    """Return what a reference to a component leads to; anything else as it is."""
    if "$ref" not in value:
        return value
    found: Any = document
    for name in value["$ref"].removeprefix("#/").split("/"):
        found = found[name]
    resolved: dict[str, Any] = found
    return resolved


def _is_part(schema: dict[str, Any]) -> bool:
    """Tell whether this is what ``fields`` chooses of something: a page would show it twice."""
    return str(schema.get("$ref", "")).endswith("Part")


def _type(schema: dict[str, Any]) -> str:
    """Return what a schema takes, in a few words of HTML."""
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(_PREFIX)
        return f'<a href="#schema-{name}">{name}</a>'
    if "anyOf" in schema:
        return " or ".join(_type(form) for form in schema["anyOf"] if not _is_part(form))
    if "enum" in schema:
        given = [str(json.dumps(v)) if not isinstance(v, str) else v for v in schema["enum"]]
        return " · ".join(f"<code>{escape(value)}</code>" for value in given)
    kinds = schema.get("type", _ANY)
    kinds = kinds if isinstance(kinds, list) else [kinds]
    shown = []
    for kind in kinds:
        if kind == "array":
            shown.append(f"list of {_type(schema.get('items', {}))}")
        elif kind == "object" and isinstance(schema.get("additionalProperties"), dict):
            shown.append(f"object of {_type(schema['additionalProperties'])}")
        elif kind == "string" and "format" in schema:
            shown.append(escape(schema["format"].replace("-", " ")))
        else:
            shown.append(escape(kind))
    return " or ".join(shown)


def _bounds(schema: dict[str, Any]) -> str:
    """Return the bounds of a schema and its default."""
    found = []
    for low, high, unit in (
        ("minimum", "maximum", ""),
        ("minLength", "maxLength", " characters"),
        ("minItems", "maxItems", " items"),
    ):
        if high in schema:
            found.append(f"{schema.get(low, 0):,} to {schema[high]:,}{unit}")
        elif schema.get(low, 0) > 1:
            found.append(f"from {schema[low]:,}{unit}")
    if "default" in schema:
        found.append(f"default <code>{escape(json.dumps(schema['default']).strip(chr(34)))}</code>")
    return ", ".join(found)


def _row(name: str, schema: dict[str, Any], text: str, *, is_required: bool) -> str:
    mark = ' <em class="required">required</em>' if is_required else ""
    notes = "<br>".join(part for part in (_bounds(schema), _code(text)) if part)
    return (
        f"<tr><th scope=row><code>{escape(name)}</code>{mark}</th><td>{_type(schema)}</td>"
        f"<td>{notes}</td></tr>"
    )


def _table(rows: list[str]) -> str:
    return f'<div class="wide"><table>{"".join(rows)}</table></div>' if rows else ""


def _properties(schema: dict[str, Any]) -> str:
    required = schema.get("required", ())
    return _table(
        [
            _row(name, inner, inner.get("description", ""), is_required=name in required)
            for name, inner in schema.get("properties", {}).items()
        ]
    )


def _parameters(document: dict[str, Any], operation: dict[str, Any]) -> Iterator[str]:
    known = [_resolve(document, parameter) for parameter in operation["parameters"]]
    for place, title in (("path", "Path"), ("query", "Query"), ("header", "Headers")):
        rows = [
            _row(
                parameter["name"],
                parameter["schema"],
                parameter.get("description", ""),
                is_required=parameter.get("required", False),
            )
            for parameter in known
            if parameter["in"] == place
        ]
        if rows:
            yield f"<h4>{title}</h4>{_table(rows)}"


def _body(operation: dict[str, Any]) -> Iterator[str]:
    for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
        yield f"<h4>Body</h4><p><code>{escape(media_type)}</code> {_type(content['schema'])}</p>"
        if "properties" in content["schema"]:
            yield _properties(content["schema"])


def _answers(document: dict[str, Any], operation: dict[str, Any]) -> str:
    rows = []
    for status, reference in operation["responses"].items():
        response = _resolve(document, reference)
        shown = []
        for media_type, content in response.get("content", {}).items():
            schema = content["schema"]
            data = schema.get("properties", {}).get("data")
            if data is None:
                shown.append("" if "$ref" in schema else f"<code>{escape(media_type)}</code>")
            elif "properties" in data:
                inner = data["properties"].items()
                shown.append("<br>".join(f"<code>{n}</code> {_type(s)}" for n, s in inner))
            else:
                shown.append(_type(data))
        kind = "good" if status < "300" else "other"
        rows.append(
            f'<tr><th scope=row><span class="status {kind}">{status}</span></th>'
            f"<td>{_code(response['description'])}</td><td>{' '.join(shown)}</td></tr>"
        )
    return f"<h4>Answers</h4>{_table(rows)}"


def make_curl(method: str, path: str, operation: dict[str, Any]) -> str:
    """Return a curl line for an operation."""
    for parameter in operation["parameters"]:
        if parameter.get("in") == "path":
            name = parameter["name"]
            shown = name.upper() if parameter["schema"]["type"] == "string" else "1"
            path = path.replace(f"{{{name}}}", shown)
    query = urlencode(
        {k: str(v).lower() if v is True else v for k, v in operation.get("x-example", {}).items()}
    )
    words = ["curl", "-s"] + ([] if method == "GET" else ["-X", method])
    if operation["security"]:
        words.append('-H "X-API-Key: $KEY"')
    line = f"{' '.join(words)} {quote(_BASE + path + ('?' + query if query else ''))}"
    bodies = operation.get("requestBody", {}).get("content", {})
    for media_type, content in bodies.items():
        header = quote(f"Content-Type: {media_type}")
        example = content.get("example")
        data = f"-d {quote(json.dumps(example))}" if example else "--data-binary @session.jsonl"
        return f"{line} \\\n  -H {header} \\\n  {data}"
    return line


def _operation(document: dict[str, Any], method: str, path: str) -> str:
    operation = document["paths"][path][method]
    upper = method.upper()
    shown = escape(path).replace("{", "<i>{").replace("}", "}</i>")
    parts = [
        f'<article id="{operation["operationId"]}">',
        f'<h3><a href="#{operation["operationId"]}"><b class="{method}">{upper}</b> ',
        f"<code>{shown}</code></a></h3>",
        f"<p>{_code(operation['summary'])}.</p>",
        f"<pre><code>{escape(make_curl(upper, path, operation))}</code></pre>",
        *_parameters(document, operation),
        *_body(operation),
        _answers(document, operation),
        "</article>",
    ]
    return "".join(parts)


def make_page(document: dict[str, Any]) -> str:
    """Return an OpenAPI document as a page of HTML."""
    navigation, sections = [], []
    for tag in document["tags"]:
        found = [
            (method, path)
            for path, methods in document["paths"].items()
            for method, operation in methods.items()
            if tag["name"] in operation["tags"]
        ]
        anchor = tag["name"].lower().replace(" ", "-")
        links = "".join(
            f'<li><a href="#{document["paths"][path][method]["operationId"]}">'
            f'<b class="{method}">{method.upper()}</b> {escape(path.removeprefix("/api"))}</a></li>'
            for method, path in found
        )
        navigation.append(f'<h2><a href="#{anchor}">{escape(tag["name"])}</a></h2><ul>{links}</ul>')
        sections.append(
            f'<section id="{anchor}"><h2>{escape(tag["name"])}</h2>'
            f"<p>{_code(tag['description'])}</p>"
            + "".join(_operation(document, method, path) for method, path in found)
            + "</section>"
        )
    schemas = "".join(
        f'<article id="schema-{name}"><h3><a href="#schema-{name}">{name}</a></h3>'
        f"<p>{_code(schema.get('description', ''))}</p>{_properties(schema)}</article>"
        for name, schema in sorted(document["components"]["schemas"].items())
        if not name.endswith("Part")
    )
    return _PAGE.format(
        assets=read_assets().base,
        navigation="".join(navigation),
        version=escape(document["info"]["version"]),
        about=f"<p>{_code(document['info']['description'])}</p>",
        operations="".join(sections),
        schemas=schemas,
    )


@cache
def _read(name: str) -> tuple[bytes, str]:
    """Return a page or its style, and what changes when it does."""
    if name == "docs.css":
        body = (files("observatory.api") / "static" / name).read_bytes()
    else:
        body = make_page(build_document()).encode()
    return body, blake2b(body, digest_size=8).hexdigest()


class Docs:
    """``/docs``."""

    needs_database = False

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer with the page, which is made once."""
        read_params(req, NoParams)
        body, digest = _read("docs")
        resp.set_header("Content-Security-Policy", POLICY)
        if not is_current(req, resp, digest):
            resp.content_type = falcon.MEDIA_HTML
            resp.data = body


class DocsStyle:
    """``/docs.css``: the page's style, apart so that the policy needs no inline styles."""

    needs_database = False

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer with the style sheet."""
        read_params(req, NoParams)
        body, digest = _read("docs.css")
        if not is_current(req, resp, digest):
            resp.content_type = "text/css; charset=utf-8"
            resp.data = body
