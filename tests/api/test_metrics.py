"""``/metrics``."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator

import peewee
import pytest
from prometheus_client.parser import text_string_to_metric_families

from observatory.app import create_app
from observatory.collectors.text import MAX_LABEL_CHARACTERS
from observatory.collectors.usage import MAX_MODELS, MAX_TOOLS
from observatory.metrics import AUTH_REASONS
from observatory.rate_limits import Limits
from observatory.store.database import (
    TRY_MS,
    database,
    execute,
    fetch_all,
    waiting_at_most,
    writing,
)
from observatory.store.watcher_status import WatcherStatus, write_watcher_status
from observatory.window_counts import SharedWindows
from tests.api.asking import ask, check_refusal
from tests.api.described import DescribedApp
from tests.api.keyed import KeyedApp
from tests.api.people import add_key, bare
from tests.api.sessions import SESSION, numbered, session_id
from tests.programs import find_program
from tests.transcripts_for_tests import Transcript

ENGINE = "/home/ada/engine"


def read_metrics(client, **options) -> dict[tuple, float]:
    """Return the value of each sample by its name and labels."""
    answer = client.get("/metrics", **options)
    assert answer.content_type == "text/plain"
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def requests(route: str, *, method: str = "GET", status: str = "200") -> tuple:
    """Return the key of the counter of requests to a route."""
    labels = {"route": route, "method": method, "status": status}
    return ("observatory_http_requests_total", *sorted(labels.items()))


def test_the_archive_is_counted(client, session):
    metrics = read_metrics(client)
    assert metrics[("observatory_conversations",)] == 1
    assert metrics[("observatory_ingest_files_total",)] == 1
    assert metrics[("observatory_ingest_lines_total",)] == 7
    assert metrics[("observatory_ingest_bad_lines_total",)] == 0
    assert metrics[("observatory_ingest_bytes_total",)] > 1000
    assert metrics[("observatory_database_size_bytes",)] > 10_000


@pytest.mark.parametrize(
    ("path", "counter"),
    [
        ("/health", requests("/health")),
        (
            f"/api/conversations/{SESSION}/messages",
            requests("/api/conversations/{conversation_id}/messages"),
        ),
        ("/api/messages/nope", requests("/api/messages/{message_id}", status="404")),
        ("/api/projects?limit=0", requests("/api/projects", status="400")),
        ("/no/such/path", requests("(none)", status="404")),
    ],
)
def test_a_request_is_counted_under_the_template_of_its_route(client, session, path, counter):
    before = read_metrics(client).get(counter, 0)
    client.get(path, expect_errors=True)
    assert read_metrics(client)[counter] == before + 1


@pytest.mark.parametrize("method", ["HEAD", "POST", "OPTIONS"])
def test_a_request_is_counted_under_its_method(client, method):
    status = "405" if method == "POST" else "200"
    before = read_metrics(client).get(requests("/health", method=method, status=status), 0)
    client.request("/health", method=method, expect_errors=True)
    after = read_metrics(client)[requests("/health", method=method, status=status)]
    assert after == before + 1


@pytest.mark.parametrize("method", ["BREW", "WEBSOCKET", "X" * 500])
def test_invented_methods_share_one_label(unchecked, client, method):
    answer = unchecked.request("/health", method=method, expect_errors=True)
    check_refusal(answer, 400, "VALIDATION_ERROR")
    methods = {dict(key[1:]).get("method") for key in read_metrics(client)}
    assert methods <= {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "OTHER", None}


def test_paths_and_ids_never_become_labels(client, session):
    client.get(f"/api/conversations/{SESSION}")
    client.get("/secret-path", expect_errors=True)
    text = client.get("/metrics").text
    assert SESSION not in text
    assert "secret-path" not in text


def test_durations_are_observed(client):
    labels = sorted({"route": "/health", "method": "GET"}.items())
    counter = ("observatory_http_request_duration_seconds_count", *labels)
    before = read_metrics(client).get(counter, 0)
    ask(client, "/health")
    assert read_metrics(client)[counter] == before + 1


def find(metrics: dict[tuple, float], name: str) -> dict[tuple, float]:
    """Return the samples of a name by the values of their labels."""
    return {
        tuple(value for _, value in key[1:]): number
        for key, number in metrics.items()
        if key[0] == f"observatory_{name}"
    }


def test_bodies_are_measured_as_they_are_sent(client, session):
    labels = sorted({"route": "/api/projects", "method": "GET"}.items())
    key = ("observatory_http_response_bytes_total", *labels)
    before = read_metrics(client).get(key, 0)
    answer = client.get("/api/projects", headers={"Accept-Encoding": "gzip"})
    client.head("/api/projects")
    assert read_metrics(client)[key] == before + len(answer.body)


def test_requests_in_flight_are_those_that_are_not_answered(client, session):
    for path in ("/api/projects", "/api/projects?limit=0", f"/api/conversations/{SESSION}/export"):
        client.get(path, expect_errors=True)
    client.head("/health")
    found = find(read_metrics(client), "http_requests_in_flight")
    assert ("GET", "/api/projects") in found
    assert set(found.values()) == {0}


# Refusals


@pytest.mark.parametrize(
    ("reason", "method", "path", "headers"),
    [
        ("missing", "GET", "/api/projects", {}),
        ("malformed", "GET", "/api/projects", {"Authorization": "Basic YTpi"}),
        ("malformed", "GET", "/api/projects", {"Authorization": f"Bearer obs_{'x' * 5000}"}),
        ("key", "GET", "/api/projects", {"X-API-Key": "obs_wrong"}),
        ("token", "GET", "/api/projects", {"Authorization": "Bearer a.b.c"}),
        ("ticket", "GET", "/api/events/stream?ticket=wrong", {}),
        ("host", "GET", "/health", {"Host": "evil.example.org"}),
        ("origin", "POST", "/api/auth/login", {"Origin": "https://evil.example.org"}),
    ],
)
def test_refusals_are_counted_by_their_reason(client, reason, method, path, headers):
    before = find(read_metrics(client), "auth_failures_total")
    assert set(before) == {(each,) for each in AUTH_REASONS}
    bare(client).request(path, method=method, headers=headers, expect_errors=True)
    after = find(read_metrics(client), "auth_failures_total")
    assert {key: after[key] - before[key] for key in after if after[key] != before[key]} == {
        (reason,): 1
    }


def test_a_missing_permission_is_counted(client):
    before = find(read_metrics(client), "auth_failures_total")
    _, key = add_key(["metrics:read"])
    bare(client).get("/api/projects", headers={"X-API-Key": key}, status=403)
    after = find(read_metrics(client), "auth_failures_total")
    assert after[("permission",)] == before[("permission",)] + 1


@pytest.mark.parametrize("path", ["/api/auth/login", "/login"])
def test_a_wrong_password_is_counted(client, path):
    before = find(read_metrics(client), "auth_failures_total")
    sent = {"email": "ada@example.org", "password": "wrong horse battery"}
    send = client.post_json if path.startswith("/api") else client.post
    send(path, sent, headers={"Origin": "http://localhost:80"}, expect_errors=True)
    after = find(read_metrics(client), "auth_failures_total")
    assert after[("password",)] == before[("password",)] + 1


def test_requests_beyond_a_limit_are_counted(db):
    app = create_app(
        cors_origins=(), folders=(), limits=Limits(SharedWindows(sets=4)), max_requests=1
    )
    client = DescribedApp(app, lint=True)
    before = find(read_metrics(client), "rate_limited_requests_total")
    for _ in range(3):
        client.get(
            "/api/projects", extra_environ={"REMOTE_ADDR": "203.0.113.9"}, expect_errors=True
        )
    after = find(read_metrics(client), "rate_limited_requests_total")
    assert after[("address",)] == before[("address",)] + 2


# What takes long


@pytest.mark.parametrize(
    ("path", "name", "label"),
    [
        ("/api/search?q=count", "search_duration_seconds_count", "messages"),
        ("/api/analytics/tools/slowest", "report_duration_seconds_count", "tools/slowest"),
        ("/api/analytics/compare", "report_duration_seconds_count", "compare"),
    ],
)
def test_searches_and_reports_are_timed(client, session, path, name, label):
    before = find(read_metrics(client), name).get((label,), 0)
    client.get(path)
    assert find(read_metrics(client), name)[(label,)] == before + 1


def test_a_report_that_is_kept_is_not_made_again(client, session):
    name = "report_duration_seconds_count"
    before = find(read_metrics(client), name).get(("costs",), 0)
    for _ in range(2):
        client.get("/api/analytics/costs")
    assert find(read_metrics(client), name)[("costs",)] == before + 1


def test_searches_of_conversations_are_timed(client, session):
    name = "search_duration_seconds_count"
    before = find(read_metrics(client), name).get(("conversations",), 0)
    client.post_json("/api/conversations/search", {"q": "count"})
    assert find(read_metrics(client), name)[("conversations",)] == before + 1


def test_write_transactions_are_counted_once_however_they_nest(client):
    names = ("database_write_duration_seconds_count", "database_write_wait_seconds_count")
    read_metrics(client)  # The use of a key is noted once a minute.
    before = [find(read_metrics(client), name)[("server",)] for name in names]
    with writing(), writing():
        pass
    after = [find(read_metrics(client), name)[("server",)] for name in names]
    assert after == [number + 1 for number in before]


@pytest.mark.parametrize(("patience_ms", "number"), [(TRY_MS + 1, 1), (TRY_MS, 0), (0, 0)])
def test_writers_that_do_not_get_the_lock_are_counted_unless_they_only_try(
    client, other_writer, patience_ms, number
):
    name = "database_write_timeouts_total"
    read_metrics(client)
    before = find(read_metrics(client), name)[("server",)]
    with pytest.raises(Exception, match="locked"), waiting_at_most(patience_ms), writing():
        pass
    assert find(read_metrics(client), name)[("server",)] == before + number


@pytest.fixture
def other_writer(db) -> Iterator[None]:
    """Somebody else, who has the lock of the database."""
    connection = peewee.sqlite3.connect(db, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    yield
    connection.close()


# Tokens, costs and tools


def test_tokens_and_costs_are_told_by_project_and_model(client, add):
    usage = {"input_tokens": 1, "output_tokens": 2}
    add(1, model="claude-opus-4-5", usage=usage)
    add(2, model="glm-5", usage=usage, cwd="/home/ada/wheel")
    metrics = read_metrics(client)
    opus, glm = ("claude-opus-4-5", ENGINE), ("glm-5", "/home/ada/wheel")
    tokens = find(metrics, "tokens")
    assert {key: value for key, value in tokens.items() if value} == {
        ("input", *opus): 1, ("output", *opus): 2, ("input", *glm): 1, ("output", *glm): 2,
    }  # fmt: skip
    assert find(metrics, "cost_dollars") == {opus: pytest.approx(55e-6), glm: 0}
    assert find(metrics, "unpriced_tokens") == {glm: 3}


def test_they_fall_when_a_conversation_is_deleted(client, add):
    kept, gone = (add(n, usage={"input_tokens": 5, "output_tokens": 0}) for n in (1, 2))
    assert sum(find(read_metrics(client), "tokens").values()) == 10
    client.delete(f"/api/conversations/{gone}")
    metrics = read_metrics(client)
    assert sum(find(metrics, "tokens").values()) == 5
    assert "TYPE observatory_tokens gauge" in client.get("/metrics").text
    client.delete(f"/api/conversations/{kept}")
    assert find(read_metrics(client), "tokens") == {}


def projects_of(metrics: dict[tuple, float]) -> dict[str, float]:
    """Return the tokens of each label of a project."""
    sums: dict[str, float] = {}
    for (_, _, project), value in find(metrics, "tokens").items():
        sums[project] = sums.get(project, 0) + value
    return sums


@pytest.fixture
def three(db, add):
    """Three projects, the last of which is the largest, for a client that tells two apart."""
    for number, name in enumerate(("one", "two", "three"), 1):
        add(number, cwd=f"/{name}", usage={"input_tokens": 10**number, "output_tokens": 0})
    return DescribedApp(create_app(cors_origins=(), folders=(), metrics_projects=2), lint=True)


def test_the_first_projects_have_series_of_their_own(three):
    assert projects_of(read_metrics(three)) == {"/one": 10, "/two": 100, "other": 1000}


def test_no_project_moves_up_when_another_one_is_deleted(three):
    three.delete(f"/api/conversations/{session_id(1)}?permanent=true")
    assert fetch_all("SELECT count(*) FROM projects") == [(2,)]
    assert projects_of(read_metrics(three)) == {"/two": 100, "other": 1000}


def test_who_may_see_a_few_projects_sees_only_those(three):
    [(key,)] = fetch_all("SELECT key FROM projects WHERE path = '/three'")
    _, text = add_key(["metrics:read"], project_keys=[key])
    metrics = read_metrics(bare(three), headers={"X-API-Key": text})
    assert projects_of(metrics) == {"/three": 1000}
    assert find(metrics, "tool_uses") == {}


def test_what_a_hidden_session_started_is_not_told(client, write, ingest):
    run = Transcript(session_id(1), prefix="r", cwd=ENGINE)
    run.common |= {"isSidechain": True, "agentId": "abc"}
    run.answer("done", usage={"input_tokens": 0, "output_tokens": 7})
    session = numbered(1, cwd="/hidden")
    session.prompt("go")
    write(session)
    write(run, f"-work/{session.session_id}/subagents/agent-abc.jsonl")
    ingest()
    [(key,)] = fetch_all("SELECT key FROM projects WHERE path = ?", (ENGINE,))
    _, text = add_key(["metrics:read"], project_keys=[key])
    assert projects_of(read_metrics(client)) == {ENGINE: 7}
    assert projects_of(read_metrics(bare(client), headers={"X-API-Key": text})) == {}


def test_a_model_that_came_late_stays_among_the_others(client, write, ingest):
    usage = {"input_tokens": 1, "output_tokens": 0}
    first = numbered(1)
    for number in range(MAX_MODELS):
        first.answer("hi", model=f"model-{number}", usage=usage)
    write(first)
    ingest()
    late = numbered(2)
    late.answer("hi", model="a-model", usage={"input_tokens": 10**6, "output_tokens": 0})
    late.answer("hi", model="model-0", usage=usage)
    write(late)
    ingest()
    tokens = find(read_metrics(client), "tokens").items()
    found = {model: value for (kind, model, _), value in tokens if kind == "input"}
    own = {f"model-{number}": 1 for number in range(MAX_MODELS)}
    assert found == {**own, "model-0": 2, "other": 10**6}


def test_tools_are_told_by_uses_errors_and_durations(client, session):
    metrics = read_metrics(client)
    assert find(metrics, "tool_uses") == {("Bash",): 1, ("mcp__github__get_issue",): 1}
    assert find(metrics, "tool_errors") == {("Bash",): 0, ("mcp__github__get_issue",): 1}
    taken = dict(fetch_all("SELECT name, execution_time_ms FROM tool_uses"))
    sums = find(metrics, "tool_duration_seconds_sum")
    assert sums == {(name,): ms / 1000 for name, ms in taken.items()}
    buckets = find(metrics, "tool_duration_seconds_bucket")
    assert buckets[("+Inf", "Bash")] == 1
    assert buckets[("0.01", "Bash")] == (taken["Bash"] < 10)


def test_there_is_a_bound_to_tools(client, write, ingest):
    transcript = numbered(1)
    for number in range(MAX_TOOLS + 5):
        transcript.tool_use(f"mcp__s__t{number:03}", {}, tool_use_id=f"toolu_{number}")
        transcript.tool_result("ok", tool_use_id=f"toolu_{number}")
    write(transcript)
    ingest()
    uses = find(read_metrics(client), "tool_uses")
    assert len(uses) == MAX_TOOLS + 1
    assert uses[("other",)] == 5


def test_labels_are_escaped(client, add):
    path = '/home/ada/"a\\b"\nc'
    add(1, cwd=path)
    assert list(projects_of(read_metrics(client))) == [path]


def test_names_that_are_long_are_cut_and_stay_apart(client, write, ingest):
    for number in (1, 2):
        name = "n" * 100_000 + str(number)
        transcript = numbered(number, cwd=f"/{name}")
        transcript.answer("hi", model=name, usage={"input_tokens": number, "output_tokens": 0})
        transcript.tool_use(name, {}, model=name)
        write(transcript)
    ingest()
    text = client.get("/metrics").text
    assert max(map(len, text.splitlines())) < 1000
    metrics = read_metrics(client)
    assert len(projects_of(metrics)) == 2
    assert sorted(find(metrics, "tool_uses").values()) == [1, 1]
    assert {len(project) for project in projects_of(metrics)} == {MAX_LABEL_CHARACTERS}


# The archive, the database, the watcher


def test_reading_tells_when_it_succeeded_last_and_how_often_it_failed(
    client, write, ingest, monkeypatch
):
    assert read_metrics(client)[("observatory_ingest_last_success_timestamp_seconds",)] == 0
    monkeypatch.setattr("observatory.ingest.applying.present", lambda: 1_800_000_000)
    for number in (1, 2):
        transcript = numbered(number)
        transcript.prompt("hello")
        write(transcript)

    def refuse(file, *args, **options):
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr("observatory.ingest.running.read_chunks", refuse)
        assert ingest().failed_files == 2
    assert read_metrics(client)[("observatory_ingest_failures_total",)] == 2
    ingest()
    metrics = read_metrics(client)
    assert metrics[("observatory_ingest_last_success_timestamp_seconds",)] == 1_800_000_000
    assert metrics[("observatory_ingest_failures_total",)] == 2


def test_events_and_live_conversations_are_counted(client, session):
    metrics = read_metrics(client)
    [(events,)] = fetch_all("SELECT count(*) FROM events")
    assert metrics[("observatory_events_kept",)] == events > 0
    [(live,)] = fetch_all("SELECT count(*) FROM live_conversations")
    assert metrics[("observatory_live_conversations",)] == live
    execute("DELETE FROM events WHERE id < (SELECT max(id) FROM events)")
    assert read_metrics(client)[("observatory_events_kept",)] == 1


def test_the_room_on_the_disk_of_the_database_is_told(client, db):
    disk = shutil.disk_usage(db.parent)
    metrics = read_metrics(client)
    assert metrics[("observatory_filesystem_size_bytes",)] == disk.total
    assert 0 < metrics[("observatory_filesystem_free_bytes",)] <= disk.total
    told = client.get("/api/admin/status").json["data"]["database"]
    assert told["disk_total_bytes"] == disk.total


@pytest.mark.skipif(
    peewee.sqlite3.sqlite_version_info < (3, 51), reason="takes SQLite 3.51 or later"
)
def test_pages_of_the_log_are_counted_and_left_where_they_are(client, session):
    name = ("observatory_database_wal_pages",)
    read_metrics(client)  # The use of a key is noted once a minute.
    pages = read_metrics(client)[name]
    assert pages > 0
    assert read_metrics(client)[name] == pages
    database.connection().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    assert read_metrics(client)[name] == 0


def test_without_a_watcher_nobody_knows_how_late_it_is(client, db):
    counts = {"observatory_watcher_failures": [("observatory_watcher_failures_total", {}, 3.0)]}
    write_watcher_status(db, WatcherStatus(state="running", waiting_bytes=9), counts=counts)
    metrics = read_metrics(client)
    assert metrics[("observatory_watcher_up",)] == 0
    assert ("observatory_ingest_lag_bytes",) not in metrics
    # What one counted stays.
    assert metrics[("observatory_watcher_failures_total",)] == 3


@pytest.mark.parametrize("text", ["", "[]", "{", '{"counts": 1}', '{"counts": {"a": [[1]]}}'])
def test_a_broken_file_of_the_watcher_is_none(client, db, text):
    db.with_name(f"{db.name}.watch.json").write_text(text)
    assert read_metrics(client)[("observatory_watcher_up",)] == 0


def test_deliveries_that_wait_are_counted(client):
    hook = client.post_json("/api/webhooks", {"url": "https://example.org/x"}).json["data"]
    metrics = read_metrics(client)
    assert metrics[("observatory_webhook_oldest_waiting_seconds",)] == 0
    for _ in range(2):
        client.post(f"/api/webhooks/{hook['id']}/test")
    execute("UPDATE webhook_deliveries SET created_at = '2026-01-02T03:04:05.000Z'")
    metrics = read_metrics(client)
    assert metrics[("observatory_webhook_deliveries_waiting",)] == 2
    assert metrics[("observatory_webhook_oldest_waiting_seconds",)] > 3600
    execute("UPDATE webhook_deliveries SET status = 'dead', next_attempt_at = NULL")
    metrics = read_metrics(client)
    assert metrics[("observatory_webhook_deliveries_waiting",)] == 0
    assert metrics[("observatory_webhook_deliveries_dead",)] == 2


def test_processes_are_told_by_role(client):
    metrics = read_metrics(client)
    assert find(metrics, "processes") == {("worker",): 1}
    assert find(metrics, "process_resident_memory_bytes")[("worker",)] > 2**20
    assert find(metrics, "process_cpu_seconds_total")[("worker",)] > 0
    assert list(find(metrics, "build_info").values()) == [1]


# The whole


def test_promtool_finds_nothing(client, session):
    promtool = find_program("promtool")
    client.post_json("/api/budgets", {"name": "b", "period": "month", "limit_tokens": 1})
    for path in ("/api/search?q=x", "/api/analytics/costs", "/api/events/stream"):
        client.get(path)
    text = client.get("/metrics").text
    checked = subprocess.run(
        [promtool, "check", "metrics"], input=text, capture_output=True, text=True
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_a_scrape_writes_nothing_and_asks_as_much_however_much_there_is(client, add):
    add(1)
    read_metrics(client)  # The use of a key is noted once a minute.
    few = statements_of(client)
    for number in range(2, 12):
        add(number, cwd=f"/home/ada/{number}", model=f"model-{number}")
    many = statements_of(client)
    assert len(many) == len(few) <= 25
    assert all(each.split()[0] in ("SELECT", "PRAGMA", "WITH") for each in many)


def statements_of(client) -> list[str]:
    """Return the statements of a scrape, which must change nothing."""
    connection = database.connection()
    statements: list[str] = []
    changes = connection.total_changes
    connection.set_trace_callback(statements.append)
    read_metrics(client)
    connection.set_trace_callback(None)
    assert connection.total_changes == changes
    return statements


def test_on_a_port_for_metrics_there_is_nothing_else(db):
    app = create_app(cors_origins=(), folders=(), metrics_port=9464)
    client = KeyedApp(app, lint=True)
    there = {"SERVER_PORT": "9464"}
    assert client.get("/metrics", extra_environ=there).status_int == 200
    for path in ("/", "/health", "/api/projects", "/metrics/x"):
        answer = client.get(path, extra_environ=there, expect_errors=True)
        check_refusal(answer, 404, "NOT_FOUND")
    assert bare(client).get("/metrics", extra_environ=there, expect_errors=True).status_int == 401
    assert client.get("/api/projects").status_int == 200
