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
    code = f"import sys, {modules}; print(*sys.modules)"
    env = {"DB_PATH": str(tmp_path / "observatory.db"), "TRANSCRIPTS_DIR": str(tmp_path)}
    loaded = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True
    ).stdout.split()
    assert NOT_LOADED[modules] & set(loaded) == set()
