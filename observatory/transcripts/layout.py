"""Where transcripts lie below a ``projects`` folder, and what the path of one says.

Source: docs/transcript-format.md, "Where files are".
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath


@dataclass(frozen=True, slots=True)
class TranscriptPath:
    """What a path says of its file.

    ``role`` is ``session``, ``subagent``, ``workflow_subagent`` or ``workflow_journal``.
    ``session_id`` is the session that the file belongs to, or ``None`` when only its records tell
    (a subagent's file beside the session's). ``agent_id`` is the subagent's id,
    ``workflow_run_id`` the workflow run that started it.
    """

    role: str
    session_id: str | None = None
    agent_id: str | None = None
    workflow_run_id: str | None = None


def read_path(path: str) -> TranscriptPath:
    """Return what the path of a ``.jsonl`` file says."""
    *folders, _ = PurePath(path).parts
    stem = PurePath(path).stem
    session_id = run_id = None
    # Only these two places: somebody's own folder may be called so, too.
    match folders[1:]:
        case [*_, session, "subagents"]:
            session_id = session
        case [*_, session, "subagents", "workflows", run]:
            session_id, run_id = session, run
    if session_id is not None and stem == "journal":
        return TranscriptPath("workflow_journal", session_id, None, run_id)
    if stem.startswith("agent-"):
        role = "subagent" if run_id is None else "workflow_subagent"
        return TranscriptPath(role, session_id, stem.removeprefix("agent-"), run_id)
    return TranscriptPath("session", stem)


def path_part(identifier: str) -> str:
    """Return an id as one part of a path: real ones have no slash, lines can say anything."""
    return identifier.replace("/", "%2F")


def normalise_project_path(cwd: str) -> str:
    """Return a working directory in one spelling: editors write ``c:\\x``, the CLI ``C:\\x``."""
    if len(cwd) >= 2 and cwd[1] == ":" and cwd[0].isalpha():
        cwd = cwd[0].upper() + cwd[1:]
    return cwd.rstrip("/\\") or cwd


def project_name(path: str) -> str:
    """Return the last part of a project's path, of either kind of separator."""
    return path.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1] or path
