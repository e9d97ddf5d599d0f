"""marshmallow's schemas as JSON Schema, our own fields included."""

from __future__ import annotations

import copy
import re
from typing import Any

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from apispec.ext.marshmallow.common import resolve_schema_cls
from apispec.ext.marshmallow.openapi import OpenAPIConverter
from marshmallow import Schema, fields

from observatory.api import schemas
from observatory.api.columns import FieldNames
from observatory.api.conversation_changes import (
    TAG_CHARACTERS,
    ChangeConversation,
    MessageBody,
    SmallObject,
    Tag,
    TimeField,
    Trimmed,
)
from observatory.api.event_schemas import EventTypes
from observatory.api.params import Moment, Text, WholeNumber
from observatory.api.report_params import LocalMoment, Zone
from observatory.store.event_notes import TYPES

# No NUL; and besides that, something that is no white space; a comma list of names.
_TEXT = "^[^\\u0000]*$"
# White space around a text does not count: a length can not say that, a pattern can.
_BLANKS = "[ \\t\\n\\r\\u00a0\\u2000-\\u200a\\u2028\\u2029\\u3000]*"
_FILLED = "^[^\\u0000]*[^\\s\\u0000-\\u0020\\u0085][^\\u0000]*$"
_INK = "[^\\s\\u0000-\\u0020\\u0085]"
_NAMES = "^[a-z0-9_.]+(,[a-z0-9_.]+)*$"
_SENTENCES = {"type": "array", "items": {"type": "string"}, "minItems": 1}
_PREFIX = "#/components/schemas/"


def _resolve_name(schema: Any) -> str:
    """Return the name of a component: the schema's own, or ``…Input`` beside an answer's."""
    known: Any = resolve_schema_cls(schema)
    name = str(known.__name__)
    is_taken = known.__module__ != schemas.__name__ and hasattr(schemas, name)
    return f"{name}Input" if is_taken else name


def _bound(self: OpenAPIConverter, field: fields.Field[Any], ret: dict[str, Any]) -> dict[str, Any]:
    """Say of our own fields what JSON Schema can say."""
    for name in ("x-minimum", "x-maximum"):
        ret.pop(name, None)
    if ret.get("default", ...) is None:
        # What is not given is not null: it is not given.
        del ret["default"]
    if isinstance(field, Tag):
        return _describe_trimmed(1, TAG_CHARACTERS, besides=",\\u0000-\\u001f")
    if "pattern" in ret:
        return {"pattern": f"^{ret['pattern'].removesuffix(chr(92) + 'Z')}$"}
    if isinstance(field, FieldNames):
        name = "|".join(map(re.escape, field.names))
        return {"pattern": f"^({name})(,({name}))*$"}
    if isinstance(field, EventTypes):
        name = "|".join(TYPES)
        return {"pattern": f"^({name})(,({name}))*$"}
    if isinstance(field, Zone):
        return {"format": "time-zone", "default": "UTC"}
    if isinstance(field, (Moment, TimeField, LocalMoment)):
        return {"format": "day-or-time"}
    if isinstance(field, schemas.FieldErrors):
        return {"anyOf": [_SENTENCES, {"type": "object", "minProperties": 1}]}
    if isinstance(field, Trimmed) and "maxLength" in ret:
        return _describe_trimmed(ret.pop("minLength", 0), ret.pop("maxLength"))
    if isinstance(field, Text) and "enum" not in ret:
        return {"pattern": _TEXT}
    return {}


def _describe_trimmed(least: int, most: int, *, besides: str = "\\u0000") -> dict[str, Any]:
    ink = f"(?![{besides}]){_INK}"
    inner = f"{ink}([^{besides}]{{0,{most - 2}}}{ink})?"
    return {
        "pattern": f"^{_BLANKS}{inner if least else f'({inner})?'}{_BLANKS}$",
        "description": f"{least} to {most:,} characters, without white space around them.",
    }


