"""How ccusage counts, written anew: from raw lines of transcripts to tokens, one entry per count.

Two rules, each of a version of ccusage, found by reading what it does and checked by its output:
``first_lines`` (18.0.11) counts the first line of a response and knows it by message id and request
id together; ``largest_lines`` (20) keeps the line with the most tokens. Nothing here knows our own
rule or database, so that what both say can be compared.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

KINDS = (
    "input_tokens", "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens",
)  # fmt: skip
SYNTHETIC = "<synthetic>"
# Where Node's readline ends a line: in a string of JSON, too, which then is none any more.
_LINE_ENDS = re.compile(r"\r?\n|\r(?!\n)|\u2028|\u2029")
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d{3})?Z")
_VERSION = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+")
# Fields that, where they are null, make version 20 pass over the whole line.
_NULLS = re.compile(
    rb'"(id|cwd|model|speed|costUSD|version|sessionId|requestId|isApiErrorMessage'
    rb'|cache_read_input_tokens|cache_creation_input_tokens)":null'
)


class Entry(NamedTuple):
    """What ccusage counts once, and the line that it is from.

    ``id`` is of the message, ``uuid`` of the line. ``tokens`` are in the order of KINDS;
    ``hour_writes`` is the part of the cache writes that is kept for an hour. ``is_progress`` marks
    a copy inside a record of a subagent's progress.
    """

    id: str | None
    uuid: str | None
    request_id: str | None
    day: str
    model: str
    tokens: tuple[int, int, int, int]
    hour_writes: int
    is_fast: bool
    file: str
    line: int
    is_progress: bool = False


class _Line(NamedTuple):
    """A line that could be counted, with what tells whether it is."""

    entry: Entry
    moment: datetime
    session: str
    is_sidechain: bool
    has_speed: bool


# ------------------------------------------------------------------ version 18


def first_lines(files: Iterable[Path]) -> list[Entry]:
    """Return what ccusage 18 counts in some files.

    Files are read in the order of their earliest times. A line whose message id and request id were
    both seen together is passed over; one that lacks either is always counted.
    """
    counted: list[Entry] = []
    seen: set[tuple[str, str]] = set()
    for file in _by_earliest_time(files):
        for entry in _read_18(file):
            if entry.id is not None and entry.request_id is not None:
                key = (entry.id, entry.request_id)
                if key in seen:
                    continue
                seen.add(key)
            if entry.model != SYNTHETIC:
                counted.append(entry)
    return counted


def _by_earliest_time(files: Iterable[Path]) -> list[Path]:
    earliest: dict[Path, datetime] = {}
    paths = sorted(files)
    for path in paths:
        moments = [_moment(r.get("timestamp")) for _, r in _objects_18(path)]
        found = [moment for moment in moments if moment is not None]
        earliest[path] = min(found, default=datetime.max.replace(tzinfo=UTC))
    return sorted(paths, key=lambda path: earliest[path])


def _objects_18(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    text = path.read_bytes().decode("utf-8", "replace").removeprefix("\ufeff")
    for number, line in enumerate(_LINE_ENDS.split(text), 1):
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict):
            yield number, record


def _read_18(path: Path) -> Iterator[Entry]:
    for number, record in _objects_18(path):
        if not _is_valid_18(record):
            continue
        message, usage = record["message"], record["message"]["usage"]
        yield _entry(record, message, usage, "flat", path, number)


def _is_valid_18(record: dict[str, Any]) -> bool:
    """Tell whether a line passes its schema; ``null`` is no value for what may be left out."""
    message = record.get("message")
    usage = message.get("usage") if isinstance(message, dict) else None
    if not isinstance(message, dict) or not isinstance(usage, dict):
        return False
    timestamp = record.get("timestamp")
    content = message.get("content", [])
    return (
        isinstance(timestamp, str)
        and _TIME.fullmatch(timestamp) is not None
        and all(_is_number(usage.get(name)) for name in KINDS[:2])
        and all(_is_number(usage.get(name, 0)) for name in KINDS[2:])
        and usage.get("speed", "standard") in ("standard", "fast")
        and all(_is_text(record.get(name, "x")) for name in ("sessionId", "requestId"))
        and all(_is_text(message.get(name, "x")) for name in ("model", "id"))
        and isinstance(record.get("cwd", ""), str)
        and _is_version(record.get("version", "1.0.0"))
        and _is_number(record.get("costUSD", 0))
        and isinstance(record.get("isApiErrorMessage", False), bool)
        and isinstance(content, list)
        and all(isinstance(b, dict) and isinstance(b.get("text", ""), str) for b in content)
    )


# ------------------------------------------------------------------ version 20


def largest_lines(files: Iterable[Path]) -> list[Entry]:
    """Return what ccusage 20 counts in some files, read in the order of their names.

    A response is known by message id and request id; without a request id by message id, session
    and time, so that nearly each of its lines is one. A line of a sidechain is the same as any
    other of its session with this message id. Of two the one outside a sidechain is kept, else the
    one with more tokens. Lines of ``agent_progress`` records count as lines.
    """
    kept: list[_Line] = []
    sessions: list[set[str]] = []
    by_id: dict[str, list[int]] = {}
    for file in sorted(files, key=str):
        for line in _read_20(file):
            identifier = line.entry.id
            known = by_id.setdefault(identifier, []) if identifier is not None else []
            found = _find_same(line, known, kept, sessions)
            if found is None:
                known.append(len(kept))
                kept.append(line)
                sessions.append({line.session})
                continue
            sessions[found].add(line.session)
            if _is_better(line, kept[found]):
                kept[found] = line
    return [line.entry for line in kept if line.entry.model != SYNTHETIC]


def _find_same(
    line: _Line, known: Sequence[int], kept: Sequence[_Line], sessions: Sequence[set[str]]
) -> int | None:
    for index in known:
        if _is_same(line, kept[index]):
            return index
    for index in known:
        if line.session in sessions[index] and (line.is_sidechain or kept[index].is_sidechain):
            return index
    return None


def _is_same(line: _Line, other: _Line) -> bool:
    if line.entry.request_id != other.entry.request_id:
        return False
    if line.entry.request_id is not None:
        return True
    return line.session == other.session and line.moment == other.moment


def _is_better(line: _Line, other: _Line) -> bool:
    if line.is_sidechain != other.is_sidechain:
        return other.is_sidechain
    total, known = sum(line.entry.tokens), sum(other.entry.tokens)
    return total > known if total != known else line.has_speed and not other.has_speed


def _read_20(path: Path) -> Iterator[_Line]:
    for number, raw in enumerate(path.read_bytes().split(b"\n"), 1):
        if b'"usage":{' not in raw or _NULLS.search(raw):
            continue
        try:
            record = json.loads(raw)
        except ValueError:
            continue
        line = _direct(record, path, number) or _progress(record, path, number)
        if line is not None:
            yield line


def _direct(record: Any, path: Path, number: int) -> _Line | None:
    return _line_20(record, record, path, number) if isinstance(record, dict) else None


def _progress(record: Any, path: Path, number: int) -> _Line | None:
    data = record.get("data") if isinstance(record, dict) else None
    inner = data.get("message") if isinstance(data, dict) else None
    return _line_20(inner, record, path, number) if isinstance(inner, dict) else None


def _line_20(said: dict[str, Any], record: dict[str, Any], path: Path, number: int) -> _Line | None:
    message = said.get("message")
    usage = message.get("usage") if isinstance(message, dict) else None
    moment = _moment(said.get("timestamp"))
    if not isinstance(message, dict) or not isinstance(usage, dict) or moment is None:
        return None
    if not all(_is_whole(usage.get(name)) for name in KINDS[:2]) or not _is_version(
        said.get("version", "1.0.0")
    ):
        return None
    session = record.get("sessionId") or _session_of(path)
    entry = _entry(said, message, usage, "split", path, number)
    return _Line(
        entry._replace(is_progress=said is not record),
        moment,
        session,
        said.get("isSidechain") is True,
        usage.get("speed") is not None,
    )


def _session_of(path: Path) -> str:
    return path.parent.parent.name if path.parent.name == "subagents" else path.stem


# ------------------------------------------------------------------ no rule


class LastLine(NamedTuple):
    """The tokens on the last line of a response, and its cache writes by the sum of their split."""

    tokens: tuple[int, int, int, int]
    split_writes: int


def last_lines(files: Iterable[Path]) -> dict[str, set[LastLine]]:
    """Return what the last line of each response says, in each of some files.

    They are what any count that follows the format's documentation may take for the response's.
    Objects that share a line are told apart, as ours are.
    """
    found: dict[str, set[LastLine]] = {}
    for path in files:
        last: dict[str, LastLine] = {}
        for raw in path.read_bytes().split(b"\n"):
            for record in _objects(raw.decode("utf-8", "replace")):
                message = record.get("message")
                usage = message.get("usage") if isinstance(message, dict) else None
                if record.get("type") == "assistant" and isinstance(usage, dict):
                    identifier = message.get("id") or record.get("uuid")  # type: ignore[union-attr]
                    last[str(identifier)] = LastLine(_tokens(usage), sum(_split(usage)))
        for identifier, line in last.items():
            found.setdefault(identifier, set()).add(line)
    return found


def _objects(text: str) -> Iterator[dict[str, Any]]:
    decoder, place = json.JSONDecoder(), 0
    text = text.strip()
    while place < len(text):
        try:
            value, place = decoder.raw_decode(text, place)
        except ValueError:
            return
        if isinstance(value, dict):
            yield value


# ------------------------------------------------------------------ both


def _entry(
    record: dict[str, Any],
    message: dict[str, Any],
    usage: dict[str, Any],
    writes: str,
    path: Path,
    number: int,
) -> Entry:
    five, hour = _split(usage)
    used_in, used_out, written, read = _tokens(usage)
    if writes == "split":
        written = five + hour
    is_fast = usage.get("speed") == "fast"
    model = message.get("model") or "unknown"
    moment = _moment(record["timestamp"])
    assert moment is not None
    return Entry(
        message.get("id"),
        record.get("uuid"),
        record.get("requestId"),
        f"{moment:%Y-%m-%d}",
        f"{model}-fast" if is_fast and model != SYNTHETIC else model,
        (used_in, used_out, written, read),
        hour,
        is_fast,
        str(path),
        number,
    )


def _tokens(usage: dict[str, Any]) -> tuple[int, int, int, int]:
    used_in, used_out, written, read = (_whole(usage.get(name)) for name in KINDS)
    return used_in, used_out, written, read


def _split(usage: dict[str, Any]) -> tuple[int, int]:
    split = usage.get("cache_creation")
    if not isinstance(split, dict):
        return _whole(usage.get(KINDS[2])), 0
    return (
        _whole(split.get("ephemeral_5m_input_tokens")),
        _whole(split.get("ephemeral_1h_input_tokens")),
    )


def _moment(value: Any) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _whole(value: Any) -> int:
    return int(value) if _is_number(value) else 0


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def _is_version(value: Any) -> bool:
    return value is None or (isinstance(value, str) and _VERSION.match(value) is not None)


Rule = Callable[[Iterable[Path]], list[Entry]]
RULES: dict[str, Rule] = {"18.0.11": first_lines, "20.0.24": largest_lines}
