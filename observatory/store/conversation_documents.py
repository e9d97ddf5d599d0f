"""The JSON of a conversation, made when it changes and kept with its row.

Conversations are read far more often than written. A list is then one column of one table, and
costs less than selecting what it is made of (docs/performance.md). Every change of a conversation
ends in ``counters.refresh_conversations``, which makes it anew; that of one that a client makes is
inserted with it. Property tests compare.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import orjson
from orjson import Fragment

from observatory.store.database import fetch_all

COLUMNS = """
    c.key, c.id, c.kind, parent.id, c.title, p.path, c.created_at, c.updated_at,
    c.message_count, c.tool_use_count, c.error_count, c.input_tokens, c.output_tokens,
    c.cache_creation_input_tokens, c.cache_read_input_tokens, c.total_tokens,
    c.api_call_count, c.unpriced_call_count, c.undercounted_call_count, c.cost_nanodollars,
    c.models, c.client_version, c.entrypoint, c.metadata, c.cwd, c.git_branch
"""
FROM = """
    FROM json_each(?) w CROSS JOIN conversations c ON c.key = w.value
    LEFT JOIN projects p ON p.key = c.project_key
    LEFT JOIN conversations parent ON parent.key = c.parent_key
"""
UNTITLED = "(no prompt)"


def _summary(row: tuple[Any, ...]) -> dict[str, Any]:
    """Return a conversation as a list shows it."""
    (
        _key, identifier, kind, parent_id, title, project_path, created_at, updated_at,
        message_count, tool_use_count, error_count, input_tokens, output_tokens,
        cache_creation, cache_read, total_tokens, calls, unpriced, undercounted, nanodollars,
        models, client_version, entrypoint, metadata, cwd, git_branch,
    ) = row  # fmt: skip
    return {
        "id": identifier,
        "kind": kind,
        "parent_id": parent_id,
        "title": title or UNTITLED,
        "project_path": project_path,
        "created_at": created_at,
        "updated_at": updated_at,
        "message_count": message_count,
        "tool_use_count": tool_use_count,
        "error_count": error_count,
        "total_tokens": total_tokens,
        "usage": {
            "input_tokens": input_tokens,
            "output_tokens": output_tokens,
            "cache_creation_input_tokens": cache_creation,
            "cache_read_input_tokens": cache_read,
        },
        **cost(nanodollars, calls=calls, unpriced=unpriced),
        "usage_quality": "undercounted" if undercounted else "exact",
        "models": Fragment(models),
        "git_branch": git_branch,
        "metadata": {
            "version": client_version,
            "client": entrypoint,
            "os": _operating_system(cwd),
            "model": next(iter(orjson.loads(models)), None),
            "project_type": None,
            "tags": [],
            "custom": None,
            # What users set stands above what the transcript says.
            **(orjson.loads(metadata) if metadata != "{}" else {}),
        },
    }


def cost(nanodollars: int, *, calls: int, unpriced: int) -> dict[str, Any]:
    """Return a cost as the API shows it: ``null`` when nothing of it has a known price."""
    return {
        "cost_microdollars": None if calls and calls == unpriced else round(nanodollars / 1000),
        "cost_complete": not unpriced,
    }


def _operating_system(cwd: str | None) -> str | None:
    """Return the system that a path's shape tells of, or ``None``."""
    if not cwd:
        return None
    if cwd[1:2] == ":":
        return "windows"
    if cwd.startswith("/Users/"):
        return "macos"
    return "linux" if cwd.startswith(("/home/", "/root")) else None


_USAGE_BY_MODEL = """
    SELECT model, count(*), sum(input_tokens), sum(output_tokens),
        sum(cache_creation_input_tokens), sum(cache_read_input_tokens),
        sum(cache_creation_5m_input_tokens), sum(cache_creation_1h_input_tokens),
        sum(web_search_requests), coalesce(sum(cost_nanodollars), 0),
        count(*) - count(cost_nanodollars), sum(usage_quality = 'undercounted')
    FROM api_calls WHERE conversation_key = ? GROUP BY model ORDER BY model
"""
# The same from sums of quarters of an hour, which are fewer than calls.
_SUMMED_USAGE_BY_MODEL = """
    SELECT model, sum(api_calls), sum(input_tokens), sum(output_tokens),
        sum(cache_creation_input_tokens), sum(cache_read_input_tokens),
        sum(cache_creation_5m_input_tokens), sum(cache_creation_1h_input_tokens),
        sum(web_search_requests), sum(cost_nanodollars), sum(unpriced_calls),
        sum(undercounted_calls)
    FROM conversation_usage WHERE conversation_key = ?
    GROUP BY model HAVING sum(api_calls) > 0 ORDER BY model
"""
_CALLS, _KEY = 6, 9
_DETAILS = f"""
    SELECT c.agent_id, c.agent_type, c.workflow_run_id, c.prompt_count, c.copied_message_count,
    copied.id, c.api_call_count, c.unpriced_call_count, c.undercounted_call_count, {COLUMNS}
    {FROM} LEFT JOIN conversations copied ON copied.key = c.copied_from_key
"""


