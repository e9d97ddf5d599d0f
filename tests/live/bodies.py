"""Bodies of events as ``store.events`` makes them, made by hand."""

from __future__ import annotations

from typing import Any

ID = "f2b8c1e4-0000-4000-8000-000000000000"


def body(kind: str, data: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "id": 1,
        "type": kind,
        "created_at": "2026-03-04T12:04:31.500Z",
        "conversation_id": ID,
        "project_path": "/home/ada/engine",
        "data": data,
        **fields,
    }


def message(kind: str, content: str, *calls: tuple[str, str | None], **fields: Any) -> dict:
    tool_calls = [{"name": name, "arguments_preview": arguments} for name, arguments in calls]
    return body(
        "message_added",
        {"message": {"kind": kind, "content": content, "tool_calls": tool_calls}},
        **fields,
    )


def tool_use(status: str, **fields: Any) -> dict:
    use = {
        "name": "Bash", "status": status, "execution_time_ms": 812, "reported_duration_ms": None,
        "error_category": None, **fields,
    }  # fmt: skip
    return body("tool_use_finished", {"tool_use": use})


def conversation(kind: str, **fields: Any) -> dict:
    document = {
        "title": "Refactor the parser", "message_count": 41, "total_tokens": 1_234_567,
        "cost_microdollars": 840_000, **fields,
    }  # fmt: skip
    return body(kind, {"conversation": document})


def file(status: str, **fields: Any) -> dict:
    told = {"status": status, "file_path": "/p/a.jsonl", "error_message": None, **fields}
    return body("file_processing_update", {"file": told}, conversation_id=None, project_path=None)


def budget(percent: int, **numbers: Any) -> dict:
    told = {
        "budget": {"id": 1, "name": "Team"}, "percent": percent, "limit_microdollars": None,
        **numbers,
    }  # fmt: skip
    return body("budget_threshold", told, conversation_id=None)
