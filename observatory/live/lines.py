"""What an event says to a person, in one line: a mark, words, and how they look.

Pure functions from the JSON of events, as ``store.events`` makes it, to words. What they say is
not cleaned yet: ``live.layout`` does that with everything that it puts into a line.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from typing import Any, NamedTuple

from observatory.store.event_notes import (
    ANALYTICS_UPDATE,
    BUDGET_THRESHOLD,
    CONVERSATION_DELETED,
    CONVERSATION_ENDED,
    CONVERSATION_STARTED,
    CONVERSATION_UPDATED,
    FILE_PROCESSING_UPDATE,
    MESSAGE_ADDED,
    PROJECT_DISCOVERED,
    TOOL_USE_FINISHED,
)
from observatory.transcripts.prompts import command_of, typed_text

DIM = "dim"
BOLD = "bold"
GOOD = "green"
BAD = "red"
DOUBTFUL = "yellow"

# They come with each message; who wants them asks for them.
ONLY_WHEN_ASKED_FOR = frozenset({CONVERSATION_UPDATED, ANALYTICS_UPDATE})
# What the client says to the model by itself, and results: that they came is told by the tool use.
_MACHINE_KINDS = frozenset({"tool_result", "injected", "context", "warmup"})
_MARKS = {
    "prompt": ("> ", BOLD),
    "queued_prompt": ("> ", BOLD),
    "answer": ("", ""),
    "thinking": ("✻ ", DIM),
    "command": ("> ", BOLD),
    "command_output": ("  ", DIM),
    "summary": ("≡ ", DIM),
    "compaction": ("≡ ", DIM),
    "notification": ("· ", DIM),
    "interruption": ("! ", DOUBTFUL),
    "retry": ("! ", DOUBTFUL),
    "api_error": ("! ", BAD),
    "notice": ("· ", DIM),
}
_TELLING_ARGUMENTS = (
    "command", "file_path", "notebook_path", "pattern", "url", "query", "prompt", "path", "skill",
    "description",
)  # fmt: skip
_STATUS_STYLES = {"success": DIM, "error": BAD, "rejected": DOUBTFUL, "interrupted": DOUBTFUL}


class Part(NamedTuple):
    """Some words of a line, and the style of rich that they have."""

    text: str
    style: str = ""


def describe(body: dict[str, Any], *, asked_for: Collection[str] = ()) -> list[Part] | None:
    """Return what an event says, or ``None`` when it says nothing to a person.

    Args:
        body: The event.
        asked_for: The types that somebody named, of which then everything is told.
    """
    kind = body["type"]
    is_asked_for = kind in asked_for
    if kind in ONLY_WHEN_ASKED_FOR and not is_asked_for:
        return None
    describer = _DESCRIBERS.get(kind)
    return None if describer is None else describer(body, is_asked_for)


def _conversation(mark: str, style: str, note: str) -> Callable[..., list[Part] | None]:
    def describer(body: dict[str, Any], _is_asked_for: bool) -> list[Part] | None:
        conversation = body["data"]["conversation"]
        if conversation is None:
            return None
        return [Part(mark, style), Part(_first_line(conversation["title"]), style), Part(note, DIM)]

    return describer


def _updated(body: dict[str, Any], _is_asked_for: bool) -> list[Part] | None:
    conversation = body["data"]["conversation"]
    if conversation is None:
        return None
    told = [
        f"{conversation['message_count']:,} messages",
        f"{short_count(conversation['total_tokens'])} tokens",
    ]
    cost = conversation["cost_microdollars"]
    if cost is not None:
        told.append(f"${cost / 1e6:,.2f}")
    return [Part(f"= {', '.join(told)}", DIM)]


def _deleted(body: dict[str, Any], _is_asked_for: bool) -> list[Part]:
    told = "removed for good" if body["data"]["is_permanent"] else "moved to the trash"
    return [Part("✗ ", DOUBTFUL), Part(f"{body['conversation_id']}  {told}", DOUBTFUL)]


def _project(body: dict[str, Any], _is_asked_for: bool) -> list[Part]:
    return [
        Part("+ ", GOOD),
        Part(f"{body['data']['project']['path']}"),
        Part("  new project", DIM),
    ]


def _analytics(body: dict[str, Any], _is_asked_for: bool) -> list[Part]:
    return [Part("= the project's numbers are others", DIM)]


def _budget(body: dict[str, Any], _is_asked_for: bool) -> list[Part] | None:
    told = body["data"]
    if told["budget"] is None:
        return None
    limit = told["limit_microdollars"]
    if limit is not None:
        spent = f"${told['spent_microdollars'] / 1e6:,.2f} of ${limit / 1e6:,.2f}"
    else:
        spent = f"{short_count(told['spent_tokens'])} of {short_count(told['limit_tokens'])} tokens"
    style = BAD if told["percent"] >= 100 else DOUBTFUL
    words = f"{told['budget']['name']}: {told['used_percent']} % used, {spent}"
    return [Part("! ", style), Part(words, style)]


def _file(body: dict[str, Any], is_asked_for: bool) -> list[Part] | None:
    file = body["data"]["file"]
    status = file.get("status")
    name = file.get("file_path") or file.get("filename") or "a file that is gone"
    if status == "error":
        reason = _first_line(file.get("error_message") or "it can not be read")
        return [Part("! ", BAD), Part(f"{name}: {reason}", BAD)]
    return [Part(f"· {name}: {status}", DIM)] if is_asked_for else None


def _tool_use(body: dict[str, Any], _is_asked_for: bool) -> list[Part] | None:
    use = body["data"]["tool_use"]
    if use is None:
        return None
    status = use["status"]
    style = _STATUS_STYLES.get(status, "")
    parts = [Part(f"  {use['name']} ", DIM), Part(status, style)]
    took = use["execution_time_ms"]
    if use["reported_duration_ms"] is not None:
        # A tool's own timing does not have the time in it for which a person was asked.
        took = use["reported_duration_ms"]
    if took is not None:
        parts.append(Part(f" {short_duration(took)}", DIM))
    category = use["error_category"]
    if category and category not in (status, "other"):
        parts.append(Part(f"  {category.replace('_', ' ')}", style))
    return parts


def _message(body: dict[str, Any], is_asked_for: bool) -> list[Part] | None:
    message = body["data"]["message"]
    if message is None:
        return None
    kind, content = message["kind"], message["content"]
    if kind in _MACHINE_KINDS and not is_asked_for:
        return None
    parts: list[Part] = []
    for call in message["tool_calls"]:
        if parts:
            parts.append(Part("  "))
        argument = telling_argument(call["arguments_preview"], within=body["project_path"])
        parts += [Part("⏺ ", GOOD), Part(call["name"], BOLD), Part(f"  {argument}")]
    text = _first_line(_spoken(kind, content))
    if text and parts:
        parts.append(Part(f"  {text}", DIM))
    elif text:
        mark, style = _MARKS.get(kind, ("  ", DIM))
        parts += [Part(mark, style), Part(text, style)]
    return parts or None


def _spoken(kind: str, content: str) -> str:
    """Return what of a message's text is for people, without the tags around it."""
    if kind == "command":
        typed = content.removeprefix("<bash-input>").removesuffix("</bash-input>")
        return command_of(content) or (f"! {typed}" if typed != content else content)
    if kind == "command_output":
        for tag in ("local-command-stdout", "local-command-stderr", "bash-stdout", "bash-stderr"):
            content = content.replace(f"<{tag}>", "").replace(f"</{tag}>", "")
        return content
    return typed_text(content) if kind == "prompt" else content


