"""Installs fixed versions of the peers into ``build/bench/peers``: never into the product's."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.bench.run import BUILD

VERSIONS: dict[str, str] = json.loads(Path(__file__).with_name("versions.json").read_text())
_FOLDER = BUILD / "peers"
_TIMEOUT_SECONDS = 300


class NotThere(Exception):
    """A peer can not be measured here; the message says why."""


def make_env(home: Path, **more: str) -> dict[str, str]:
    """Return an environment with nothing of its user's, in which nobody is told anything."""
    home.mkdir(parents=True, exist_ok=True)
    quiet = {"DO_NOT_TRACK": "1", "NO_UPDATE_NOTIFIER": "1"}
    return {"PATH": os.environ["PATH"], "HOME": str(home), "TZ": "UTC", **quiet, **more}


def install_from_pypi(name: str) -> Path:
    """Return the program of a package, in a virtual environment of its own.

    Raises:
        NotThere: It can not be installed.
    """
    folder = _FOLDER / f"{name}-{VERSIONS[name]}"
    program = folder / "bin" / name
    if not program.exists():
        shutil.rmtree(folder, ignore_errors=True)
        _run([sys.executable, "-m", "venv", str(folder)], name)
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        _run([*pip, f"{name}=={VERSIONS[name]}"], name)
    if not program.exists():
        raise NotThere(f"{name} {VERSIONS[name]} has no program of that name")
    return program


def install_from_npm(names: Sequence[str]) -> Path:
    """Return the ``node_modules`` of a folder in which some packages are, the first its name.

    Raises:
        NotThere: There is no npm, or it can not install them.
    """
    if not shutil.which("npm"):
        raise NotThere(f"{names[0]} is installed by npm, which is not there")
    folder = _FOLDER / f"{names[0]}-{VERSIONS[names[0]]}"
    modules = folder / "node_modules"
    if not all((modules / name).exists() for name in names):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / "package.json").write_text('{"private": true}\n')
        wanted = [f"{name}@{VERSIONS[name]}" for name in names]
        _run(["npm", "install", "--no-audit", "--no-fund", *wanted], names[0], folder=folder)
    return modules


def _run(command: Sequence[str], name: str, *, folder: Path | None = None) -> None:
    try:
        subprocess.run(
            command, cwd=folder, check=True, capture_output=True, text=True,
            timeout=_TIMEOUT_SECONDS,
        )  # fmt: skip
    except subprocess.CalledProcessError as error:
        raise NotThere(f"{name} can not be installed: {error.stderr.strip()[-300:]}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotThere(f"{name} can not be installed: {error}") from error
