"""Gunicorn's configuration, made from the Observatory's settings.

``gunicorn -c gunicorn.conf.py observatory.wsgi:application`` reads it from a checkout,
``observatory serve`` from the installed package.
"""

from __future__ import annotations

import atexit
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from typing import Any

from observatory.errors import SettingsError
from observatory.log import configure_logging
from observatory.loopback import is_loopback
from observatory.settings import Settings, read_settings

try:
    _settings: Settings = read_settings()
except SettingsError as _error:
    raise SystemExit(str(_error)) from _error

configure_logging(level=_settings.log_level, log_format=_settings.log_format)
_MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108

bind = f"{_settings.host}:{_settings.port}"
if ":" in _settings.host:
    bind = f"[{_settings.host.strip('[]')}]:{_settings.port}"
workers = _settings.web_workers
threads = _settings.web_threads
# Keep-alive connections wait in a poller and hold no thread.
worker_class = "observatory.server.Worker"
logger_class = "observatory.server.ServerLog"
worker_connections = 2000
backlog = 2048
# Above the application's own bound, which answers in its envelope.
limit_request_line = 8190
keepalive = 30
timeout = max(1, _settings.request_timeout_ms // 1000)
graceful_timeout = timeout
# Loaded once and forked: workers share its memory and start at once.
preload_app = True
worker_tmp_dir = _MEMORY
control_socket_disable = True
accesslog = None
errorlog = "-"
# What gunicorn says below that is of no use here, and some of it repeats what clients sent.
loglevel = "error" if _settings.log_level == "error" else "warning"
proc_name = "observatory"

# One folder per server, emptied by being new: metrics of two servers must not mix. It has to be
# known before prometheus_client is imported, which the application does.
_owner = os.getpid()
_metrics_folder = tempfile.mkdtemp(prefix=f"observatory-metrics-{_owner}-", dir=_MEMORY)
os.environ["PROMETHEUS_MULTIPROC_DIR"] = _metrics_folder


@atexit.register
def _remove_metrics_folder() -> None:
    """Leave nothing behind, also when gunicorn refuses to start; workers are forks of its owner."""
    if os.getpid() == _owner:
        shutil.rmtree(_metrics_folder, ignore_errors=True)


_daemon: subprocess.Popen[bytes] | None = None


def on_starting(server: Any) -> None:
    """Refuse to listen beyond this machine, whoever asked for it."""
    global _owner
    _owner = os.getpid()  # With --daemon another process than the one that read this file.
    for address in server.cfg.address:
        if isinstance(address, tuple) and not is_loopback(address[0]):
            raise SystemExit(
                f"These settings are wrong:\n  HOST: {address[0]} is not a loopback address;"
                " there are no accounts yet, so the server answers on this machine only"
            )


def _wait_for_data(listener: Any) -> None:
    """Let the kernel keep a new connection until its request comes.

    gthread gives each new connection a thread for up to 5 seconds while it says nothing, so a few
    that a browser opened ahead would hold up everybody.
    """
    if hasattr(socket, "TCP_DEFER_ACCEPT") and listener.sock.family != socket.AF_UNIX:
        listener.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, keepalive)


def when_ready(server: Any) -> None:
    """Say where the server is, and catch up with the transcripts beside it."""
    global _daemon
    folders = ", ".join(str(folder) for folder in _settings.transcripts_dirs)
    for listener in server.LISTENERS:
        _wait_for_data(listener)
        host, port = listener.getsockname()[:2]
        host = f"[{host}]" if ":" in host else host
        print(f"Observatory is on http://{host}:{port}/", file=sys.stderr, flush=True)
    print(f"Transcripts are read from {folders}", file=sys.stderr, flush=True)
    if _settings.ingest_on_start:
        _daemon = subprocess.Popen(
            [sys.executable, "-m", "observatory", "ingest", "--wait", "3600"],
            stdin=subprocess.DEVNULL,
            env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": ""},
        )


def child_exit(server: Any, worker: Any) -> None:
    """Forget the gauges of a worker that ended."""
    from prometheus_client import multiprocess

    multiprocess.mark_process_dead(worker.pid)


def on_exit(server: Any) -> None:
    """Stop what was started."""
    if _daemon is not None and _daemon.poll() is None:
        _daemon.terminate()
        try:
            _daemon.wait(timeout=10)
        except subprocess.TimeoutExpired:
            _daemon.kill()
