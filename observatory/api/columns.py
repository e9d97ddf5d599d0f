"""``fields=``: which fields of an answer a client wants."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
from marshmallow import Schema, ValidationError, fields

# Names of fields in the order asked for; below each the names inside it, or None for all of it.
Columns = dict[str, Any]

MAX_NAMES = 100


class FieldNames(fields.Field[Columns]):
    """A comma list of the names of a schema's fields; ``usage.input_tokens`` for inner ones."""

    def __init__(self, answers: type[Schema], **kwargs: Any) -> None:
        names = list(_list_names(answers()))
        super().__init__(
            data_key="fields",
            load_default=None,
            metadata={"description": f"Comma list of: {', '.join(names)}."},
            **kwargs,
        )
        self.names = names

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Columns:
        if not isinstance(value, str) or not value:
            raise ValidationError(f"Takes a comma list of: {', '.join(self.names)}.")
        given = value.split(",")
        if len(given) > MAX_NAMES:
            raise ValidationError(f"Takes at most {MAX_NAMES} names.")
        for name in given:
            if name not in self.names:
                raise ValidationError(
                    f"There is no field {name[:100]!r}. Takes: {', '.join(self.names)}."
                )
        return _as_tree(given)


def _list_names(schema: Schema) -> Iterator[str]:
    for attribute, field in schema.fields.items():
        name = field.data_key or attribute
        yield name
        inner = field.inner if isinstance(field, fields.List) else field
        if isinstance(inner, fields.Nested):
            yield from (f"{name}.{below}" for below in _list_names(inner.schema))


def _as_tree(names: list[str]) -> Columns:
    tree: Columns = {}
    for name in names:
        *parents, last = name.split(".")
        place: Any = tree
        for parent in parents:
            # Who asks for "usage" and for "usage.input_tokens" gets all of it.
            place = place.setdefault(parent, {}) if place is not None else None
        if place is not None:
            place[last] = None
    return tree


def choose(value: Any, columns: Columns) -> Any:
    """Return an answer, or each of a list of them, with only some of its fields.

    JSON that the store keeps made is parsed here, and only here.
    """
    if isinstance(value, orjson.Fragment):
        value = orjson.loads(orjson.dumps(value))
    if isinstance(value, list):
        return [choose(item, columns) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        name: value[name] if below is None else choose(value[name], below)
        for name, below in columns.items()
        if name in value
    }
