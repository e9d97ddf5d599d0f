"""Whether a port can be listened on, and who listens there."""

from __future__ import annotations

import errno
import socket
from contextlib import suppress
from pathlib import Path


def is_taken(host: str, port: int) -> bool:
    """Tell whether another program listens there. Gunicorn would try on for five seconds."""
    obstacle = find_obstacle(host, port)
    return obstacle is not None and obstacle.errno == errno.EADDRINUSE


def find_obstacle(host: str, port: int) -> OSError | None:
    """Return why nobody can begin to listen there, or ``None``."""
    try:
        found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    except OSError as error:
        return error
    family, kind, protocol, _, address = found[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            return error
    return None


def find_listener(port: int) -> int | None:
    """Return the id of a process that listens on a TCP port, or ``None`` where nobody tells.

    Source: ``man 5 proc_net``, ``man 5 proc_pid_fd``. Of others' processes only root may know.
    """
    sockets = {f"socket:[{inode}]" for inode in _listening_inodes(port)}
    if not sockets:
        return None
    for folder in Path("/proc").glob("[0-9]*/fd"):
        with suppress(OSError):
            for link in folder.iterdir():
                with suppress(OSError):
                    if str(link.readlink()) in sockets:
                        return int(folder.parent.name)
    return None


def _listening_inodes(port: int) -> set[str]:
    listening = "0A"
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with suppress(OSError):
            for line in Path(table).read_text().splitlines()[1:]:
                words = line.split()
                if words[3] == listening and int(words[1].rpartition(":")[2], 16) == port:
                    found.add(words[9])
    return found
