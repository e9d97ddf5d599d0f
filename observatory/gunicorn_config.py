"""Gunicorn's configuration, made from the Observatory's settings.

``gunicorn -c gunicorn.conf.py observatory.wsgi:application`` reads it from a checkout,
``observatory serve`` from the installed package.
"""

from __future__ import annotations

import atexit
import gc
import os
import resource
import shutil
import socket
import subprocess
import sys
import time
from contextlib import suppress
from typing import Any

from observatory.metrics_folder import VARIABLE, add_up, find_place, make_folder

# One folder per server: metrics of two servers must not mix. It has to be known before
# prometheus_client is imported, which what writes to the database does.
_owner = os.getpid()
_memory = find_place()
_metrics_folder = make_folder(_memory)
os.environ[VARIABLE] = str(_metrics_folder)


@atexit.register
def _remove_metrics_folder() -> None:
    """Leave nothing behind, also when gunicorn refuses to start; workers are forks of its owner."""
    if os.getpid() == _owner:
        shutil.rmtree(_metrics_folder, ignore_errors=True)


from observatory.accounts.signing_in import make_link_token, make_setup_token
from observatory.errors import ObservatoryError, SettingsError
from observatory.fair_shares import SHARES
from observatory.log import configure_logging
from observatory.loopback import is_loopback, make_address
from observatory.memory import keep_memory_flat, return_free_memory
from observatory.opening import check_exposure, connected
from observatory.settings import Settings, read_settings
from observatory.store import users
from observatory.store.database import DatabaseError, describe_failure, hang_bell

try:
    _settings: Settings = read_settings()
except SettingsError as _error:
    raise SystemExit(str(_error)) from _error

configure_logging(level=_settings.log_level, log_format=_settings.log_format)
keep_memory_flat()


def _address(host: str, port: int) -> str:
    return f"[{host.strip('[]')}]:{port}" if ":" in host else f"{host}:{port}"


