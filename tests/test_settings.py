"""Settings: each variable's default, what it takes, and how all problems are told at once."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from observatory.errors import SettingsError
from observatory.loopback import is_loopback
from observatory.settings import Settings, read_redaction_key, read_secret, read_settings

HOME = "/home/ada"
PROJECTS = Path(HOME) / ".claude" / "projects"


@pytest.fixture
def read(tmp_path: Path) -> Iterator[Callable[..., Settings]]:
    """Reads settings from nothing but the variables given, and a ``.env`` file if told."""

    def from_variables(*, env_file: Path | None = None, **variables: str) -> Settings:
        os.environ.clear()
        os.environ.update(HOME=HOME, **variables)
        return read_settings(env_file=env_file)

    with patch.dict(os.environ):
        yield from_variables


def problems_of(read: Callable[..., Settings], **variables: Any) -> dict[str, str]:
    with pytest.raises(SettingsError) as caught:
        read(**variables)
    return caught.value.problems


DEFAULTS = {
    "host": "127.0.0.1",
    "allowed_hosts": (),
    "registration": "closed",
    "port": 3001,
    "metrics_host": "127.0.0.1",
    "metrics_port": 0,
    "metrics_projects": 20,
    "environment": "production",
    "db_path": Path("data/observatory.db"),
    "db_wal_checkpoint_interval_ms": 30_000,
    "db_synchronous": "NORMAL",
    "jwt_secret": None,
    "jwt_secret_previous": None,
    "jwt_expiry_seconds": 24 * 3600,
    "cors_origins": ("http://localhost:3000",),
    "cookie_origins": (),
    "rate_limit_window_ms": 900_000,
    "rate_limit_max_requests": 1000,
    "rate_limit_loopback": False,
    "trusted_proxies": (),
    "request_timeout_ms": 30_000,
    "max_request_size_mb": 10,
    "log_level": "info",
    "log_format": "json",
    "transcripts_dirs": (PROJECTS,),
    "web_workers": 2,
    "web_threads": 4,
    "max_streams": 1000,
    "ingest_on_start": True,
    "watch_mode": "auto",
    "redact_secrets": "mask",
    "webhook_allowed_networks": (),
    "retention_days": 0,
    "trash_days": 0,
    "audit_log_days": 0,
}

GOOD = [
    ("HOST", "localhost", "host", "localhost"),
    ("HOST", "127.1.2.3", "host", "127.1.2.3"),
    ("HOST", "::1", "host", "::1"),
    ("HOST", "[::1]", "host", "[::1]"),
    ("HOST", "0.0.0.0", "host", "0.0.0.0"),
    ("HOST", "::", "host", "::"),
    ("HOST", "192.168.1.2", "host", "192.168.1.2"),
    ("ALLOWED_HOSTS", "", "allowed_hosts", ()),
    ("ALLOWED_HOSTS", "a.example, b_c.example.", "allowed_hosts", ("a.example", "b_c.example.")),
    ("ALLOWED_HOSTS", "[fd00::1],10.0.0.1", "allowed_hosts", ("[fd00::1]", "10.0.0.1")),
    ("REGISTRATION", "open", "registration", "open"),
    ("PORT", "1", "port", 1),
    ("PORT", "65535", "port", 65535),
    ("METRICS_HOST", "::1", "metrics_host", "::1"),
    ("METRICS_PORT", "9464", "metrics_port", 9464),
    ("METRICS_PROJECTS", "0", "metrics_projects", 0),
    ("OBSERVATORY_ENV", "development", "environment", "development"),
    ("OBSERVATORY_ENV", "test", "environment", "test"),
    ("DB_PATH", "/var/lib/x.db", "db_path", Path("/var/lib/x.db")),
    ("DB_PATH", "~/x.db", "db_path", Path(HOME) / "x.db"),
    ("DB_WAL_CHECKPOINT_INTERVAL", "100", "db_wal_checkpoint_interval_ms", 100),
    ("DB_SYNCHRONOUS", "FULL", "db_synchronous", "FULL"),
    ("JWT_SECRET", "s" * 32, "jwt_secret", "s" * 32),
    ("JWT_SECRET", "é" * 16, "jwt_secret", "é" * 16),
    ("JWT_SECRET_PREVIOUS", "p" * 32, "jwt_secret_previous", "p" * 32),
    ("JWT_EXPIRY", "45s", "jwt_expiry_seconds", 45),
    ("JWT_EXPIRY", "30m", "jwt_expiry_seconds", 1800),
    ("JWT_EXPIRY", "7d", "jwt_expiry_seconds", 7 * 86400),
    ("CORS_ORIGINS", "", "cors_origins", ()),
    ("CORS_ORIGINS", "https://a.example", "cors_origins", ("https://a.example",)),
    ("COOKIE_ORIGINS", "https://a.example", "cookie_origins", ("https://a.example",)),
    ("CORS_ORIGINS", "http://a:1, http://b:2", "cors_origins", ("http://a:1", "http://b:2")),
    ("CORS_ORIGINS", "http://[::1]:80", "cors_origins", ("http://[::1]:80",)),
    ("RATE_LIMIT_WINDOW_MS", "1000", "rate_limit_window_ms", 1000),
    ("RATE_LIMIT_MAX_REQUESTS", "0", "rate_limit_max_requests", 0),
    ("RATE_LIMIT_LOOPBACK", "true", "rate_limit_loopback", True),
    ("TRUSTED_PROXIES", "", "trusted_proxies", ()),
    ("TRUSTED_PROXIES", "127.0.0.1, 10.0.0.0/8", "trusted_proxies", ("127.0.0.1", "10.0.0.0/8")),
    ("TRUSTED_PROXIES", "::1,fd00::/8", "trusted_proxies", ("::1", "fd00::/8")),
    ("REQUEST_TIMEOUT_MS", "3600000", "request_timeout_ms", 3_600_000),
    ("MAX_REQUEST_SIZE_MB", "4096", "max_request_size_mb", 4096),
    ("LOG_LEVEL", "warn", "log_level", "warn"),
    ("LOG_FORMAT", "pretty", "log_format", "pretty"),
    ("TRANSCRIPTS_DIR", "/a", "transcripts_dirs", (Path("/a"),)),
    ("TRANSCRIPTS_DIR", "/a, ~/b,", "transcripts_dirs", (Path("/a"), Path(HOME) / "b")),
    ("CLAUDE_CONFIG_DIR", "/c", "transcripts_dirs", (Path("/c/projects"),)),
    (
        "CLAUDE_CONFIG_DIR",
        "/c , ~/d",
        "transcripts_dirs",
        (Path("/c/projects"), Path(HOME) / "d" / "projects"),
    ),
    ("CLAUDE_CONFIG_DIR", "", "transcripts_dirs", (PROJECTS,)),
    ("WEB_WORKERS", "64", "web_workers", 64),
    ("WEB_THREADS", "1000", "web_threads", 1000),
    ("MAX_STREAMS", "100000", "max_streams", 100_000),
    ("INGEST_ON_START", "false", "ingest_on_start", False),
    ("INGEST_ON_START", "true", "ingest_on_start", True),
    ("WATCH_MODE", "events", "watch_mode", "events"),
    ("WATCH_MODE", "polling", "watch_mode", "polling"),
    ("REDACT_SECRETS", "flag", "redact_secrets", "flag"),
    ("REDACT_SECRETS", "off", "redact_secrets", "off"),
    ("WEBHOOK_ALLOWED_NETWORKS", "", "webhook_allowed_networks", ()),
    (
        "WEBHOOK_ALLOWED_NETWORKS",
        "::1, 10.0.0.0/8",
        "webhook_allowed_networks",
        ("::1", "10.0.0.0/8"),
    ),
]

# A wrong value, and a part of what is said about it.
BAD = [
    ("HOST", "example.com", "an address"),
    ("HOST", "localhost.example.com", "an address"),
    ("HOST", "127.0.0.1.example.com", "an address"),
    ("HOST", "127.0.0.1:3001", "an address"),
    ("HOST", "", "an address"),
    ("ALLOWED_HOSTS", "*", "no *"),
    ("ALLOWED_HOSTS", "*.example.com", "no *"),
    ("ALLOWED_HOSTS", "https://a.example", "names such as"),
    ("ALLOWED_HOSTS", "a.example:3001", "names such as"),
    ("ALLOWED_HOSTS", "a b", "names such as"),
    ("REGISTRATION", "yes", "closed, open"),
    ("PORT", "0", "1 to 65535"),
    ("PORT", "65536", "1 to 65535"),
    ("PORT", "http", "1 to 65535"),
    ("PORT", "", "1 to 65535"),
    ("PORT", "80.5", "1 to 65535"),
    ("OBSERVATORY_ENV", "prod", "development, test, production"),
    ("DB_PATH", "", "a path"),
    ("DB_PATH", "~nobody-here/x.db", "~nobody-here"),
    ("DB_WAL_CHECKPOINT_INTERVAL", "99", "milliseconds"),
    ("DB_WAL_CHECKPOINT_INTERVAL", "30s", "milliseconds"),
    ("DB_SYNCHRONOUS", "normal", "OFF, NORMAL, FULL, EXTRA"),
    ("JWT_SECRET", "", "32 bytes"),
    ("JWT_SECRET", "s" * 31, "32 bytes"),
    ("JWT_SECRET", "\udce9" * 40, "UTF-8"),
    ("JWT_SECRET_PREVIOUS", "", "32 bytes"),
    ("JWT_SECRET_PREVIOUS", "p" * 31, "32 bytes"),
    ("JWT_EXPIRY", "24", "7d"),
    ("JWT_EXPIRY", "0h", "7d"),
    ("JWT_EXPIRY", "-1h", "7d"),
    ("JWT_EXPIRY", "1.5h", "7d"),
    ("JWT_EXPIRY", "9999999h", "7d"),
    ("CORS_ORIGINS", "*", "no *"),
    ("CORS_ORIGINS", "http://a,*", "no *"),
    ("CORS_ORIGINS", "http://a/", "http://localhost:3000"),
    ("CORS_ORIGINS", "http://a/path", "http://localhost:3000"),
    ("CORS_ORIGINS", "localhost:3000", "http://localhost:3000"),
    ("CORS_ORIGINS", "null", "http://localhost:3000"),
    ("RATE_LIMIT_WINDOW_MS", "999", "1000 to 86400000"),
    ("RATE_LIMIT_MAX_REQUESTS", "-1", "0 to 100000000"),
    ("METRICS_HOST", "example.org", "address"),
    ("METRICS_PORT", "3001", "not that of PORT"),
    ("METRICS_PORT", "65536", "0 to 65535"),
    ("METRICS_PROJECTS", "1001", "0 to 1000"),
    ("RATE_LIMIT_LOOPBACK", "maybe", "true or false"),
    ("TRUSTED_PROXIES", "proxy.example", "addresses or networks"),
    ("TRUSTED_PROXIES", "10.0.0.1/8", "addresses or networks"),
    ("TRUSTED_PROXIES", "*", "addresses or networks"),
    ("REQUEST_TIMEOUT_MS", "30", "1000 to 3600000"),
    ("MAX_REQUEST_SIZE_MB", "0", "1 to 4096"),
    ("LOG_LEVEL", "INFO", "debug, info, warn, error"),
    ("LOG_FORMAT", "text", "json, pretty"),
    ("TRANSCRIPTS_DIR", "", "one folder or several"),
    ("TRANSCRIPTS_DIR", " , ", "one folder or several"),
    ("TRANSCRIPTS_DIR", "/a,~nobody-here", "~nobody-here"),
    ("CLAUDE_CONFIG_DIR", "~nobody-here", "~nobody-here"),
    ("WEB_WORKERS", "0", "1 to 64"),
    ("WEB_WORKERS", "auto", "1 to 64"),
    ("WEB_THREADS", "1001", "1 to 1000"),
    ("MAX_STREAMS", "0", "1 to 100000"),
    ("INGEST_ON_START", "maybe", "true or false"),
    ("WATCH_MODE", "often", "one of auto, events, polling"),
    ("REDACT_SECRETS", "on", "mask, flag, off"),
]


def test_everything_has_a_default(read):
    settings = read()
    assert {name: getattr(settings, name) for name in DEFAULTS} == DEFAULTS
    assert set(DEFAULTS) == set(Settings.__dataclass_fields__)


@pytest.mark.parametrize(("name", "text", "field", "value"), GOOD)
def test_a_variable_sets_its_field_and_no_other(read, name, text, field, value):
    settings = read(**{name: text})
    assert getattr(settings, field) == value
    assert {f: getattr(settings, f) for f in DEFAULTS if f != field} == {
        f: default for f, default in DEFAULTS.items() if f != field
    }


@pytest.mark.parametrize(("name", "text", "said"), BAD)
def test_a_wrong_value_is_refused_with_what_it_takes(read, name, text, said):
    problems = problems_of(read, **{name: text})
    assert list(problems) == [name]
    assert problems[name].startswith("takes ")
    assert said in problems[name]


def test_all_problems_are_told_at_once(read):
    wrong = {name: text for name, text, _ in BAD}
    with pytest.raises(SettingsError) as caught:
        read(**wrong)
    assert set(caught.value.problems) == set(wrong)
    lines = str(caught.value).splitlines()
    assert lines[0] == "These settings are wrong:"
    assert [line.split(":")[0].strip() for line in lines[1:]] == sorted(wrong)


def test_a_secret_is_not_repeated_when_it_is_refused(read):
    assert "hunter2" not in str(problems_of(read, JWT_SECRET="hunter2"))


def test_settings_can_not_be_changed(read):
    with pytest.raises(AttributeError):
        read().port = 1


# .env


def test_env_file_sets_what_the_environment_does_not(read, tmp_path):
    env_file = tmp_path / ".env"
    env_file.write_text("# comment\nPORT=4000\nLOG_LEVEL='debug'\nexport WEB_WORKERS=3\n")
    settings = read(env_file=env_file, PORT="5000")
    assert (settings.port, settings.log_level, settings.web_workers) == (5000, "debug", 3)


def test_env_file_names_claudes_folder_too(read, tmp_path):
    (tmp_path / ".env").write_text("CLAUDE_CONFIG_DIR=/c\n")
    assert read(env_file=tmp_path / ".env").transcripts_dirs == (Path("/c/projects"),)


def test_without_an_env_file_the_defaults_hold(read, tmp_path):
    assert read(env_file=tmp_path / ".env").port == 3001


def test_a_wrong_value_in_an_env_file_is_refused(read, tmp_path):
    (tmp_path / ".env").write_text("PORT=none\n")
    assert list(problems_of(read, env_file=tmp_path / ".env")) == ["PORT"]


def test_an_env_file_that_is_no_text_is_refused(read, tmp_path):
    (tmp_path / ".env").write_bytes(b"PORT=\xff\xfe\n")
    assert "UTF-8" in str(problems_of(read, env_file=tmp_path / ".env"))


def test_env_files_of_parent_folders_are_left_alone(read, tmp_path, monkeypatch):
    (tmp_path / ".env").write_text("PORT=4000\n")
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    assert read(env_file=Path(".env")).port == 3001


def test_named_transcripts_win_over_claudes_folder(read):
    settings = read(TRANSCRIPTS_DIR="/t", CLAUDE_CONFIG_DIR="/c")
    assert settings.transcripts_dirs == (Path("/t"),)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.255.255.254", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("2130706433", False),
        ("127.1", False),
        ("::ffff:8.8.8.8", False),
    ],
)
def test_loopback_addresses_are_known(host, expected):
    assert is_loopback(host) is expected


# The secret


@pytest.fixture
def settings(read, tmp_path) -> Settings:
    return replace(read(), db_path=tmp_path / "data" / "observatory.db")


def test_a_secret_that_is_set_is_used(settings):
    assert read_secret(replace(settings, jwt_secret="s" * 40)) == "s" * 40
    assert not settings.db_path.parent.exists()


FILES = pytest.mark.parametrize(
    ("read_one", "name", "told"),
    [(read_secret, "jwt_secret", "JWT_SECRET"), (read_redaction_key, "redaction_key", None)],
)


@FILES
def test_a_secret_is_made_once_for_its_owner_only(read_one, name, told, settings):
    secret = read_one(settings)
    path = settings.db_path.parent / name
    assert len(secret) >= 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_one(settings) == secret == path.read_text()
    assert os.listdir(path.parent) == [name]


@FILES
def test_a_short_secret_in_the_file_is_refused(read_one, name, told, settings):
    settings.db_path.parent.mkdir()
    (settings.db_path.parent / name).write_text("short\n")
    with pytest.raises(SettingsError, match=told or name):
        read_one(settings)


def test_the_key_of_marks_is_not_the_secret_of_tokens(settings):
    signing = replace(settings, jwt_secret="s" * 40)
    assert read_redaction_key(signing) == read_redaction_key(settings) != read_secret(settings)


def test_processes_that_start_at_once_agree_on_the_secret(settings):
    program = (
        "import sys; from observatory.settings import *; sys.stdin.readline();"
        "print(read_secret(read_settings(env_file=None)))"
    )
    environment = {"DB_PATH": str(settings.db_path), "HOME": HOME}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", program],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for process in started:
        process.stdin.write("go\n")
        process.stdin.flush()
    told = {process.communicate(timeout=60)[0] for process in started}
    assert [process.returncode for process in started] == [0] * 4
    assert told == {read_secret(settings) + "\n"}
    assert os.listdir(settings.db_path.parent) == ["jwt_secret"]
