"""``/health`` and ``/health/ready``."""

from __future__ import annotations

from observatory import __version__
from observatory.store.database import close, configure, execute, fetch_all
from tests.api.asking import ask, check_refusal


def test_health_tells_the_version(client):
    assert ask(client, "/health") == {"status": "ok", "version": __version__}


def test_a_current_schema_is_ready(client):
    assert ask(client, "/health/ready") == {"status": "ready", "version": __version__}


def test_a_newer_schema_is_not_ready(client):
    execute("INSERT INTO schema_migrations (name, applied) VALUES ('9999_x', '2030-01-01')")
    answer = client.get("/health/ready", expect_errors=True)
    assert "newer version" in check_refusal(answer, 503, "NOT_READY")["error"]
    assert answer.headers["Retry-After"] == "5"


def test_an_older_schema_is_not_ready_and_the_command_is_named(client):
    execute("DELETE FROM schema_migrations")
    answer = client.get("/health/ready", expect_errors=True)
    assert "observatory migrate" in check_refusal(answer, 503, "NOT_READY")["error"]


def test_being_asked_for_readiness_writes_nothing(client):
    changes = fetch_all("SELECT total_changes()"), fetch_all("PRAGMA data_version")
    ask(client, "/health/ready")
    assert (fetch_all("SELECT total_changes()"), fetch_all("PRAGMA data_version")) == changes


def test_without_a_database_the_server_lives_and_is_not_ready(client, tmp_path):
    close()
    configure(tmp_path / "no such folder" / "observatory.db")
    assert ask(client, "/health")["status"] == "ok"
    page = client.get("/")
    assert page.status_int == 200 and "observatory link" in page.text
    check_refusal(client.get("/health/ready", expect_errors=True), 503, "NOT_READY")
    check_refusal(client.get("/api/projects", expect_errors=True), 503, "NOT_READY")


def test_a_file_that_is_no_database_is_not_ready(client, tmp_path):
    close()
    (tmp_path / "text.db").write_text("This is no database. " * 100)
    configure(tmp_path / "text.db")
    check_refusal(client.get("/health/ready", expect_errors=True), 503, "NOT_READY")
