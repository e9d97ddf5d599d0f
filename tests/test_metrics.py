"""``/metrics`` of a real server: over several workers, with its watcher, on its own port."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import suppress

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.processes import (
    DEADLINE_SECONDS,
    Home,
    Server,
    free_port,
    metrics_folders,
    serving,
    wait_for,
)
from tests.programs import find_program
from tests.test_server import is_alive, new_home, workers_of


def read(server: Server) -> dict[tuple[str, ...], float]:
    """Return the samples by their names and the values of their labels."""
    status, body = server.get("/metrics")
    assert status == 200, body
    return {
        (sample.name.removeprefix("observatory_"), *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }


def wait_until(server: Server, *key: str, value: float) -> None:
    wait_for(lambda: read(server).get(key) == value, what=f"{key} to be {value}")


@pytest.fixture(scope="module")
def metrics_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def server(tmp_path_factory, metrics_port) -> Iterator[Server]:
    home = new_home(tmp_path_factory.mktemp("home"))
    with serving(home, WEB_WORKERS="2", METRICS_PORT=str(metrics_port)) as running:
        yield running


def test_requests_of_all_workers_are_counted(server):
    key = ("http_requests_total", "GET", "/api/projects", "200")
    before = read(server).get(key, 0)
    for _ in range(20):
        server.get("/api/projects")
    assert read(server)[key] == before + 20


def test_every_process_is_told_by_its_role(server):
    workers_of(server.process.pid, 2)
    wait_until(server, "watcher_up", value=1)
    metrics = read(server)
    roles = {"master": 1, "worker": 2, "supervisor": 1, "watcher": 1}
    assert {role: metrics["processes", role] for role in roles} == roles
    for role in roles:
        assert metrics["process_resident_memory_bytes", role] > 2**20
        assert metrics["process_cpu_seconds_total", role] >= 0


def test_a_watcher_that_is_killed_is_missed_and_comes_back(server):
    wait_until(server, "watcher_up", value=1)
    wait_until(server, "ingest_files_total", value=2)
    name = ("database_write_duration_seconds_count", "watcher")
    wait_for(lambda: read(server).get(name, 0) > 0, what="the watcher's counts")
    assert read(server)["ingest_lag_bytes",] == 0
    pid = server.data("/api/live/status")["watcher"]["pid"]
    os.kill(pid, signal.SIGKILL)
    wait_until(server, "watcher_up", value=0)
    metrics = read(server)
    assert ("ingest_lag_bytes",) not in metrics
    # What it counted stays, and what it read is in the archive.
    assert metrics[name] > 0
    assert metrics["ingest_files_total",] == 2
    wait_until(server, "watcher_up", value=1)


def test_a_worker_that_is_killed_leaves_what_it_counted(server):
    key = ("http_requests_total", "GET", "/health/ready", "200")
    for _ in range(20):
        server.get("/health/ready")
    before, seconds = read(server)[key], read(server)["process_cpu_seconds_total", "worker"]
    workers = workers_of(server.process.pid, 2)
    os.kill(workers[0], signal.SIGKILL)
    wait_for(lambda: not is_alive(workers[0]), what="the worker to end")
    workers_of(server.process.pid, 2)
    metrics = read(server)
    assert metrics[key] == before
    assert metrics["process_cpu_seconds_total", "worker"] >= seconds
    in_flight = {key: value for key, value in metrics.items() if "in_flight" in key[0]}
    assert sum(in_flight.values()) == 0


def test_a_request_that_is_worked_on_is_in_flight_whichever_worker_is_asked(server):
    key = ("http_requests_in_flight", "POST", "/api/files/upload")
    head = (
        b"POST /api/files/upload HTTP/1.1\r\nHost: localhost\r\n"
        b"Content-Type: application/x-ndjson\r\nContent-Length: 500000\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        client.sendall(server.signed(head) + b" " * 100_000)
        wait_until(server, *key, value=1)
    wait_until(server, *key, value=0)


def test_workers_that_ended_leave_one_file_of_each_kind_and_all_that_they_counted(server):
    [folder] = metrics_folders(server.process.pid)
    key = ("http_requests_total", "GET", "/api/files", "200")
    before = read(server).get(key, 0)
    for _ in range(5):
        for _ in range(4):
            server.get("/api/files")
        [first, _] = workers_of(server.process.pid, 2)
        os.kill(first, signal.SIGKILL)
        wait_for(lambda gone=first: not is_alive(gone), what="the worker to end")
    workers = workers_of(server.process.pid, 2)
    metrics = read(server)
    assert metrics[key] == before + 20
    durations = ("http_request_duration_seconds", "GET", "/api/files")
    assert metrics[durations[0] + "_count", *durations[1:]] == before + 20
    living = {str(server.process.pid), *map(str, workers), "ended"}
    assert {path.stem.rpartition("_")[2] for path in folder.glob("*.db")} <= living


def counters_of(metrics: dict[tuple[str, ...], float]) -> dict[tuple[str, ...], float]:
    """Return what may never go back."""
    suffixes = ("_total", "_bucket", "_count", "_sum")
    return {key: value for key, value in metrics.items() if key[0].endswith(suffixes)}


def test_no_counter_goes_back_by_the_last_digit_while_workers_are_killed(server):
    last = counters_of(read(server))
    for _ in range(6):
        [first, _] = workers_of(server.process.pid, 2)
        os.kill(first, signal.SIGKILL)
        while is_alive(first):
            # A scrape of this very worker gets no answer.
            with suppress(OSError, http.client.HTTPException):
                found = counters_of(read(server))
                fallen = {
                    key: (value, found.get(key))
                    for key, value in last.items()
                    if found.get(key, -1) < value and "watcher" not in key
                }
                assert not fallen
                last = found


def test_the_own_port_has_nothing_else_and_takes_the_same_keys(server, metrics_port):
    own = Server(server.process, metrics_port, server.log, server.home, server.key)
    own.key = server.key or server.credentials()["Authorization"].removeprefix("Bearer ")
    assert own.get("/metrics")[0] == 200
    assert own.get("/metrics", Authorization="Bearer obs_wrong")[0] == 401
    for path in ("/", "/health", "/api/projects"):
        assert own.get(path)[0] == 404
    assert f"Metrics are on http://127.0.0.1:{metrics_port}/metrics" in server.log.read_text()


def test_promtool_finds_nothing(server):
    promtool = find_program("promtool")
    _, body = server.get("/metrics")
    checked = subprocess.run([promtool, "check", "metrics"], input=body, capture_output=True)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


def test_what_a_killed_server_leaves_goes_at_the_next_start(tmp_path):
    home = new_home(tmp_path)
    with serving(home, "--no-ingest", WEB_WORKERS="2") as killed:
        pid = killed.process.pid
        workers = workers_of(pid, 2)
        assert len(metrics_folders(pid)) == 1
        killed.process.kill()
        killed.process.wait(timeout=DEADLINE_SECONDS)
        wait_for(lambda: not any(map(is_alive, workers)), what="the workers to end")
    with serving(home, "--no-ingest") as server:
        assert metrics_folders(pid) == []
        assert len(metrics_folders(server.process.pid)) == 1
        assert read(server)["watcher_up",] == 0


def test_a_port_that_is_taken_is_told_by_its_setting(tmp_path, metrics_port, server):
    home = Home(tmp_path)
    ended = home.run("serve", PORT=str(free_port()), METRICS_PORT=str(metrics_port))
    assert ended.returncode == 1
    assert "set METRICS_PORT to another number" in ended.stderr


def test_other_machines_are_let_to_it_with_accounts_only(tmp_path):
    home = Home(tmp_path)
    ended = home.run(
        "serve", PORT=str(free_port()), METRICS_PORT=str(free_port()), METRICS_HOST="0.0.0.0"
    )
    assert ended.returncode == 1
    assert "there is no account yet" in ended.stderr
