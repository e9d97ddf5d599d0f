"""``/metrics``."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.api.asking import ask, check_refusal
from tests.api.sessions import SESSION


def read_metrics(client) -> dict[tuple, float]:
    """Return the value of each sample by its name and labels."""
    answer = client.get("/metrics")
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
