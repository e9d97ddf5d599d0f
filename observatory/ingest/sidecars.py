"""Small files beside a transcript."""

from __future__ import annotations

import json
from pathlib import Path

_MAX_BYTES = 64 * 1024


def read_agent_type(transcript_path: str) -> str | None:
    """Return the agent type in the ``.meta.json`` beside a subagent's transcript, or ``None``."""
    path = Path(transcript_path).with_suffix(".meta.json")
    try:
        with path.open("rb") as stream:
            meta = json.loads(stream.read(_MAX_BYTES))
    except (OSError, ValueError, RecursionError):
        return None
    agent_type = meta.get("agentType") if isinstance(meta, dict) else None
    return agent_type[:200] if isinstance(agent_type, str) else None