def _first_line(text: str) -> str:
    """Return the first line that says something; an ellipsis tells that there is more."""
    first, *rest = text.strip().splitlines() or [""]
    return f"{first.rstrip()} …" if rest else first.rstrip()


def telling_argument(preview: str | None, *, within: str | None = None) -> str:
    """Return the argument of a tool call that tells most, or else all of them as JSON.

    Args:
        preview: The arguments as JSON, of which the end may be cut off.
        within: The project's folder: what lies in it is named from there.
    """
    if not preview:
        return ""
    arguments = _read_arguments(preview)
    for name in _TELLING_ARGUMENTS:
        value = arguments.get(name)
        if isinstance(value, str) and value.strip():
            if within and name.endswith("path") and value[len(within) :].startswith(("/", "\\")):
                value = value.removeprefix(within).lstrip("/\\") or value
            return _first_line(value)
    return "" if preview == "{}" else preview


_DECODER = json.JSONDecoder(strict=False)


def _read_arguments(preview: str) -> dict[str, Any]:
    """Return the members of a JSON object up to where it is cut off, with a text that is cut."""
    found: dict[str, Any] = {}
    position = 1
    try:
        while preview[position - 1] in "{,":
            name, position = _DECODER.raw_decode(preview, _skip_space(preview, position))
            position = _skip_space(preview, position)
            if preview[position] != ":":
                break
            start = _skip_space(preview, position + 1)
            try:
                found[name], position = _DECODER.raw_decode(preview, start)
            except (ValueError, RecursionError):
                if preview[start] == '"':
                    found[name] = _read_cut_text(preview[start:])
                break
            position = _skip_space(preview, position) + 1
    except (ValueError, IndexError, RecursionError, TypeError):
        pass
    return found


def _skip_space(text: str, position: int) -> int:
    while text[position] in " \t\r\n":
        position += 1
    return position


def _read_cut_text(text: str) -> str:
    """Return a JSON string that lacks its end, which may be in the middle of an escape."""
    for cut_off in range(6):
        try:
            value, _ = _DECODER.raw_decode(text[: len(text) - cut_off] + '"')
        except ValueError:
            continue
        # Half of a pair of escapes that make one character is none.
        return str(value).encode(errors="ignore").decode()
    return ""


def short_count(number: int) -> str:
    """Return a number as people say it: ``950``, ``12.3 k``, ``1.2 M``, ``3.4 G``."""
    if number < 1000:
        return str(number)
    scaled = float(number)
    for unit in "kMG":
        scaled /= 1000
        # Not 999.95, which would be written as 1000.0.
        if scaled < 999.95 or unit == "G":
            break
    return f"{scaled:,.1f} {unit}"


def short_duration(milliseconds: int) -> str:
    """Return a span of time as people say it: ``0.8 s``, ``2 min 5 s``, ``1 h 20 min``."""
    if milliseconds < 59_950:
        return f"{milliseconds / 1000:.1f} s"
    minutes, seconds = divmod(round(milliseconds / 1000), 60)
    if minutes < 60:
        return f"{minutes} min {seconds} s"
    return f"{minutes // 60} h {minutes % 60} min"


_DESCRIBERS: dict[str, Callable[[dict[str, Any], bool], list[Part] | None]] = {
    CONVERSATION_STARTED: _conversation("● ", BOLD, ""),
    CONVERSATION_UPDATED: _updated,
    CONVERSATION_ENDED: _conversation("○ ", DIM, "  ended"),
    CONVERSATION_DELETED: _deleted,
    MESSAGE_ADDED: _message,
    TOOL_USE_FINISHED: _tool_use,
    PROJECT_DISCOVERED: _project,
    FILE_PROCESSING_UPDATE: _file,
    ANALYTICS_UPDATE: _analytics,
    BUDGET_THRESHOLD: _budget,
}
