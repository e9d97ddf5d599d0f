"""Tool calls with the inputs, result blocks and ``toolUseResult`` that the client writes."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.bench.shape import FILE_CHARS, TOOLS
from tests.bench.words import TextPools

_NUMBERED = [f"{number:>6}→" for number in range(12_000)]
REFUSED = (
    "The user doesn't want to proceed with this tool use. The tool use was rejected (eg. if it was "
    "a file edit, the new_string was NOT written to the file). STOP what you are doing and wait "
    "for the user to tell you how to proceed."
)
_SUFFIXES = (".py", ".ts", ".go", ".tsx", ".md", ".rs", ".json")


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call: ``content`` is the text of the result block, ``result`` the ``toolUseResult``."""

    name: str
    input: dict[str, Any]
    content: str | list[dict[str, Any]]
    result: Any
    is_error: bool
    duration_ms: int


class Workspace:
    """The files of one session, so that a file that is read twice says the same."""

    def __init__(self, rng: random.Random, pools: TextPools, cwd: str) -> None:
        self.rng = rng
        self.pools = pools
        self.cwd = cwd
        self._files: dict[str, str] = {}

    def find_file(self, at_least_chars: int = 0) -> tuple[str, str]:
        """Return path and text of a file, a known one if one is long enough."""
        rng = self.rng
        if self._files and rng.random() < 0.7:
            path = rng.choice(list(self._files))
            if len(self._files[path]) >= at_least_chars:
                return path, self._files[path]
        path = self.make_path()
        self._files[path] = self.pools.code(max(at_least_chars, FILE_CHARS.draw(rng)))
        return path, self._files[path]

    def change_file(self, path: str, text: str) -> None:
        """Remember the new text of a file."""
        self._files[path] = text

    def make_path(self) -> str:
        """Return the absolute path of a file that may be new."""
        name, rng = self.pools.name, self.rng
        slash = "\\" if self.cwd[1:2] == ":" else "/"
        parts = (self.cwd, rng.choice(("src", "tests", "lib")), name())
        return slash.join(parts) + f"{slash}{name()}_{name()}{rng.choice(_SUFFIXES)}"


def make_tool_call(name: str, space: Workspace) -> ToolCall:
    """Return a call of the named tool, of a size and with an outcome as they are usual."""
    shape, rng = TOOLS[name], space.rng
    make = _MAKERS.get(name, _make_other)
    call = make(space, shape.input_chars.draw(rng), shape.result_chars.draw(rng))
    input_, content, result = call
    is_error = rng.random() < shape.error_share
    if is_error:
        content, result = _fail(space)
    return ToolCall(name, input_, content, result, is_error, shape.duration_ms.draw(rng))


def _fail(space: Workspace) -> tuple[str, str]:
    if space.rng.random() < 0.12:
        return REFUSED, "User rejected tool use"
    text = f"Exit code 1\n{space.pools.output(40 + int(space.rng.random() * 900))}"
    return text, f"Error: {text}"


_Parts = tuple[dict[str, Any], Any, Any]


def _make_bash(space: Workspace, input_chars: int, result_chars: int) -> _Parts:
    command = f"cd {space.cwd} && {space.pools.code(max(8, input_chars - 60)).strip()}"
    stdout = space.pools.output(result_chars)
    input_ = {"command": command, "description": space.pools.prose(30)}
    result = {"stdout": stdout, "stderr": "", "interrupted": False, "isImage": False}
    return input_, stdout, result


