"""What processes that live long do not load: each package is memory in all of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

# Of the commands that show tables and bars.
TABLES = {"rich", "pygments"}
# What only answers requests.
ANSWERING = {"falcon", "limits", "argon2", "jwt", "wsproto", "apispec", "gunicorn"}
PARSING = {"peewee", "structlog", "prometheus_client", "orjson", "dataclasses", "asyncio"}
NOT_LOADED = {
    "observatory.app, observatory.server, observatory.gunicorn_config": TABLES,
    "observatory.watch": TABLES | ANSWERING,
    "observatory.supervise": TABLES | ANSWERING | PARSING,
}


@pytest.mark.parametrize("modules", NOT_LOADED)
def test_processes_that_live_long_load_little(modules: str, tmp_path: Path) -> None:
    assert NOT_LOADED[modules] & _list_loaded(f"import sys, {modules}", tmp_path) == set()


def test_an_ingest_loads_no_other_commands(tmp_path: Path) -> None:
    code = "import sys; from observatory import __main__ as line; line._parser('ingest')"
    loaded = _list_loaded(code, tmp_path)
    assert (TABLES | ANSWERING) & loaded == set()
    assert {name for name in loaded if name.endswith(("_command", "_commands"))} == set()


def _list_loaded(code: str, tmp_path: Path) -> set[str]:
    """Return which modules are there after some code has run in a process of its own."""
    env = {"DB_PATH": str(tmp_path / "observatory.db"), "TRANSCRIPTS_DIR": str(tmp_path)}
    run = subprocess.run(
        [sys.executable, "-c", f"{code}; print(*sys.modules)"],
        env=env,
        capture_output=True,
        text=True,
        check=True,
    )
    return set(run.stdout.split())