bind = [_address(_settings.host, _settings.port)]
if _settings.metrics_port:
    bind.append(_address(_settings.metrics_host, _settings.metrics_port))
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
graceful_timeout = max(1, _settings.request_timeout_ms // 1000)
# A worker shows a sign of life each second; it is given up only when it has missed several.
timeout = max(10, graceful_timeout + 5)
# Loaded once and forked: workers share its memory and start at once.
preload_app = True
worker_tmp_dir = str(_memory)
control_socket_disable = True
accesslog = None
errorlog = "-"
# What gunicorn says below that is of no use here, and some of it repeats what clients sent.
loglevel = "error" if _settings.log_level == "error" else "warning"
proc_name = "observatory"

# Databases, logs and the like of a worker, by far.
_OTHER_DESCRIPTORS = 500

# Workers whose counts lie in files of their own still.
_ended: set[int] = set()
_daemon: subprocess.Popen[bytes] | None = None
_daemon_started_at = 0.0
_AGAIN_SECONDS = 2.0
# Longer than the watcher itself is given.
_STOP_SECONDS = 15


def _allow_descriptors() -> None:
    """Let workers have as many open sockets as they may, which is often more than they have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = worker_connections + _settings.max_streams + _OTHER_DESCRIPTORS
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        # A system may allow less than it says.
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def on_starting(server: Any) -> None:
    """Refuse to listen beyond this machine without accounts, whoever asked for it."""
    global _owner
    _owner = os.getpid()  # With --daemon another process than the one that read this file.
    _allow_descriptors()
    hosts = [address[0] for address in server.cfg.address if isinstance(address, tuple)]
    if not all(map(is_loopback, hosts)) and _settings.db_path.exists():
        try:
            with connected(_settings):
                check_exposure(hosts)
        except ObservatoryError as error:
            raise SystemExit(str(error)) from error
        except DatabaseError as error:
            raise SystemExit(describe_failure(error)) from error


def _wait_for_data(listener: Any) -> None:
    """Let the kernel keep a new connection until its request comes.

    gthread gives each new connection a thread for up to 5 seconds while it says nothing, so a few
    that a browser opened ahead would hold up everybody.
    """
    if hasattr(socket, "TCP_DEFER_ACCEPT") and listener.sock.family != socket.AF_UNIX:
        listener.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, keepalive)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _say_how_to_come_in(places: list[tuple[str, str]]) -> None:
    """Print a link that signs in once, where only programs on this machine can open it."""
    local = [address for host, address in places if is_loopback(host)]
    try:
        with connected(_settings):
            is_new = not users.has_users()
            # A log that is kept is no place for links: with accounts there are other ways in.
            if local and (is_new or sys.stderr.isatty()):
                link = f"{local[0]}login?token={make_link_token()}"
                _say(f"Sign in, once and within an hour: {link}")
            if is_new:
                token = make_setup_token()
                _say(f"Setup token of the first account: {token} (for POST /api/auth/register)")
    except DatabaseError as error:
        _say(f"There is no link to sign in: {describe_failure(error)}")
    if len(local) < len(places) or not is_loopback(_settings.metrics_host):
        _say(
            "Other machines can reach it, without TLS: put a proxy with TLS before it, see"
            " docs/operations.md"
        )


def _keep_shared() -> None:
    """Keep what is loaded out of the sight of the collector of garbage, before workers are forked.

    It writes to each object that it looks at, which gives each worker a page of its own of what
    all share.
    """
    gc.collect()
    return_free_memory()
    gc.freeze()


def when_ready(server: Any) -> None:
    """Say where the server is, and start the watcher of transcripts beside it."""
    folders = ", ".join(str(folder) for folder in _settings.transcripts_dirs)
    places = []
    for listener in server.LISTENERS:
        _wait_for_data(listener)
        if listener.sock.family == socket.AF_UNIX:
            _say(f"Observatory is on {listener}")
            continue
        host, port = listener.getsockname()[:2]
        if port == _settings.metrics_port:
            _say(f"Metrics are on {make_address(host, port)}metrics")
            continue
        places.append((host, make_address(host, port)))
        _say(f"Observatory is on {places[-1][1]}")
    _say(f"Transcripts are read from {folders}")
    _say_how_to_come_in(places)
    if _settings.ingest_on_start:
        _start_daemon()
        _keep_daemon(server)
    hang_bell()
    _keep_shared()


def _start_daemon() -> None:
    global _daemon, _daemon_started_at
    _daemon_started_at = time.monotonic()
    command = [sys.executable, "-m", "observatory.supervise", str(os.getpid())]
    _daemon = subprocess.Popen(
        [*command, str(_settings.db_path)],
        stdin=subprocess.DEVNULL,
        # What it counts it leaves beside the database, for all servers there are.
        env={k: v for k, v in os.environ.items() if k != VARIABLE},
    )


def _keep_daemon(server: Any) -> None:
    """Start the supervisor of the watcher again when it is gone.

    Gunicorn has no hook for other children than workers; each second it looks after those.
    """
    manage_workers = server.manage_workers

    def manage_all() -> None:
        manage_workers()
        is_due = time.monotonic() - _daemon_started_at > _AGAIN_SECONDS
        if is_due and _daemon is not None and _daemon.poll() is not None:
            _say("The supervisor of the watcher is gone; it is started again")
            try:
                _start_daemon()
            except OSError as error:
                # Too many processes, or no memory, at the moment.
                _say(f"It can not be started: {error.strerror}")

    server.manage_workers = manage_all


def child_exit(server: Any, worker: Any) -> None:
    """Forget what a worker that ended had open, and add what it counted to that of others."""
    from prometheus_client import multiprocess

    SHARES.forget(worker.age)
    multiprocess.mark_process_dead(worker.pid)
    _ended.add(worker.pid)
    # The system gives numbers again.
    _ended.difference_update(server.WORKERS)
    if add_up(_metrics_folder, _ended):
        _ended.clear()


def on_exit(server: Any) -> None:
    """Stop what was started."""
    if _daemon is not None and _daemon.poll() is None:
        _daemon.terminate()
        try:
            _daemon.wait(timeout=_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            _daemon.kill()
