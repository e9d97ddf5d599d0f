"""Where transcripts lie below a ``projects`` folder, and what the path of one says.

Source: docs/transcript-format.md, "Where files are".
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath

ROLES = ("session", "subagent", "workflow_subagent", "workflow_journal")


@dataclass(frozen=True, slots=True)
class TranscriptPath:
    """What a path says of its file.

    ``role`` is one of ROLES. ``session_id`` is the session that the file belongs to, or ``None``
    when only its records tell (a subagent's file beside the session's). ``agent_id`` is the
    subagent's id, ``workflow_run_id`` the workflow run that started it.
    """

    role: str
    session_id: str | None = None
    agent_id: str | None = None
    workflow_run_id: str | None = None


def read_path(path: str) -> TranscriptPath:
    """Return what the path of a ``.jsonl`` file says."""
    parts = PurePath(path).parts
    stem = PurePath(path).stem
    agent_id = stem.removeprefix("agent-")
    if "subagents" in parts[1:-1]:
        at = len(parts) - 1 - parts[::-1].index("subagents")
        session_id = parts[at - 1]
        run_id = parts[at + 2] if parts[at + 1] == "workflows" and at + 3 < len(parts) else None
        if stem == "journal":
            return TranscriptPath("workflow_journal", session_id, None, run_id)
        role = "subagent" if run_id is None else "workflow_subagent"
        return TranscriptPath(role, session_id, agent_id, run_id)
    if stem.startswith("agent-"):
        return TranscriptPath("subagent", None, agent_id)
    return TranscriptPath("session", stem)


def normalise_project_path(cwd: str) -> str:
    """Return a working directory in one spelling: editors write ``c:\\x``, the CLI ``C:\\x``."""
    if len(cwd) >= 2 and cwd[1] == ":" and cwd[0].isalpha():
        cwd = cwd[0].upper() + cwd[1:]
    return cwd.rstrip("/\\") or cwd


def project_name(path: str) -> str:
    """Return the last part of a project's path, of either kind of separator."""
    return path.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1] or path
