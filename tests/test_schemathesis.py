"""The server does what its own OpenAPI document says, whatever is sent to it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.processes import ROOT, Home, serving
from tests.transcripts_for_tests import Transcript

# For a longer run: SCHEMATHESIS_EXAMPLES=100 .venv/bin/python -m pytest tests/test_schemathesis.py
EXAMPLES = os.environ.get("SCHEMATHESIS_EXAMPLES", "2")
SEED = os.environ.get("SCHEMATHESIS_SEED", "20260104")


def write_transcript(home: Home) -> None:
    transcript = Transcript()
    transcript.prompt("hello")
    transcript.answer("hi")
    transcript.tool_use("Bash", {"command": "ls"}, tool_use_id="toolu_1")
    transcript.tool_result("a", tool_use_id="toolu_1")
    folder = home.projects / "-work"
    folder.mkdir(parents=True)
    (folder / f"{transcript.session_id}.jsonl").write_bytes(transcript.bytes())


def test_the_server_does_what_its_document_says(tmp_path: Path):
    home = Home(tmp_path)
    write_transcript(home)
    assert home.run("migrate").returncode == 0
    assert home.run("ingest").returncode == 0
    with serving(home) as server:
        found = subprocess.run(
            [
                Path(sys.executable).parent / "schemathesis",
                "--config-file", ROOT / "tests" / "schemathesis.toml",
                "run", f"http://127.0.0.1:{server.port}/openapi.json",
                "--max-examples", EXAMPLES, "--seed", SEED, "--continue-on-failure", "--no-color",
            ],
            cwd=tmp_path,
            env=home.environment(PYTHONPATH=str(ROOT)),
            capture_output=True,
            text=True,
        )  # fmt: skip
    print(found.stdout)
    assert found.returncode == 0, found.stdout + found.stderr
    assert "Traceback" not in server.log.read_text()