def make_documents(keys: Sequence[int], *, are_summed: bool = False) -> list[tuple[str, str, int]]:
    """Return the JSON of conversations in a list, of what one alone has beyond that, and keys.

    Args:
        keys: Which conversations.
        are_summed: Whether sums for reports may tell usage by model. Where they are not of all
            calls, as in the trash and while they are being built, calls are counted after all.
    """
    rows = fetch_all(_DETAILS, (json.dumps(keys),))
    return [_make_documents(row, are_summed=are_summed) for row in rows]


def make_first_documents(
    *, identifier: str, title: str, project_path: str | None, moment: str, metadata: str
) -> tuple[str, str]:
    """Return the JSON of a session that a client makes, before anything is in it.

    Args:
        identifier: The id that it will have.
        title: As its client calls it.
        project_path: Where it belongs, if anywhere.
        moment: When it is made.
        metadata: What its client says of it, as JSON.
    """
    nothing = (0,) * 12
    row = (
        None, identifier, "session", None, title, project_path, moment, moment,
        *nothing, "[]", None, None, metadata, None, None,
    )  # fmt: skip
    return _dump(_summary(row)), _DETAILS_AT_FIRST


def join_documents(document: str, details: str, *, subagents: Sequence[dict[str, Any]]) -> Fragment:
    """Return the JSON of one conversation: in a list, and what it has beyond that."""
    return Fragment(f'{document[:-1]},{details[1:-1]},"subagents":{_dump(subagents)}}}')


def _dump(value: Any) -> str:
    return orjson.dumps(value).decode()


def _make_documents(row: tuple[Any, ...], *, are_summed: bool) -> tuple[str, str, int]:
    key, calls = row[_KEY], row[_CALLS]
    usage: list[tuple[Any, ...]] = []
    if are_summed and calls:
        usage = fetch_all(_SUMMED_USAGE_BY_MODEL, (key,))
    if sum(model[1] for model in usage) != calls:
        usage = fetch_all(_USAGE_BY_MODEL, (key,))
    return _dump(_summary(row[_KEY:])), _dump(_details(row[:_KEY], usage)), key


def _details(row: tuple[Any, ...], usage: Iterable[tuple[Any, ...]]) -> dict[str, Any]:
    """Return what one conversation alone has beyond what a list shows of it."""
    agent_id, agent_type, run_id, prompts, copied, copied_from, calls, unpriced, under = row
    return {
        "prompt_count": prompts,
        "copied_from": copied_from,
        "copied_message_count": copied,
        "agent_id": agent_id,
        "agent_type": agent_type,
        "workflow_run_id": run_id,
        "api_call_count": calls,
        "unpriced_call_count": unpriced,
        "undercounted_call_count": under,
        "usage_by_model": [_model_usage(model) for model in usage],
    }


_DETAILS_AT_FIRST = _dump(_details((None, None, None, 0, 0, None, 0, 0, 0), ()))


def _model_usage(row: tuple[Any, ...]) -> dict[str, Any]:
    model, calls, used_in, used_out, creation, read, five, hour, searches, cost_sum, unpriced, u = (
        row
    )
    return {
        "model": model,
        "api_calls": calls,
        "input_tokens": used_in,
        "output_tokens": used_out,
        "cache_creation_input_tokens": creation,
        "cache_read_input_tokens": read,
        "cache_creation_5m_input_tokens": five,
        "cache_creation_1h_input_tokens": hour,
        "web_search_requests": searches,
        **cost(cost_sum, calls=calls, unpriced=unpriced),
        "usage_quality": "undercounted" if u else "exact",
    }
