"""Tool calls with the results that the client writes, for texts that are given."""

import difflib
from typing import Any

from tests.bench.tool_calls import REFUSED, ToolCall, describe_created

_TODOS_KEPT = (
    "Todos have been modified successfully. Ensure that you continue to use the todo list to "
    "track your progress. Please proceed with the current tasks if applicable"
)
_STOPPED = "[Request interrupted by user for tool use]"


def bash(
    command: str,
    output: str,
    *,
    description: str,
    exit_code: int = 0,
    duration_ms: int = 1_900,
) -> ToolCall:
    """Return a command with its output; an exit code other than 0 is an error."""
    input_ = {"command": command, "description": description}
    if exit_code:
        text = f"Exit code {exit_code}\n{output}"
        return ToolCall("Bash", input_, text, f"Error: {text}", True, duration_ms)
    result = {"stdout": output, "stderr": "", "interrupted": False, "isImage": False}
    return ToolCall("Bash", input_, output, result, False, duration_ms)


def read(path: str, text: str) -> ToolCall:
    """Return a look at a whole file."""
    lines = text.rstrip("\n").split("\n")
    numbered = "\n".join(f"{number:>6}→{line}" for number, line in enumerate(lines, 1))
    file = {
        "filePath": path,
        "content": text,
        "numLines": len(lines),
        "startLine": 1,
        "totalLines": len(lines),
    }
    return ToolCall("Read", {"file_path": path}, numbered, {"type": "text", "file": file}, False, 9)


def edit(path: str, text: str, *, old: str, new: str, duration_ms: int = 240) -> ToolCall:
    """Return a change of a file, with the hunks that it makes."""
    changed = text.replace(old, new, 1)
    result = {
        "filePath": path,
        "oldString": old,
        "newString": new,
        "originalFile": text,
        "structuredPatch": _list_hunks(text, changed),
        "userModified": False,
        "replaceAll": False,
    }
    content = f"The file {path} has been updated successfully."
    input_ = {"file_path": path, "old_string": old, "new_string": new, "replace_all": False}
    return ToolCall("Edit", input_, content, result, False, duration_ms)


def _list_hunks(before: str, after: str) -> list[dict[str, Any]]:
    old, new = before.splitlines(), after.splitlines()
    hunks = []
    for group in difflib.SequenceMatcher(None, old, new, autojunk=False).get_grouped_opcodes(3):
        lines: list[str] = []
        for tag, old_start, old_end, new_start, new_end in group:
            if tag == "equal":
                lines += [f" {line}" for line in old[old_start:old_end]]
            else:
                lines += [f"-{line}" for line in old[old_start:old_end]]
                lines += [f"+{line}" for line in new[new_start:new_end]]
        first, last = group[0], group[-1]
        hunks.append(
            {
                "oldStart": first[1] + 1,
                "oldLines": last[2] - first[1],
                "newStart": first[3] + 1,
                "newLines": last[4] - first[3],
                "lines": lines,
            }
        )
    return hunks


def write(path: str, text: str) -> ToolCall:
    """Return the making of a file."""
    content, result = describe_created(path, text)
    return ToolCall("Write", {"file_path": path, "content": text}, content, result, False, 180)


def grep(pattern: str, folder: str, *, hits: list[str]) -> ToolCall:
    """Return a search with the lines that it finds."""
    content = "\n".join(hits) or "No matches found"
    names = sorted({hit.partition(":")[0] for hit in hits})
    result = {
        "mode": "content",
        "numFiles": len(names),
        "filenames": names,
        "content": content,
        "numLines": len(hits),
    }
    input_ = {"pattern": pattern, "path": folder, "output_mode": "content", "-n": True}
    return ToolCall("Grep", input_, content, result, False, 310)


def todos(items: list[str], *, done: int) -> ToolCall:
    """Return a list of things to do, of which so many are done and the next one is at work."""
    states = ["completed"] * done + ["in_progress"] + ["pending"] * len(items)
    listed = [
        {"content": item, "status": state, "activeForm": item}
        for item, state in zip(items, states, strict=False)
    ]
    result = {"oldTodos": [], "newTodos": listed}
    return ToolCall("TodoWrite", {"todos": listed}, _TODOS_KEPT, result, False, 12)


def mcp(server: str, tool: str, parameters: dict[str, Any], text: str) -> ToolCall:
    """Return a call of a tool that an MCP server offers."""
    blocks = [{"type": "text", "text": text}]
    return ToolCall(f"mcp__{server}__{tool}", parameters, blocks, blocks, False, 1_400)


def web_search(query: str, text: str) -> ToolCall:
    """Return a search in the web."""
    result = {"query": query, "results": [text], "durationSeconds": 6.4, "searchCount": 1}
    return ToolCall("WebSearch", {"query": query}, text, result, False, 6_400)


def plan(text: str, *, is_accepted: bool) -> ToolCall:
    """Return a plan that is shown to the user."""
    if not is_accepted:
        return rejected(ToolCall("ExitPlanMode", {"plan": text}, "", "", False, 0))
    content = f"User has approved your plan. You can now start coding.\n\n{text}"
    result = {"plan": text, "isAgent": False}
    return ToolCall("ExitPlanMode", {"plan": text}, content, result, False, 48_000)


def rejected(call: ToolCall) -> ToolCall:
    """Return a call that the user did not allow."""
    return ToolCall(call.name, call.input, REFUSED, "User rejected tool use", True, 21_000)


def interrupted(call: ToolCall) -> ToolCall:
    """Return a call that the user stopped."""
    return ToolCall(call.name, call.input, _STOPPED, "Error: interrupted", True, 65_000)
