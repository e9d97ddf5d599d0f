"""Content blocks: what a message says in plain text, and what it asks tools to do.

Source: docs/transcript-format.md, "Lines and records".
"""

from __future__ import annotations

import base64
import hashlib
from typing import Any, NamedTuple

from observatory.errors import MalformedRecord

_REJECTIONS = ("The user doesn't want to", "User rejected", "[Request interrupted by user for tool")
_INTERRUPTION = "[Request interrupted by user"


class ToolUse(NamedTuple):
    """A request to run a tool; ``server`` is the MCP server that offers it, if any."""

    id: str
    name: str
    server: str | None
    parameters: Any


class ToolResult(NamedTuple):
    """The answer of a tool. ``text`` is what the model was given.

    ``status`` is ``success``, ``error``, ``rejected`` or ``interrupted``; ``is_error`` is what
    the transcript says. ``details`` is the client's own record of the run, ``subagent_id`` the
    subagent or workflow run that the tool started, ``reported_duration_ms`` its own timing.
    """

    tool_use_id: str
    text: str
    is_error: bool
    status: str
    error_category: str | None
    details: Any = None
    subagent_id: str | None = None
    reported_duration_ms: int | None = None


class Content(NamedTuple):
    """The content of one message.

    ``text`` is everything in it that can be read. ``blocks`` is ``None`` when text and kind tell
    the whole of it, else the list of blocks, in which tool uses and results are named by their id.
    """

    text: str
    blocks: list[dict[str, Any]] | None
    types: tuple[str, ...]
    tool_uses: tuple[ToolUse, ...] = ()
    tool_results: tuple[ToolResult, ...] = ()


_MAX_DEPTH = 100
_PLAIN = ("text",)
_THINKING = ("thinking",)
_TOOL_USE = ("tool_use",)


def read_content(content: object, *, tool_details: object = None, denial: object = None) -> Content:
    """Return the content of a message, which is text or a list of blocks.

    Args:
        content: ``message.content`` of a record.
        tool_details: ``toolUseResult`` of the same record.
        denial: ``toolDenialKind`` of the same record.

    Raises:
        MalformedRecord: The content is neither text nor a list, or a tool use has no id.
    """
    if isinstance(content, str):
        return Content(content, None, _PLAIN)
    if content is None:
        return Content("", None, ())
    if not isinstance(content, list):
        raise MalformedRecord("message.content is neither text nor a list")
    if len(content) == 1 and type(content[0]) is dict:
        # Nearly every line holds one block that its text tells whole.
        kind = content[0].get("type")
        if kind == "text":
            return Content(_text(content[0].get("text")), None, _PLAIN)
        if kind == "thinking":
            return Content(_text(content[0].get("thinking")), None, _THINKING)
        if kind == "tool_use":
            return Content("", None, _TOOL_USE, (_read_tool_use(content[0]),))
    texts: list[str] = []
    blocks: list[dict[str, Any]] = []
    uses: list[ToolUse] = []
    results: list[ToolResult] = []
    for block in content:
        if isinstance(block, str):
            block = {"type": "text", "text": block}
        if not isinstance(block, dict):
            raise MalformedRecord("a content block is not an object")
        kept, text = _read_block(block, uses, results, tool_details, denial)
        blocks.append(kept)
        if text:
            texts.append(text)
    types = tuple(block["type"] for block in blocks)
    is_plain = len(blocks) == 1 and blocks[0].pop("plain", False)
    for block in blocks:
        block.pop("plain", None)
    return Content(
        "\n".join(texts), None if is_plain else blocks, types, tuple(uses), tuple(results)
    )


def _read_block(
    block: dict[str, Any],
    uses: list[ToolUse],
    results: list[ToolResult],
    tool_details: object,
    denial: object,
) -> tuple[dict[str, Any], str]:
    """Return a block as it is kept (``plain`` when text and kind tell it whole) and its text."""
    kind = block.get("type")
    if kind == "text":
        text = _text(block.get("text"))
        return {"type": "text", "text": text, "plain": True}, text
    if kind == "thinking":
        text = _text(block.get("thinking"))
        return {"type": "thinking", "thinking": text, "plain": True}, text
    if kind == "tool_use":
        use = _read_tool_use(block)
        uses.append(use)
        return {"type": "tool_use", "id": use.id, "name": use.name, "plain": True}, ""
    if kind == "tool_result":
        result, is_plain = _read_tool_result(block, tool_details, denial)
        results.append(result)
        kept = {"type": "tool_result", "tool_use_id": result.tool_use_id, "plain": is_plain}
        if not is_plain:
            kept["content"] = replace_binary(block.get("content"))
        return kept, result.text
    return {**replace_binary(block), "type": str(kind)}, ""


