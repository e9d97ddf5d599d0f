"""Archives of one shape, of which one has some times as many rows as the other."""

from __future__ import annotations

from pathlib import Path

from observatory.ingest.running import ingest
from observatory.store import maintenance, schema
from observatory.store.database import close, configure, connect
from tests.api.keyed import add_key
from tests.transcripts_for_tests import Transcript

# The conversation of which pages are asked for, as long as many others together.
LONG = "10000000-0000-4000-8000-000000000000"
PROJECT = "/home/ada/project1"
_PROJECTS = 4
_TURNS = 3
_SUBAGENTS = 2


def make_archive(folder: Path, *, sessions: int, is_analyzed: bool) -> Path:
    """Return the path of a database of so many sessions, read from transcripts.

    Args:
        folder: Where the transcripts and the database are written.
        sessions: How many short ones; one long one has four turns for each of them.
        is_analyzed: Whether SQLite has looked at what is in its tables, as the watcher lets it.
    """
    for number in range(sessions):
        name = f"{number:08d}-0000-4000-8000-000000000000"
        transcript = Transcript(name, prefix=f"{number}.", cwd=_project(number))
        transcript.number = number * 60
        talk(transcript, turns=_TURNS, word=f"session{number}")
        _write(folder, f"{name}.jsonl", transcript)
    long = Transcript(LONG, prefix="long.", cwd=PROJECT)
    # The last to be said, so that its messages are the newest.
    long.number = sessions * 60
    talk(long, turns=4 * sessions, word="enduring")
    _write(folder, f"{LONG}.jsonl", long)
    for number in range(_SUBAGENTS):
        run = Transcript(LONG, prefix=f"sub{number}.", cwd=PROJECT)
        run.common |= {"isSidechain": True, "agentId": f"agent{number}"}
        talk(run, turns=_TURNS, word="delegated")
        _write(folder, f"{LONG}/subagents/agent-agent{number}.jsonl", run)
    return _read(folder, is_analyzed=is_analyzed)


def _read(folder: Path, *, is_analyzed: bool) -> Path:
    path = folder / "observatory.db"
    configure(path)
    connect()
    schema.migrate()
    add_key()
    ingest([str(folder / "projects")])
    if is_analyzed:
        for statement in maintenance.list_stale_tables():
            maintenance.analyze(statement)
    close()
    return path


def _project(number: int) -> str:
    return f"/home/ada/project{number % _PROJECTS}"


def talk(transcript: Transcript, *, turns: int, word: str) -> None:
    """Add turns of a prompt, a tool that is used, its result and an answer."""
    for turn in range(turns):
        identifier = f"toolu_{transcript.prefix}{turn}"
        transcript.prompt(f"common words of {word}, turn number {turn}")
        transcript.tool_use("Read", {"file_path": "/src/x.py"}, tool_use_id=identifier)
        transcript.tool_result("some text of a file", tool_use_id=identifier)
        transcript.answer(f"common answer{turn}")


def _write(folder: Path, name: str, transcript: Transcript) -> None:
    path = folder / "projects" / "-work" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(transcript.bytes())
