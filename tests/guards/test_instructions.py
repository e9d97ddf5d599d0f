"""How many instructions hot requests and an ingest take, in units of a piece of plain Python.

They are the same to a thousandth from run to run, however busy the machine is. With another Python
than 3.11 they are looked at with as much room as its versions differ.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.guards.archives import talk
from tests.guards.instructions import INGEST, REFERENCE, REQUESTS
from tests.guards.valgrind import read_counts, why_not
from tests.transcripts_for_tests import Transcript

_ROOT = Path(__file__).resolve().parents[2]
_TIMEOUT_SECONDS = 900
_MARGIN = 1.15 if sys.version_info[:2] == (3, 11) else 1.6
# Per request, and per line.
UNITS = {
    "health": 0.18,
    "list": 0.59,
    "one": 0.42,
    "messages": 2.8,
    INGEST: 0.78,
}
_TURNS = 25


@pytest.mark.skipif(why_not() is not None, reason=f"{why_not()}")
def test_hot_requests_and_ingest_take_few_instructions(small_archive: Path, tmp_path: Path) -> None:
    database = tmp_path / "observatory.db"
    shutil.copy(small_archive, database)
    transcript = Transcript("22222222-2222-4000-8000-000000000000", prefix="i")
    talk(transcript, turns=_TURNS, word="new")
    path = tmp_path / "-new" / f"{transcript.session_id}.jsonl"
    path.parent.mkdir()
    path.write_bytes(transcript.bytes())
    command = ["valgrind", "--tool=callgrind", "--instr-atstart=no", "-q"]
    command += [f"--callgrind-out-file={tmp_path}/counted", sys.executable]
    command += ["-m", "tests.guards.instructions", str(database), str(path)]
    env = {**os.environ, "PYTHONHASHSEED": "0"}
    done = subprocess.run(
        command, cwd=_ROOT, env=env, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS
    )
    assert done.returncode == 0, done.stderr[-2000:]
    counts = read_counts(tmp_path)
    times = {INGEST: transcript.number}
    units = {name: counts[name] / times.get(name, REQUESTS) / counts[REFERENCE] for name in UNITS}
    assert {name: n for name, n in units.items() if n > _MARGIN * UNITS[name]} == {}
