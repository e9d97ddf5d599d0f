"""An export as Markdown: what was said stands in fences, so that it is shown and never obeyed."""

from __future__ import annotations

import re
from typing import Any

from observatory.api.export_parts import Parts, describe, describe_conversation, parse

_SPECIAL = re.compile(r"([\\`*_{}\[\]()#!|<>~&:@$])")
_BACKTICKS = re.compile(r"`+")


class Markdown:
    """Headings for messages, fences for texts."""

    media_type = "text/markdown; charset=utf-8"
    extension = ".md"
    policy: str | None = "default-src 'none'; sandbox"

    def __init__(self) -> None:
        self._parts = Parts()

    def open(self, conversation: dict[str, Any], *, include_subagents: bool) -> str:
        """Return title and facts."""
        return _head("#", "", conversation)

    def message(self, message: dict[str, Any]) -> str:
        """Return heading and parts; nothing for a message that would repeat something."""
        message = parse(message)
        texts = [
            f"**{in_line(part.label)}**\n\n{fence(part.text, part.language)}"
            if part.text
            else f"**{in_line(part.label)}**\n"
            for part in self._parts.read(message)
        ]
        if not texts:
            return ""
        facts = ", ".join(in_line(fact) for fact in describe(message))
        return (
            f"## {in_line(message['role'].capitalize())}\n\n{facts}\n\n" + "\n".join(texts) + "\n"
        )

    def open_subagent(self, conversation: dict[str, Any]) -> str:
        """Return title and facts of the subagent."""
        self._parts = Parts()
        return _head("#", "Subagent: ", conversation)

    def close_subagent(self) -> str:
        """Return nothing."""
        return ""

    def close(self, *, is_complete: bool) -> str:
        """Return a word when something is missing."""
        return "" if is_complete else "\n*Removed while it was exported: something is missing.*\n"


def _head(level: str, prefix: str, conversation: dict[str, Any]) -> str:
    facts = "".join(
        f"- {name}: {in_line(value)}\n" for name, value in describe_conversation(conversation)
    )
    return f"{level} {prefix}{in_line(conversation['title'])}\n\n{facts}\n"


def in_line(text: str) -> str:
    """Return text for one line that Markdown shows as it is."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def fence(text: str, language: str = "text") -> str:
    """Return text between fences that are longer than any run of backticks in it."""
    longest = max((len(run) for run in _BACKTICKS.findall(text)), default=0)
    ticks = "`" * max(3, longest + 1)
    return f"{ticks}{language}\n{text}\n{ticks}\n"
