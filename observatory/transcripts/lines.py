"""Bytes of a transcript to lines, and a line to the JSON objects on it.

Source: docs/transcript-format.md, "Lines and records". Lines end in ``\n`` only (U+2028 and
U+0085 are legal inside JSON strings), a byte order mark and a trailing ``\r`` are dropped, runs
of NUL bytes that a crash leaves behind are blank, and a line may hold several objects glued
together.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import Any, NamedTuple

import ahocorasick_rs
import orjson

MAX_LINE_BYTES = 64 * 1024 * 1024
CHUNK_BYTES = 1024 * 1024
MAX_DEPTH = 200
_BOM = b"\xef\xbb\xbf"
_INT64 = 2**63
_DECODER = json.JSONDecoder()
_NO_OBJECT = "line is not a JSON object"
# Half a record has about as many places to try as it is deep; a hostile line has any number.
_MAX_ATTEMPTS = 10_000
_MAX_PASSES = 20
# What makes a line worth a closer look: a NUL in a string, and what stands beside base64 data.
_NUL = b"\\u0000"
_BESIDE_BINARY = (b"base64", b'"signature"')
MARKS = (_NUL, *_BESIDE_BINARY)
_NO_MARKS: frozenset[bytes] = frozenset()
# All places of all of them come back at once: a line that has nothing else must not be long.
_MAX_SEARCHED_BYTES = 1024 * 1024
_SEARCH = ahocorasick_rs.BytesAhoCorasick(MARKS, matchkind=ahocorasick_rs.MatchKind.LeftmostFirst)
_RECORD_KEYS = frozenset({"uuid", "sessionId", "leafUuid", "messageId"})


class Line(NamedTuple):
    """One line: ``number`` counts from 1, ``start`` and ``end`` are byte offsets in the file.

    ``data`` lacks the newline and is ``None`` when the line is longer than the limit. The last
    line of a file that does not end in a newline has ``is_terminated`` false.
    """

    number: int
    start: int
    end: int
    data: bytes | None
    is_terminated: bool


def read_lines(
    read: Callable[[int], bytes],
    *,
    offset: int = 0,
    number: int = 0,
    max_line_bytes: int = MAX_LINE_BYTES,
) -> Iterator[Line]:
    """Yield the lines that follow a position, in order, holding one chunk and one line at most.

    Args:
        read: Returns up to so many bytes from ``offset`` on, and nothing at the end.
        offset: Byte offset of the first line's first byte.
        number: How many lines lie before ``offset``.
        max_line_bytes: A longer line is passed over and yielded without its data.
    """
    pending: list[bytes] = []
    pending_bytes = 0
    while chunk := read(CHUNK_BYTES):
        parts = chunk.split(b"\n")
        parts_end = len(parts) - 1
        for index, part in enumerate(parts):
            if index == parts_end:
                pending_bytes += len(part)
                if pending_bytes <= max_line_bytes:
                    pending.append(part)
                else:
                    pending.clear()
                break
            length = pending_bytes + len(part)
            data: bytes | None = part
            if length > max_line_bytes:
                data = None
            elif pending_bytes:
                data = b"".join((*pending, part))
            number += 1
            yield Line(number, offset, offset + length + 1, data, True)
            offset += length + 1
            pending.clear()
            pending_bytes = 0
    if pending_bytes:
        data = b"".join(pending) if pending_bytes <= max_line_bytes else None
        yield Line(number + 1, offset, offset + pending_bytes, data, False)


def find_marks(data: bytes) -> frozenset[bytes]:
    """Return which of MARKS are in a line.

    They are looked for together, which takes a tenth of what one after the other takes.
    """
    if len(data) > _MAX_SEARCHED_BYTES:
        return frozenset(mark for mark in MARKS if mark in data)
    found = _SEARCH.find_matches_as_indexes(data)
    return frozenset(MARKS[number] for number, _, _ in found) if found else _NO_MARKS


def may_hold_binary(marks: frozenset[bytes]) -> bool:
    """Tell by its marks whether base64 data may be in a line."""
    return not marks.isdisjoint(_BESIDE_BINARY)


class BadPart(NamedTuple):
    """What of a line is no JSON object: its bytes, counted from the line's start, and why."""

    start: int
    end: int
    reason: str


