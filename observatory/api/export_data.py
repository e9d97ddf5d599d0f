"""Exports for programs: a message per line, or one JSON document."""

from __future__ import annotations

from typing import Any

import orjson


class JsonLines:
    """One message per line, as the API shows it; those of subagents follow."""

    media_type = "application/x-ndjson"
    extension = ".jsonl"
    policy: str | None = None

    def open(self, conversation: dict[str, Any], *, include_subagents: bool) -> bytes:
        """Return nothing: lines are messages."""
        return b""

    def message(self, message: dict[str, Any]) -> bytes:
        """Return the message's line."""
        return orjson.dumps(message, option=orjson.OPT_APPEND_NEWLINE)

    def open_subagent(self, conversation: dict[str, Any]) -> bytes:
        """Return nothing: each message names its conversation."""
        return b""

    def close_subagent(self) -> bytes:
        """Return nothing."""
        return b""

    def close(self, *, is_complete: bool) -> bytes:
        """Return nothing."""
        return b""


class JsonDocument:
    """``{conversation, messages, subagents: [{conversation, messages}], complete}``."""

    media_type = "application/json"
    extension = ".json"
    policy: str | None = None

    def __init__(self) -> None:
        self._separator = b""
        self._is_in_subagents = False
        self._is_open = True
        self._with_subagents = False

    def open(self, conversation: dict[str, Any], *, include_subagents: bool) -> bytes:
        """Return the conversation and the start of its messages."""
        self._with_subagents = include_subagents
        return b'{"conversation":' + orjson.dumps(conversation) + b',"messages":['

    def message(self, message: dict[str, Any]) -> bytes:
        """Return the message as an item of its list."""
        separator, self._separator = self._separator, b",\n"
        return separator + orjson.dumps(message)

    def open_subagent(self, conversation: dict[str, Any]) -> bytes:
        """Return the subagent and the start of its messages."""
        start = self._end_messages() + (b"," if self._is_in_subagents else b',"subagents":[')
        self._is_in_subagents = self._is_open = True
        self._separator = b""
        return start + b'\n{"conversation":' + orjson.dumps(conversation) + b',"messages":['

    def close_subagent(self) -> bytes:
        """Return the end of its messages."""
        return self._end_messages()

    def close(self, *, is_complete: bool) -> bytes:
        """Return the end of the document."""
        end = self._end_messages()
        if self._is_in_subagents:
            end += b"]"
        elif self._with_subagents:
            end += b',"subagents":[]'
        return end + b',"complete":' + orjson.dumps(is_complete) + b"}\n"

    def _end_messages(self) -> bytes:
        """Return the end of a list of messages, and of the subagent that it belongs to."""
        if not self._is_open:
            return b""
        self._is_open = False
        return b"]}" if self._is_in_subagents else b"]"