def _read_tool_use(block: dict[str, Any]) -> ToolUse:
    identifier = block.get("id")
    if not isinstance(identifier, str) or not identifier:
        raise MalformedRecord("a tool_use block has no id")
    name = _text(block.get("name"))
    return ToolUse(identifier, name, mcp_server(name), block.get("input"))


def mcp_server(tool_name: str) -> str | None:
    """Return the MCP server in a tool's name (``mcp__<server>__<tool>``), or ``None``."""
    if not tool_name.startswith("mcp__"):
        return None
    server, separator, _ = tool_name[5:].partition("__")
    return server if separator and server else None


def _read_tool_result(
    block: dict[str, Any], details: object, denial: object
) -> tuple[ToolResult, bool]:
    identifier = block.get("tool_use_id")
    if not isinstance(identifier, str) or not identifier:
        raise MalformedRecord("a tool_result block has no tool_use_id")
    text, is_plain = _result_text(block.get("content"))
    is_error = block.get("is_error") is True
    status, category = _classify(text, is_error=is_error, denial=denial)
    subagent_id, duration_ms = None, None
    if isinstance(details, dict):
        for key in ("agentId", "runId"):
            if isinstance(details.get(key), str):
                subagent_id = details[key]
                break
        duration_ms = _reported_duration_ms(details)
    return (
        ToolResult(identifier, text, is_error, status, category, details, subagent_id, duration_ms),
        is_plain,
    )


def _result_text(content: object) -> tuple[str, bool]:
    """Return the text of a result, and whether that text is all there is to it."""
    if isinstance(content, str):
        return content, True
    if not isinstance(content, list):
        return "", content is None
    texts = []
    is_plain = True
    for part in content:
        if isinstance(part, str):
            texts.append(part)
        elif isinstance(part, dict) and part.get("type") == "text":
            texts.append(_text(part.get("text")))
        else:
            is_plain = False
    return "\n".join(texts), is_plain


def _classify(text: str, *, is_error: bool, denial: object) -> tuple[str, str | None]:
    """Return status and error category of a result, from the words Claude Code uses."""
    if not is_error:
        return "success", None
    if text.startswith(_INTERRUPTION):
        return "interrupted", "interrupted"
    if denial is not None or any(words in text[:400] for words in _REJECTIONS):
        return "rejected", "rejected"
    head = text[:400].lower()
    if "permission" in head and "denied" in head:
        return "rejected", "permission"
    for words, category in _ERROR_CATEGORIES:
        if words in head:
            return "error", category
    return "error", "other"


_ERROR_CATEGORIES = (
    ("inputvalidationerror", "invalid_input"),
    ("exit code", "exit_code"),
    ("timed out", "timeout"),
    ("timeout", "timeout"),
    ("has not been read yet", "not_read"),
    ("has been modified since", "file_changed"),
    ("string to replace", "no_match"),
    ("does not exist", "not_found"),
    ("not found", "not_found"),
    ("no such file", "not_found"),
    ("exceeds maximum", "too_large"),
    ("too large", "too_large"),
    ("status code", "http"),
)


def _reported_duration_ms(details: dict[str, Any]) -> int | None:
    for key, factor in (("totalDurationMs", 1), ("durationMs", 1), ("durationSeconds", 1000)):
        value = details.get(key)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 2**40:
            return round(value * factor)
    return None


def replace_binary(value: Any, depth: int = 0) -> Any:
    """Return JSON data in which base64 data is replaced by its hash, size and media type.

    What is nested deeper than _MAX_DEPTH is left out: the fast parser takes more than Python can
    walk.
    """
    if depth >= _MAX_DEPTH and isinstance(value, (dict, list)):
        return "(nested too deeply)"
    if isinstance(value, dict):
        for key in ("data", "base64", "signature"):
            data = value.get(key)
            if isinstance(data, str) and len(data) > 64:
                rest = {k: replace_binary(v, depth + 1) for k, v in value.items() if k != key}
                return {**rest, **_describe(data)}
        return {key: replace_binary(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [replace_binary(item, depth + 1) for item in value]
    return value


def _describe(data: str) -> dict[str, Any]:
    try:
        raw = base64.b64decode(data, validate=True)
    except ValueError:
        raw = data.encode("utf-8", "replace")
    return {"sha256": hashlib.sha256(raw).hexdigest(), "bytes": len(raw)}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
