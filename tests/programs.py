"""Programs that are tried with us and are no part of us: a test is skipped where one is missing."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

# What brings each on Debian, as README.md says.
PACKAGES = {
    "caddy": "caddy",
    "curl": "curl",
    "docker-compose": "docker-compose",
    "nginx": "nginx",
    "openssl": "openssl",
    "prometheus": "prometheus",
    "promtool": "prometheus",
    "setpriv": "util-linux",
    "systemd-analyze": "systemd",
    "unshare": "util-linux",
}
# What only root has in its path is found, too; and what pip installed beside Python.
_PATH = os.pathsep.join(
    (
        str(Path(sys.executable).parent),
        os.environ.get("PATH", ""),
        "/usr/local/sbin:/usr/sbin:/sbin",
    )
)


def find_program(name: str) -> str:
    """Return where a program is; skip the test, and say what to install, where it is not."""
    found = shutil.which(name, path=_PATH)
    if found is None:
        how = f": apt install {PACKAGES[name]}" if name in PACKAGES else ""
        pytest.skip(f"{name} is not installed{how}")
    return found
