"""The forms of a report: JSON as every answer, or its rows as CSV or as lines of JSON."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from typing import Any

import falcon
import orjson

CSV = "text/csv"
NDJSON = "application/x-ndjson"
MEDIA_TYPES = {"csv": f"{CSV}; charset=utf-8", "ndjson": NDJSON}
# A spreadsheet takes text that begins so for a formula, which a transcript must not bring in.
_FORMULAS = ("=", "+", "-", "@", "\t", "\r")


def choose_form(req: falcon.Request, asked: str | None) -> str:
    """Return ``json``, ``csv`` or ``ndjson``: what was asked for, or else what is accepted."""
    if asked is not None:
        return asked
    accept = req.env.get("HTTP_ACCEPT", "").lower()
    if CSV not in accept and NDJSON not in accept:
        return "json"
    try:
        best = falcon.mediatypes.best_match(["application/json", CSV, NDJSON], accept)
    except ValueError:
        return "json"
    return {CSV: "csv", NDJSON: "ndjson"}.get(best, "json")


def write_rows(rows: Iterable[dict[str, Any]], form: str) -> bytes:
    """Return rows as CSV with a header, or as lines of JSON.

    In CSV what is inside something has a name with a dot, and lists are JSON. Without rows there
    is no header, for no names are known.
    """
    if form == "ndjson":
        return b"".join(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows)
    flat = [_flatten(row) for row in rows]
    names = list(dict.fromkeys(name for row in flat for name in row))
    if not names:
        return b""
    # What is null in one row and has something inside in another has no column of its own.
    outer = {name[:place] for name in names for place, sign in enumerate(name) if sign == "."}
    names = [name for name in names if name not in outer]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, names, restval="", extrasaction="ignore", lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(flat)
    return text.getvalue().encode()


def _flatten(row: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, dict) and name != "error_categories":
            flat.update(_flatten(value, f"{prefix}{name}."))
        else:
            flat[prefix + name] = _cell(value)
    return flat


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, dict)):
        return orjson.dumps(value).decode()
    if isinstance(value, str) and value.startswith(_FORMULAS):
        return f"'{value}"
    return value
