"""What every format of an export has, and a message as the parts that people read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

import orjson

_MAX_REMEMBERED = 10_000


class ExportFormat(Protocol):
    """Writes one conversation from its start to its end; made anew for each."""

    media_type: str
    extension: str
    policy: str | None

    def open(self, conversation: dict[str, Any], *, include_subagents: bool) -> str | bytes:
        """Return what stands before the first message."""

    def message(self, message: dict[str, Any]) -> str | bytes:
        """Return one message, given as the API shows it."""

    def open_subagent(self, conversation: dict[str, Any]) -> str | bytes:
        """Return what stands before the first message of a subagent."""

    def close_subagent(self) -> str | bytes:
        """Return what stands after the last message of a subagent."""

    def close(self, *, is_complete: bool) -> str | bytes:
        """Return what stands at the end."""


class Part(NamedTuple):
    """A piece of a message: ``is_folded`` when most readers pass over it."""

    label: str
    text: str
    is_folded: bool = True
    language: str = "text"


class Parts:
    """Takes messages apart for readers, and leaves out what they have seen.

    What a tool gave back is shown with its use; the message that brought it would repeat it. Only
    results that were shown and not met again are remembered, by their hash.
    """

    def __init__(self) -> None:
        self._shown: Counter[int] = Counter()

    def read(self, message: dict[str, Any]) -> Iterator[Part]:
        """Yield the parts of a message in their order; ``parse`` makes it readable."""
        kind, content = message["kind"], message["content"]
        if message["blocks"] is not None:
            for block in message["blocks"]:
                yield from self._block(block)
        elif content and not (kind == "tool_result" and self._was_shown(content)):
            is_folded = kind not in ("prompt", "queued_prompt", "command", "answer")
            yield Part(kind.replace("_", " "), content, is_folded)
        for call in message["tool_calls"]:
            yield from self._call(call)

    def _block(self, block: dict[str, Any]) -> Iterator[Part]:
        kind = block.get("type")
        if kind == "text":
            yield Part("text", str(block.get("text", "")), is_folded=False)
        elif kind == "thinking":
            yield Part("thinking", str(block.get("thinking", "")))
        elif kind != "tool_use":
            yield Part(str(kind).replace("_", " "), to_json(block), language="json")

    def _call(self, call: dict[str, Any]) -> Iterator[Part]:
        name = call["function"]["name"]
        yield Part(f"{name} input", to_json(call["function"]["arguments"]), language="json")
        if call["result"] is not None:
            if len(self._shown) >= _MAX_REMEMBERED:
                self._shown.clear()
            self._shown[hash(call["result"])] += 1
            yield Part(f"{name} result ({call['status']})", call["result"])
        else:
            yield Part(f"{name} ({call['status']})", "")

    def _was_shown(self, content: str) -> bool:
        found = hash(content)
        if found not in self._shown:
            return False
        self._shown[found] -= 1
        if not self._shown[found]:
            del self._shown[found]
        return True


def parse(message: dict[str, Any]) -> dict[str, Any]:
    """Return a message with nothing in it that is JSON already, as the store gives its parts."""
    parsed: dict[str, Any] = orjson.loads(orjson.dumps(message))
    return parsed


def to_json(value: Any) -> str:
    """Return JSON for people."""
    return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()


def describe(message: dict[str, Any]) -> list[str]:
    """Return what is worth knowing of a message besides what it says."""
    facts = [message["timestamp"]]
    if message["metadata"]["model"]:
        facts.append(message["metadata"]["model"])
    if message["token_count"]:
        facts.append(f"{message['token_count']:,} tokens")
    if not message["is_on_main_branch"]:
        facts.append("rewound")
    if message["is_superseded"]:
        facts.append("no longer in the transcript")
    return facts


def describe_conversation(conversation: dict[str, Any]) -> list[tuple[str, str]]:
    """Return names and values of what is worth knowing of a conversation."""
    cost = conversation["cost_microdollars"]
    facts = [
        ("Conversation", conversation["id"]),
        ("Project", conversation["project_path"]),
        ("Branch", conversation["git_branch"]),
        ("From", conversation["created_at"]),
        ("To", conversation["updated_at"]),
        ("Models", ", ".join(conversation["models"])),
        ("Messages", f"{conversation['message_count']:,}"),
        ("Tokens", f"{conversation['total_tokens']:,}"),
        ("Cost", None if cost is None else f"${cost / 1_000_000:,.2f}"),
    ]
    return [(name, value) for name, value in facts if value]
