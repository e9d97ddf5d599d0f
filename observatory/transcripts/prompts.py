"""Whose words a ``user`` record holds: a person's, a tool's, or the client's own.

Source: docs/transcript-format.md, "Lines and records".
"""

from __future__ import annotations

import re
from typing import Any

from observatory.transcripts.content import Content

_KINDS_BY_BEGINNING = (
    ("<local-command-", "command_output"),
    ("<bash-stdout>", "command_output"),
    ("<bash-stderr>", "command_output"),
    ("<bash-input>", "command"),
    ("<command-name>", "command"),
    ("<command-message>", "command"),
    ("<system-reminder>", "context"),
    ("<task-notification>", "notification"),
    ("<ide_", "context"),
    ("<user-memory-input>", "context"),
    ("Caveat: The messages below", "context"),
    ("[Request interrupted", "interruption"),
)
_BEGINNINGS = ("<", "C", "[")
_WARMUP = "Warmup"
_IDE_ELEMENT = re.compile(r"<(ide_[a-z_]+)>.*?</\1>\s*", re.DOTALL)
_COMMAND_NAME = re.compile(r"<command-name>\s*(.*?)\s*</command-name>", re.DOTALL)
_COMMAND_ARGS = re.compile(r"<command-args>\s*(.*?)\s*</command-args>", re.DOTALL)
_TITLE_CHARACTERS = 200


def user_kind(record: dict[str, Any], content: Content) -> str:
    """Return the kind of a ``user`` record: ``prompt`` only for what a person typed.

    Others: ``tool_result``, ``summary`` (of a compaction), ``injected`` (by the client),
    ``command``, ``command_output``, ``context``, ``notification``, ``interruption``, ``warmup``.
    """
    if content.tool_results:
        return "tool_result"
    if record.get("isCompactSummary"):
        return "summary"
    if record.get("isMeta"):
        return "injected"
    if content.text == _WARMUP and (record.get("isSidechain") or record.get("agentId")):
        return "warmup"
    return text_kind(content.text)


def text_kind(text: str) -> str:
    """Return the kind of a text that is neither a tool's nor marked as the client's."""
    text = text.lstrip()
    if text.startswith("<ide_"):
        text = typed_text(text)
        if not text:
            return "context"
    if not text.startswith(_BEGINNINGS):
        return "prompt"
    for beginning, kind in _KINDS_BY_BEGINNING:
        if text.startswith(beginning):
            return kind
    return "prompt"


def typed_text(text: str) -> str:
    """Return what a person typed, without what an editor put in front of it."""
    return _IDE_ELEMENT.sub("", text).strip()


def title_of(text: str) -> str:
    """Return the beginning of a text as one line of at most 200 characters."""
    line = " ".join(text[: 4 * _TITLE_CHARACTERS].split())
    if len(line) <= _TITLE_CHARACTERS:
        return line
    return line[: _TITLE_CHARACTERS - 1].rstrip() + "…"


def command_of(text: str) -> str | None:
    """Return a slash command with its arguments, or ``None``."""
    found = (_COMMAND_NAME.search(text), _COMMAND_ARGS.search(text))
    return " ".join(match.group(1) for match in found if match and match.group(1)) or None
