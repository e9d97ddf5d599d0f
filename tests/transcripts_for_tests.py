"""Small transcripts as Claude Code would write them, made line by line by a test."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

START = datetime(2026, 3, 4, 5, 6, 7, 890000, tzinfo=UTC)


class Transcript:
    """Gathers records; each gets the next uuid, the last one as its parent and a later time."""

    def __init__(
        self,
        session_id: str = "11111111-1111-4111-8111-111111111111",
        *,
        cwd: str = "/home/ada/engine",
        version: str = "2.1.120",
        prefix: str = "a",
    ) -> None:
        self.session_id = session_id
        self.common = {
            "userType": "external",
            "cwd": cwd,
            "sessionId": session_id,
            "version": version,
            "gitBranch": "main",
            "isSidechain": False,
        }
        self.prefix = prefix
        self.number = 0
        self.last: str | None = None
        self.records: list[dict[str, Any] | bytes] = []

    def uuid(self, number: int) -> str:
        """Return the uuid of the record with a number, which counts from 1."""
        return f"{self.prefix * 8}-0000-4000-8000-{number:012d}"

    def chain(self, record_type: str, **fields: Any) -> dict[str, Any]:
        """Add a record with uuid, parent and time, and return it."""
        self.number += 1
        record = {
            "parentUuid": self.last,
            **self.common,
            "type": record_type,
            "uuid": self.uuid(self.number),
            "timestamp": timestamp(self.number),
            **fields,
        }
        self.last = record["uuid"]
        self.records.append(record)
        return record

    def side(self, record_type: str, **fields: Any) -> None:
        """Add a record without uuid, parent and time."""
        self.records.append({"type": record_type, **fields})

    def raw(self, line: bytes) -> None:
        """Add a line as it is, without its newline."""
        self.records.append(line)

    def prompt(self, text: Any, **fields: Any) -> dict[str, Any]:
        """Add what a person typed."""
        return self.chain("user", message={"role": "user", "content": text}, **fields)

    def answer(
        self,
        text: str | None = None,
        *,
        blocks: list[dict[str, Any]] | None = None,
        message_id: str | None = None,
        model: str = "claude-opus-4-5-20251101",
        usage: dict[str, Any] | None = None,
        stop_reason: str | None = "end_turn",
        **fields: Any,
    ) -> dict[str, Any]:
        """Add one line of a model response."""
        message_id = message_id or f"msg_{self.prefix}{self.number + 1:04d}"
        message = {
            "model": model,
            "id": message_id,
            "type": "message",
            "role": "assistant",
            "content": blocks or [{"type": "text", "text": text or ""}],
            "stop_reason": stop_reason,
            "usage": usage
            or {
                "input_tokens": 3,
                "cache_creation_input_tokens": 100,
                "cache_read_input_tokens": 1000,
                "output_tokens": 20,
            },
        }
        return self.chain("assistant", message=message, requestId=f"req_{message_id}", **fields)

    def tool_use(
        self, name: str, parameters: Any, *, tool_use_id: str = "toolu_1", **fields: Any
    ) -> dict[str, Any]:
        """Add a request to run a tool."""
        block = {"type": "tool_use", "id": tool_use_id, "name": name, "input": parameters}
        return self.answer(blocks=[block], stop_reason="tool_use", **fields)

    def tool_result(
        self, content: Any, *, tool_use_id: str = "toolu_1", is_error: bool = False, **fields: Any
    ) -> dict[str, Any]:
        """Add the answer of a tool."""
        block = {"type": "tool_result", "tool_use_id": tool_use_id, "content": content}
        if is_error:
            block["is_error"] = True
        return self.prompt([block], **fields)

    def bytes(self, lines: int | None = None) -> bytes:
        """Return the first lines, or all, as a file holds them."""
        return b"".join(encode(record) + b"\n" for record in self.records[:lines])


def encode(record: dict[str, Any] | bytes) -> bytes:
    """Return a record as JSON.stringify writes it."""
    if isinstance(record, bytes):
        return record
    return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode(
        "utf-8", "surrogatepass"
    )


def timestamp(number: int) -> str:
    """Return the time of the record with a number."""
    moment = START + timedelta(seconds=number)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