def parse_objects(
    line: Line, *, is_whole: bool = True, marks: frozenset[bytes] | None = None
) -> tuple[list[dict[str, Any]], list[BadPart]]:
    """Return the JSON objects on a line and what of it is none.

    A blank line has neither, most have one object, glued ones several. Half an object, which a
    crash left, costs none of the whole ones beside it; on a line that may grow (``is_whole`` false)
    nothing behind it is taken for one. Strings come back free of NUL and of lone surrogates,
    numbers within 64 bits and finite, and nesting bounded, so that whatever is in them can be
    stored and served. The line's ``marks`` are looked for here unless they are known.
    """
    data = line.data
    if data is None:
        return [], [BadPart(0, line.end - line.start, "line is longer than 64 MiB")]
    if line.number == 1 and data.startswith(_BOM):
        data = b"   " + data[3:]
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        return _parse_slowly(data, is_whole=is_whole)
    if not isinstance(value, dict):
        return [], [BadPart(0, len(data), _NO_OBJECT)]
    if _NUL in (find_marks(data) if marks is None else marks):
        return [clean(value)], []
    return [value], []


def _parse_slowly(data: bytes, *, is_whole: bool) -> tuple[list[dict[str, Any]], list[BadPart]]:
    """Read what the fast parser refuses: blanks, NULs, bad UTF-8, surrogates, glued objects."""
    text = data.replace(b"\0", b"").decode("utf-8", "surrogateescape")
    objects: list[dict[str, Any]] = []
    bad: list[BadPart] = []
    position = _skip_blanks(text, 0)
    while position < len(text):
        start = position
        value, position, reason = _decode(text, start)
        if reason is not None:
            position = _find_object(text, start + 1) if is_whole else len(text)
        elif isinstance(value, dict):
            objects.append(clean(value))
        else:
            reason = _NO_OBJECT
        if reason is not None:
            bad.append(BadPart(_byte_of(data, text, start), _byte_of(data, text, position), reason))
        position = _skip_blanks(text, position)
    return objects, bad


def _decode(text: str, position: int) -> tuple[Any, int, str | None]:
    """Return the JSON value at a place, where it ends or fails, and what is wrong, if anything."""
    try:
        return *_DECODER.raw_decode(text, position), None
    except RecursionError:
        return None, position, "line is nested too deeply"
    except json.JSONDecodeError as error:
        return None, error.pos, f"not JSON: {error.msg} at character {error.pos}"
    except ValueError:
        return None, position, "not JSON: a number is too long"


def _find_object(text: str, position: int) -> int:
    """Return where the next whole record begins, or the end of the text.

    What a half object holds may be whole objects, too: they lack what all records have, or are
    followed by what goes on with it, and not by another record or the end.
    """
    attempts, characters = 0, 0
    while attempts < _MAX_ATTEMPTS and characters <= _MAX_PASSES * len(text):
        position = text.find('{"', position)
        if position < 0:
            break
        value, end, reason = _decode(text, position)
        if reason is not None:
            attempts += 1
            characters += end - position
            position += 1
            continue
        follows = _skip_blanks(text, end)
        is_record = isinstance(value.get("type"), str) and not _RECORD_KEYS.isdisjoint(value)
        if is_record and text[follows : follows + 1] in ("", "{"):
            return position
        position = end
    return len(text)


def _skip_blanks(text: str, position: int) -> int:
    while position < len(text) and text[position].isspace():
        position += 1
    return position


def _byte_of(data: bytes, text: str, position: int) -> int:
    """Return the byte of a line at which a place of its text, which lacks its NULs, lies."""
    if position >= len(text):
        return len(data)
    kept = len(text[:position].encode("utf-8", "surrogateescape"))
    if b"\0" not in data:
        return kept
    return next(
        at for at, before in enumerate(accumulate(byte != 0 for byte in data)) if before > kept
    )


def clean(value: Any, depth: int = 0) -> Any:
    """Return JSON data in which everything can be stored in SQLite and sent as UTF-8."""
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, dict):
        if depth >= MAX_DEPTH:
            return "(nested too deeply)"
        return {clean_text(key): clean(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        if depth >= MAX_DEPTH:
            return "(nested too deeply)"
        return [clean(item, depth + 1) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, int) and not -_INT64 <= value < _INT64:
        return str(value) if value.bit_length() <= 4096 else None
    return value


def clean_text(text: str) -> str:
    """Return text without NUL (SQLite stops there) and with U+FFFD for lone surrogates."""
    if "\0" in text:
        text = text.replace("\0", "\N{REPLACEMENT CHARACTER}")
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def encode_json(value: Any) -> str:
    """Return compact JSON text of data from a transcript, whatever its depth."""
    return encode_json_bytes(value).decode()


def encode_json_bytes(value: Any) -> bytes:
    """Return the same in UTF-8."""
    try:
        return orjson.dumps(value)
    except (orjson.JSONEncodeError, RecursionError):
        return orjson.dumps(clean(value))
