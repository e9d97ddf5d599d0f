"""What reading a line costs: in calls of functions, in statements, and in steps of SQLite."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from observatory.ingest.discover import find_files
from observatory.ingest.running import ingest, ingest_files
from observatory.opening import open_database, prepare_schema
from observatory.settings import read_settings
from observatory.store.database import close
from observatory.store.transcript_files import read_states
from tests.guards.archives import PROJECT, talk
from tests.guards.asking import Asker
from tests.guards.counting import count_calls, count_compiling, count_steps, list_statements
from tests.transcripts_for_tests import Transcript

# Of a prompt, a tool use, its result and an answer, for each line; see test_calls.py.
CALLS_PER_LINE = 153
STATEMENTS_PER_LINE = 3.5
CALLS_PER_UNCHANGED_FILE = 21
# Beginnings and ends of transactions, and pragmas: these the driver does not keep.
COMPILING = 20
_MARGIN = 1.15
_TURNS = 100
_FEW, _MANY = 20, 60


def _write(folder: Path, *, turns: int) -> tuple[Path, int]:
    """Return a folder with one new transcript, and how many lines it has."""
    transcript = Transcript(f"{turns:08d}-2222-4000-8000-000000000000", prefix=f"{turns}t")
    talk(transcript, turns=turns, word="new")
    path = folder / "projects" / "-new" / f"{transcript.session_id}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(transcript.bytes())
    return path, transcript.number


def _per_line(folder: Path, count: Callable[[Callable[[], object]], int]) -> float:
    """Return what each further line costs, without what a run costs by itself."""
    few, few_lines = _write(folder, turns=_TURNS)
    many, many_lines = _write(folder, turns=3 * _TURNS)
    less, more = (count(lambda path=path: ingest([str(path)])) for path in (few, many))
    return (more - less) / (many_lines - few_lines)


def test_a_line_takes_few_calls_of_functions(small: Asker, tmp_path: Path) -> None:
    ingest([str(_write(tmp_path, turns=1)[0])])
    assert _per_line(tmp_path, count_calls) <= _MARGIN * CALLS_PER_LINE


def test_a_line_takes_few_statements(small: Asker, tmp_path: Path) -> None:
    def count(work: Callable[[], object]) -> int:
        return len(list_statements(work))

    assert _per_line(tmp_path, count) <= STATEMENTS_PER_LINE


def test_statements_of_an_ingest_into_a_new_archive_stay_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DB_PATH", str(tmp_path / "new.db"))
    settings = read_settings(env_file=None)
    open_database(settings, cache_mib=64)
    prepare_schema(settings)
    try:
        assert _count_compiling(tmp_path) <= COMPILING
    finally:
        close()


def test_statements_of_an_ingest_stay_compiled(small: Asker, tmp_path: Path) -> None:
    assert _count_compiling(tmp_path) <= COMPILING


def _count_compiling(tmp_path: Path) -> int:
    turns = iter(range(2, 100))

    def read_another() -> None:
        ingest([str(_write(tmp_path, turns=next(turns))[0])])

    return count_compiling(read_another)


def test_a_file_that_has_not_changed_takes_few_calls(small: Asker, tmp_path: Path) -> None:
    counted = []
    for number in range(_MANY):
        folder = tmp_path / "many" / "projects" / "-many"
        folder.mkdir(parents=True, exist_ok=True)
        transcript = Transcript(f"{number:08d}-3333-4000-8000-000000000000", prefix=f"{number}u")
        talk(transcript, turns=1, word="still")
        (folder / f"{transcript.session_id}.jsonl").write_bytes(transcript.bytes())
        if number + 1 in (_FEW, _MANY):
            ingest([str(folder.parent)])
            counted.append(count_calls(lambda folder=folder: ingest([str(folder.parent)])))
    assert (counted[1] - counted[0]) / (_MANY - _FEW) <= _MARGIN * CALLS_PER_UNCHANGED_FILE


def test_a_line_that_is_added_costs_no_more_in_a_larger_archive(
    open_server: Callable[[Path], Asker], small_archive: Path, large_archive: Path
) -> None:
    few, many = (
        _add_a_line(open_server(archive), archive.parent)
        for archive in (small_archive, large_archive)
    )
    assert many <= 1.05 * few


def _add_a_line(server: Asker, folder: Path) -> int:
    """Return how many steps SQLite makes for a line at the end of a short session."""
    name = f"{7:08d}-0000-4000-8000-000000000000"
    path = folder / "projects" / "-work" / f"{name}.jsonl"
    written = path.read_bytes()
    steps = []
    try:
        for number in range(2):
            more = Transcript(name, prefix=f"more{number}.", cwd=PROJECT)
            more.number = 8 * 60 + number
            more.prompt("one more line")
            with path.open("ab") as stream:
                stream.write(more.bytes())
            # As the watcher does, which knows what changed.
            files = find_files([str(path)])
            states = {file.path: read_states()[file.path] for file in files}
            steps.append(count_steps(lambda f=files, s=states: ingest_files(f, states=s)))
    finally:
        path.write_bytes(written)
    return steps[-1]
