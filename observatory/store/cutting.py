"""Long texts in pages of messages, cut where a client wants only their beginning."""

from __future__ import annotations

from typing import Any

import orjson
from orjson import Fragment


def cut(value: Any, most: int) -> Any:
    """Return a value with all texts in it, as deep as they are, cut to so many characters."""
    if isinstance(value, str):
        return value[:most]
    if isinstance(value, list):
        return [cut(item, most) for item in value]
    if isinstance(value, dict):
        return {name: cut(item, most) for name, item in value.items()}
    return value


def cut_json(document: str | None, most: int | None) -> Fragment | None:
    """Return the same of a JSON text; one that is not longer as a whole is not looked into."""
    if document is None:
        return None
    if most is None or len(document) <= most:
        return Fragment(document)
    return Fragment(orjson.dumps(cut(orjson.loads(document), most)))
