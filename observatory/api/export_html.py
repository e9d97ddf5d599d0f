"""An export as one HTML page that needs nothing else and runs nothing."""

from __future__ import annotations

import base64
import hashlib
from html import escape
from typing import Any

from observatory.api.export_parts import Part, Parts, describe, describe_conversation, parse

_STYLE = """
:root { color-scheme: light dark }
:root { --line: #d0d4da; --user: #eef4ff; --quiet: #5b6470; --bad: #b3261e }
@media (prefers-color-scheme: dark) {
  :root { --line: #3a4048; --user: #1c2738; --quiet: #9aa4b0; --bad: #ff8a80 }
}
:root { background: Canvas; color: CanvasText }
body { font: 1rem/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 56rem; padding: 0 1rem }
h1 { font-size: 1.5rem; overflow-wrap: anywhere }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; font-size: .9rem }
dt, header, summary { color: var(--quiet) } dd { margin: 0; overflow-wrap: anywhere }
article { border-top: 1px solid var(--line); padding: .75rem; content-visibility: auto;
  contain-intrinsic-size: auto 12rem }
article.user { background: var(--user) }
header { font-size: .85rem } header b { color: CanvasText; margin-right: .5rem }
pre { white-space: pre-wrap; overflow-wrap: anywhere; margin: .4rem 0; font: inherit }
details pre { font: .85rem/1.45 ui-monospace, monospace; border-left: 3px solid var(--line);
  padding-left: .75rem }
summary { cursor: pointer; font-size: .9rem; overflow-wrap: anywhere }
section { border-left: 3px solid var(--line); margin: 2rem 0 0 1rem; padding-left: 1rem }
.missing { color: var(--bad) }
"""
_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_POLICY = f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'none'"
# How messages of the system and of tools are told apart from what a person typed.
_TYPED = ("prompt", "queued_prompt", "command")


class HtmlPage:
    """Prompts and answers in the open; thinking, tools and the rest folded.

    Every text goes through ``escape``; no address, name or style is made of one.
    """

    media_type = "text/html; charset=utf-8"
    extension = ".html"
    policy: str | None = f"{_POLICY}; frame-ancestors 'none'; sandbox"

    def __init__(self) -> None:
        self._parts = Parts()
        self._is_in_section = False

    def open(self, conversation: dict[str, Any], *, include_subagents: bool) -> str:
        """Return head, title and facts."""
        return (
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
            f'<meta http-equiv="Content-Security-Policy" content="{escape(_POLICY)}">'
            '<meta name="viewport" content="width=device-width">'
            '<meta name="referrer" content="no-referrer">'
            f"<title>{escape(conversation['title'])}</title><style>{_STYLE}</style></head><body>\n"
            + _head("", conversation)
        )

    def message(self, message: dict[str, Any]) -> str:
        """Return one message; nothing for one that would repeat something."""
        message = parse(message)
        parts = "".join(map(_part, self._parts.read(message)))
        if not parts:
            return ""
        who = "user" if message["kind"] in _TYPED else "other"
        facts = " · ".join(describe(message))
        role = message["role"].capitalize()
        return (
            f'<article class="{who}"><header><b>{escape(role)}</b>{escape(facts)}</header>'
            f"{parts}</article>\n"
        )

    def open_subagent(self, conversation: dict[str, Any]) -> str:
        """Return the start of a subagent's section."""
        self._parts = Parts()
        start = self.close_subagent()
        self._is_in_section = True
        return f"{start}<section>{_head('Subagent: ', conversation)}"

    def close_subagent(self) -> str:
        """Return the end of a subagent's section, when one is open."""
        end = "</section>\n" if self._is_in_section else ""
        self._is_in_section = False
        return end

    def close(self, *, is_complete: bool) -> str:
        """Return the end of the page, with a word when something is missing."""
        missing = "Removed while it was exported: something is missing."
        said = "" if is_complete else f'<p class="missing">{missing}</p>\n'
        return f"{self.close_subagent()}{said}</body></html>\n"


def _head(prefix: str, conversation: dict[str, Any]) -> str:
    facts = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>"
        for name, value in describe_conversation(conversation)
    )
    return f'<h1 dir="auto">{prefix}{escape(conversation["title"])}</h1>\n<dl>{facts}</dl>\n'


def _part(part: Part) -> str:
    # The parser drops one newline at the start of <pre>, so there is always one to drop.
    text = f'<pre dir="auto">\n{escape(part.text)}</pre>'
    if not part.is_folded:
        return text
    label = f"<bdi>{escape(part.label)}</bdi>"
    return (
        f"<details><summary>{label}</summary>{text}</details>" if part.text else f"<p>{label}</p>"
    )