def _make_read(space: Workspace, input_chars: int, result_chars: int) -> _Parts:
    path, text = space.find_file(space.pools.cap(result_chars) * 4 // 5)
    input_: dict[str, Any] = {"file_path": path}
    lines = text.split("\n")
    start, total = 0, len(lines)
    if input_chars > 115:
        start = int(space.rng.random() * total / 2)
        input_ |= {"offset": start + 1, "limit": 400}
    part = text[:result_chars] if not start else "\n".join(lines[start:])[:result_chars]
    shown = part.split("\n")
    numbered = "\n".join(map("".join, zip(_NUMBERED[start + 1 :], shown, strict=False)))
    file = {
        "filePath": path,
        "content": part,
        "numLines": len(shown),
        "startLine": start + 1,
        "totalLines": total,
    }
    return input_, numbered, {"type": "text", "file": file}


def _make_edit(space: Workspace, input_chars: int, _: int) -> _Parts:
    path, text = space.find_file()
    size = space.pools.cap(max(20, (input_chars - 110) // 2))
    start = int(space.rng.random() * max(1, len(text) - size))
    old, new = text[start : start + size], space.pools.code(size)
    space.change_file(path, text[:start] + new + text[start + size :])
    strings = {"old_string": old, "new_string": new}
    line = text.count("\n", 0, start) + 1
    removed, added = [f"-{row}" for row in old.split("\n")], [f"+{row}" for row in new.split("\n")]
    patch = {
        "oldStart": line,
        "oldLines": len(removed),
        "newStart": line,
        "newLines": len(added),
        "lines": removed + added,
    }
    result = {
        "filePath": path,
        "oldString": old,
        "newString": new,
        "originalFile": text,
        "structuredPatch": [patch],
        "userModified": False,
        "replaceAll": False,
    }
    content = f"The file {path} has been updated successfully."
    return {"replace_all": False, "file_path": path, **strings}, content, result


def describe_created(path: str, text: str) -> tuple[str, dict[str, Any]]:
    """Return what the client says of a file that was made, and the details beside it."""
    result: dict[str, Any] = {
        "type": "create",
        "filePath": path,
        "content": text,
        "structuredPatch": [],
        "originalFile": None,
    }
    return f"File created successfully at: {path}", result


def _make_write(space: Workspace, input_chars: int, _: int) -> _Parts:
    path, text = space.make_path(), space.pools.code(input_chars)
    space.change_file(path, text)
    return ({"file_path": path, "content": text}, *describe_created(path, text))


def _make_grep(space: Workspace, input_chars: int, result_chars: int) -> _Parts:
    pools = space.pools
    input_ = {
        "pattern": pools.prose(max(4, input_chars - 110)),
        "path": space.cwd,
        "output_mode": "content",
    }
    content = pools.output(result_chars) if result_chars > 30 else "No matches found"
    result: dict[str, Any] = {
        "mode": "content",
        "numFiles": 0,
        "filenames": [],
        "content": content,
        "numLines": content.count("\n"),
    }
    return input_, content, result


def _make_glob(space: Workspace, _: int, result_chars: int) -> _Parts:
    count = result_chars // (len(space.cwd) + 25)
    names = [space.make_path() for _ in range(count)]
    result: dict[str, Any] = {
        "filenames": names,
        "durationMs": 12,
        "numFiles": count,
        "truncated": False,
    }
    return {"pattern": f"**/*{space.pools.name()}*"}, "\n".join(names) or "No files found", result


def _make_todos(space: Workspace, input_chars: int, _: int) -> _Parts:
    todos = [
        {"content": text, "status": "pending", "activeForm": text}
        for text in (space.pools.prose(40) for _ in range(max(1, input_chars // 140)))
    ]
    content = (
        "Todos have been modified successfully. Ensure that you continue to use the todo list to "
        "track your progress. Please proceed with the current tasks if applicable"
    )
    return {"todos": todos}, content, {"oldTodos": todos[1:], "newTodos": todos}


def _make_task_create(space: Workspace, input_chars: int, _: int) -> _Parts:
    subject, number = space.pools.prose(50), int(space.rng.random() * 40)
    input_ = {
        "subject": subject,
        "description": space.pools.prose(max(20, input_chars - 120)),
        "activeForm": subject,
    }
    content = f"Task #{number} created successfully: {subject}"
    return input_, content, {"task": {"id": f"{number}", "subject": subject}}


def _make_task_update(space: Workspace, _: int, __: int) -> _Parts:
    number = f"{int(space.rng.random() * 40)}"
    change = {"from": "pending", "to": "in_progress"}
    result = {
        "success": True,
        "taskId": number,
        "updatedFields": ["status"],
        "statusChange": change,
    }
    return {"taskId": number, "status": "in_progress"}, f"Updated task #{number} status", result


def _make_web_search(space: Workspace, input_chars: int, result_chars: int) -> _Parts:
    query, text = space.pools.prose(input_chars), space.pools.prose(result_chars)
    result = {"query": query, "results": [text], "durationSeconds": 11.25, "searchCount": 1}
    return {"query": query}, text, result


def _make_web_fetch(space: Workspace, input_chars: int, result_chars: int) -> _Parts:
    url, text = f"https://example.com/{space.pools.name()}", space.pools.prose(result_chars)
    result = {
        "bytes": len(text),
        "code": 200,
        "codeText": "OK",
        "result": text,
        "durationMs": 4_894,
        "url": url,
    }
    return {"url": url, "prompt": space.pools.prose(input_chars)}, text, result


def _make_mcp(space: Workspace, input_chars: int, result_chars: int) -> _Parts:
    input_ = {"title": space.pools.prose(30), "description": space.pools.prose(input_chars)}
    blocks = [{"type": "text", "text": space.pools.prose(result_chars)}]
    return input_, blocks, blocks


def _make_other(space: Workspace, input_chars: int, result_chars: int) -> _Parts:
    text = space.pools.prose(result_chars)
    return {"prompt": space.pools.prose(input_chars)}, text, {"success": True, "text": text}


_MAKERS: dict[str, Callable[[Workspace, int, int], _Parts]] = {
    "Bash": _make_bash,
    "Read": _make_read,
    "Edit": _make_edit,
    "Write": _make_write,
    "Grep": _make_grep,
    "Glob": _make_glob,
    "TodoWrite": _make_todos,
    "TaskCreate": _make_task_create,
    "TaskUpdate": _make_task_update,
    "WebSearch": _make_web_search,
    "WebFetch": _make_web_fetch,
    "mcp__linear-server__create_issue": _make_mcp,
    "mcp__linear-server__get_issue": _make_mcp,
}