def make_plugin() -> MarshmallowPlugin:
    """Return apispec's plugin for the schemas of a new document."""
    return MarshmallowPlugin(schema_name_resolver=_resolve_name)


def teach(plugin: MarshmallowPlugin) -> None:
    """Make a plugin, which has begun with a document, know our fields."""
    converter: Any = plugin.converter
    converter.field_mapping = dict(converter.field_mapping)
    converter.map_to_openapi_type(WholeNumber, "integer", None)
    converter.map_to_openapi_type(Moment, "string", None)
    converter.map_to_openapi_type(LocalMoment, "string", None)
    converter.map_to_openapi_type(Zone, "string", None)
    converter.map_to_openapi_type(FieldNames, "string", None)
    converter.map_to_openapi_type(EventTypes, "string", None)
    converter.map_to_openapi_type(SmallObject, "object", None)
    converter.add_attribute_function(_bound)


def describe(spec: APISpec, forms: tuple[type[Schema], ...]) -> dict[str, Any]:
    """Return the JSON Schema of what has one of several forms, each kept as a component."""
    [plugin] = spec.plugins
    converter: Any = plugin.converter  # type: ignore[attr-defined]
    found = [dict(converter.resolve_nested_schema(form)) for form in forms]
    return found[0] if len(found) == 1 else {"anyOf": found}


def relax(spec: APISpec, schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of something of which ``fields`` may have asked for parts only."""
    name = schema["$ref"].removeprefix(_PREFIX)
    known = spec.components.schemas
    part = f"{name}Part"
    if part not in known:
        loose = _without_required(known, schema)
        loose["description"] = f"Those fields of {name} that `fields` asked for."
        spec.components.schema(part, loose)
    return {"anyOf": [schema, {"$ref": _PREFIX + part}]}


def _without_required(known: dict[str, Any], schema: Any) -> Any:
    if isinstance(schema, list):
        return [_without_required(known, item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _without_required(known, known[schema["$ref"].removeprefix(_PREFIX)])
    return {
        key: _without_required(known, value)
        for key, value in schema.items()
        if not (key == "required" and isinstance(value, list))
    }


def finish(spec: APISpec) -> dict[str, Any]:
    """Return the document, each schema described and taking no other fields than it names."""
    [plugin] = spec.plugins
    converter: Any = plugin.converter  # type: ignore[attr-defined]
    document = copy.deepcopy(spec.to_dict())
    components = document["components"]["schemas"]
    for key, name in converter.refs.items():
        text = " ".join((key[0].__doc__ or "").split()).replace("``", "`")
        components[name].setdefault("description", text)
    _close(components)
    components[ChangeConversation.__name__]["minProperties"] = 1
    filled, caller = {"pattern": _FILLED}, {"enum": ["assistant"]}
    components[MessageBody.__name__]["anyOf"] = [
        {"properties": {"content": filled, "tool_calls": {"maxItems": 0}}},
        {"properties": {"content": filled, "role": caller}},
        {"properties": {"tool_calls": {"minItems": 1}, "role": caller}, "required": ["tool_calls"]},
    ]
    for methods in document["paths"].values():
        for operation in methods.values():
            for parameter in operation["parameters"]:
                if parameter.get("in") == "query":
                    _refuse_null(parameter)
    return document


def _refuse_null(parameter: dict[str, Any]) -> None:
    """Mend a parameter: what has no default can be left out, but a query string has no null."""
    schema = parameter["schema"]
    if isinstance(schema.get("type"), list):
        [schema["type"]] = [name for name in schema["type"] if name != "null"]
    if "enum" in schema:
        schema["enum"] = [value for value in schema["enum"] if value is not None]
    if "description" in schema:
        parameter["description"] = schema.pop("description")


def _close(value: Any) -> None:
    if isinstance(value, list):
        for item in value:
            _close(item)
    elif isinstance(value, dict):
        if value.get("type") == "object" and isinstance(value.get("properties"), dict):
            value.setdefault("additionalProperties", False)
        for item in value.values():
            _close(item)
