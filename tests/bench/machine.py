"""What the figures were measured on."""

import os
import platform
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

import pysqlite3

_LIBRARIES = ("falcon", "gunicorn", "peewee", "pysqlite3", "orjson", "marshmallow")


def describe_machine() -> dict[str, str | int]:
    """Return processor, cores, memory and kernel."""
    return {
        "cpu": _find_cpu_model(),
        "cores": os.cpu_count() or 0,
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "kernel": platform.release(),
        "system": platform.system(),
    }


def list_versions() -> Mapping[str, str]:
    """Return the versions of Python, SQLite and the libraries that matter here."""
    versions = {"python": platform.python_version(), "sqlite": _find_sqlite_version()}
    for name in _LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return versions


def read_load_average() -> float:
    """Return how many processes ran at once over the last minute: others disturb the figures."""
    return os.getloadavg()[0]


def _find_sqlite_version() -> str:
    connection = pysqlite3.connect(":memory:")  # type: ignore[attr-defined]
    version: str = connection.execute("SELECT sqlite_version()").fetchone()[0]
    connection.close()
    return version


def _find_cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
