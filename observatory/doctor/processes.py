"""Processes: who uses the database, who listens, and what the system lets a server have."""

from __future__ import annotations

import errno
import resource
from collections.abc import Iterator
from pathlib import Path

from observatory.doctor.findings import Finding, error, ok, warning
from observatory.listening import find_listener, find_obstacle
from observatory.loopback import is_loopback
from observatory.store.database import OPENING_LOCK, SERVING_LOCK
from observatory.store.in_use import describe_process, find_user
from observatory.store.locks import WAITING_LOCK, WATCH_LOCK, is_kept, read_holder
from observatory.store.watcher_status import read_watcher_status

_WORKS = {
    SERVING_LOCK: "serves",
    WATCH_LOCK: "watches",
    "ingest": "reads transcripts",
    WAITING_LOCK: "waits to read transcripts",
    "migrate": "migrates",
    OPENING_LOCK: "puts another file in its place",
}
# As gunicorn_config.py has them.
_CONNECTIONS = 2000
_OTHER_DESCRIPTORS = 500


def check_users(path: Path) -> Iterator[Finding]:
    """Yield who uses the database. Must come before anything here opens it through SQLite."""
    told = []
    try:
        for work, verb in _WORKS.items():
            holder = read_holder(path, work)
            if holder is not None:
                told.append(f"{holder} {verb}")
    except PermissionError as failure:
        yield warning(
            "locks",
            f"This user may not read {failure.filename}.",
            "Run this as the user that runs the server.",
        )
        return
    if path.is_file():
        try:
            user = find_user(path)
        except OSError:
            user = None
        if user is not None:
            told.append(f"{describe_process(user)} has it open")
    yield ok("locks", "; ".join(told) or "nobody uses the database")


def check_port(host: str, port: int, path: Path, *, setting: str = "PORT") -> Finding:
    """Return whether the server can listen, or does already; ``setting`` names the port."""
    try:
        is_serving = is_kept(path, SERVING_LOCK)
    except PermissionError:
        is_serving = False
    obstacle = find_obstacle(host, port)
    if obstacle is None:
        return ok("port", f"{host}:{port} is free")
    if obstacle.errno != errno.EADDRINUSE:
        return error(
            "port",
            f"{host}:{port} can not be listened on: {obstacle.strerror}.",
            f"Set {setting.replace('PORT', 'HOST')} to an address of this machine, or {setting}"
            " to one above 1023.",
        )
    who = describe_process(find_listener(port))
    if is_serving:
        return ok("port", f"{who} listens on {host}:{port}, and a server of this database runs")
    return error(
        "port",
        f"{who} listens on {host}:{port}, and no server of this database runs.",
        f"End it, or set {setting} to another number.",
    )


def check_watcher(path: Path, *, is_wanted: bool) -> Finding:
    """Return whether a watcher follows the transcripts, and has caught up."""
    try:
        status = read_watcher_status(path)
        is_serving = is_kept(path, SERVING_LOCK)
    except PermissionError as failure:
        return warning(
            "watcher",
            f"This user may not read {failure.filename}.",
            "Run this as the user that runs the server.",
        )
    if status.state == "stopped":
        mend = "`observatory serve` starts one, and so does `observatory watch`."
        if is_wanted and is_serving:
            return error("watcher", "A server runs without a watcher.", f"Start it again. {mend}")
        return warning("watcher", "No watcher runs: new lines are not read.", mend)
    who = f"process {status.pid} follows {status.files:,} files"
    if status.last_failure and (status.last_failure_at or "") > (status.last_read_at or ""):
        return error(
            "watcher",
            f"{who}, and failed at {status.last_failure_at}: {status.last_failure}.",
            "Its log tells more (`watch_failed`); it tries again by itself.",
        )
    if status.state == "catching_up":
        return warning(
            "watcher",
            f"{who}, with {status.waiting_files:,} files of {status.waiting_bytes:,} bytes to go.",
            "Wait until it has caught up.",
        )
    return ok("watcher", f"{who}, and has caught up")


def check_descriptors(*, max_streams: int) -> Finding:
    """Return whether a worker may have as many descriptors as it is told to serve streams."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _CONNECTIONS + max_streams + _OTHER_DESCRIPTORS
    if hard != resource.RLIM_INFINITY and hard < wanted:
        return warning(
            "descriptors",
            f"A worker may have {hard:,} files open, and wants {wanted:,} (MAX_STREAMS and"
            f" {_CONNECTIONS:,} connections).",
            f"Raise the hard limit (`ulimit -Hn`, LimitNOFILE={wanted} of systemd), or lower"
            " MAX_STREAMS.",
        )
    return ok("descriptors", f"{wanted:,} of those that a worker may have open are enough")


def check_exposure(host: str, *, has_admin: bool | None) -> Finding:
    """Return whether other machines can reach a server that lets everybody in."""
    if is_loopback(host):
        return ok("exposure", f"only programs on this machine reach {host}")
    if has_admin is None:
        return warning(
            "exposure",
            f"Other machines reach {host}, and whether there is an account can not be read.",
            "Mend the database first.",
        )
    if not has_admin:
        return error(
            "exposure",
            f"Other machines reach {host}, and there is no admin's account: no server starts so.",
            "`observatory user add EMAIL --role admin`, or HOST=127.0.0.1.",
        )
    return ok("exposure", f"other machines reach {host}, and accounts keep strangers out")
