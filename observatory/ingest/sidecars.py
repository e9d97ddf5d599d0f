"""Small files beside a transcript."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from observatory.ingest.discover import SIDECAR_SUFFIX, FoundFile
from observatory.store import conversation_states as states
from observatory.store.counters import refresh_conversations
from observatory.store.database import writing
from observatory.transcripts.lines import clean_text

_MAX_BYTES = 64 * 1024


def read_agent_type(transcript_path: str) -> str | None:
    """Return the agent type in the ``.meta.json`` beside a subagent's transcript, or ``None``."""
    path = Path(transcript_path).with_suffix(SIDECAR_SUFFIX)
    try:
        if not path.is_file():
            return None
        with path.open("rb") as stream:
            meta = json.loads(stream.read(_MAX_BYTES))
    except (OSError, ValueError, RecursionError):
        return None
    agent_type = meta.get("agentType") if isinstance(meta, dict) else None
    return clean_text(agent_type[:200]) if isinstance(agent_type, str) else None


def take_late_agent_types(files: Iterable[FoundFile]) -> None:
    """Give subagents the type that a file beside theirs tells, had it come after the transcript."""
    described = [file for file in files if file.has_sidecar]
    untyped = states.find_untyped_subagents(file.path for file in described) if described else {}
    types = {
        untyped[file.path]: agent_type
        for file in described
        if file.path in untyped and (agent_type := read_agent_type(file.location))
    }
    if types:
        with writing():
            states.set_agent_types(types)
            refresh_conversations(types)
