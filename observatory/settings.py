"""Settings, from the environment and a ``.env`` file, validated once at the start.

Every problem is reported at once, with the variable's name and what it takes. Each variable has a
row in docs/configuration.md; a test keeps that complete.
"""

from __future__ import annotations

import ipaddress
import os
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dotenv.parser import parse_stream
from environs import Env, EnvValidationError, ValidationError

from observatory.errors import SettingsError

MIN_SECRET_BYTES = 32
_DURATION = re.compile(r"([1-9][0-9]{0,5})([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_WEB_ORIGIN = re.compile(
    r"https?://(?:[a-z0-9.\-]+|\[[0-9a-f:.]+\])(?::(?P<port>\d{1,5}))?", re.IGNORECASE
)
_HOST_NAME = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_\-]{0,61}[a-z0-9_])?\.?)+|\[[0-9a-f:.]+\]", re.I)


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be set; see docs/configuration.md."""

    host: str
    port: int
    metrics_host: str
    metrics_port: int
    metrics_projects: int
    environment: str
    db_path: Path
    db_wal_checkpoint_interval_ms: int
    db_synchronous: str
    allowed_hosts: tuple[str, ...]
    registration: str
    jwt_secret: str | None
    jwt_secret_previous: str | None
    jwt_expiry_seconds: int
    cors_origins: tuple[str, ...]
    cookie_origins: tuple[str, ...]
    rate_limit_window_ms: int
    rate_limit_max_requests: int
    rate_limit_loopback: bool
    trusted_proxies: tuple[str, ...]
    request_timeout_ms: int
    max_request_size_mb: int
    log_level: str
    log_format: str
    transcripts_dirs: tuple[Path, ...]
    web_workers: int
    web_threads: int
    max_streams: int
    ingest_on_start: bool
    watch_mode: str
    redact_secrets: str
    webhook_allowed_networks: tuple[str, ...]
    retention_days: int
    trash_days: int
    audit_log_days: int


def _in_range(low: int, high: int) -> Callable[[Any], None]:
    def check(value: Any) -> None:
        if not low <= value <= high:
            raise ValidationError(f"a whole number from {low} to {high}")

    return check


def _other_than(taken: int) -> Callable[[Any], None]:
    def check(value: Any) -> None:
        if value == taken:
            raise ValidationError(f"another number than {taken}")

    return check


def _one_of(*choices: str) -> Callable[[Any], None]:
    def check(value: Any) -> None:
        if value not in choices:
            raise ValidationError(f"one of {', '.join(choices)}")

    return check


def _address(host: str) -> None:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        if host != "localhost":
            raise ValidationError("an address such as 127.0.0.1, or localhost") from None


def _names(hosts: list[str]) -> None:
    if not all(_HOST_NAME.fullmatch(host) for host in _listed(hosts)):
        raise ValidationError("names such as observatory.example.org, separated by commas; no *")


def _long_enough(secret: str | None) -> None:
    if secret is None:
        return
    # What is not UTF-8 comes from the environment as surrogates.
    encoded = secret.encode(errors="ignore")
    if len(encoded) < MIN_SECRET_BYTES or encoded.decode() != secret:
        raise ValidationError(f"at least {MIN_SECRET_BYTES} bytes of UTF-8 text")


def _duration(text: str) -> None:
    if not _DURATION.fullmatch(text):
        raise ValidationError("a number and a unit, such as 30m, 24h or 7d")


def _origins(origins: list[str]) -> None:
    found = [_WEB_ORIGIN.fullmatch(origin) for origin in _listed(origins)]
    if not all(match and int(match["port"] or 80) < 2**16 for match in found):
        raise ValidationError("origins such as http://localhost:3000, separated by commas; no *")


def _networks(networks: list[str]) -> None:
    try:
        for network in _listed(networks):
            ipaddress.ip_network(network)
    except ValueError:
        raise ValidationError(
            "addresses or networks such as 127.0.0.1 or 10.0.0.0/8, separated by commas"
        ) from None


def _folders(folders: list[str]) -> None:
    if not _listed(folders):
        raise ValidationError("one folder or several, separated by commas")
    _homes(folders)


def _homes(folders: list[str]) -> None:
    for folder in _listed(folders):
        _path(folder)


def _path(path: str) -> None:
    try:
        Path(path).expanduser()
    except RuntimeError:
        raise ValidationError(f"a path; there is no home folder {path.split('/')[0]}") from None
    if not path.strip():
        raise ValidationError("a path")


def _listed(values: list[str]) -> list[str]:
    """Return the values of a comma-separated list, without the blanks around and between them."""
    return [value.strip() for value in values if value.strip()]


_TAKES = {
    "PORT": "a whole number from 1 to 65535",
    "METRICS_PORT": "a whole number from 0 to 65535, and not that of PORT",
    "METRICS_PROJECTS": "a whole number from 0 to 1000",
    "DB_WAL_CHECKPOINT_INTERVAL": "milliseconds, a whole number from 100 to 86400000",
    "RATE_LIMIT_WINDOW_MS": "milliseconds, a whole number from 1000 to 86400000",
    "RATE_LIMIT_MAX_REQUESTS": "a whole number from 0 to 100000000",
    "RATE_LIMIT_LOOPBACK": "true or false",
    "REQUEST_TIMEOUT_MS": "milliseconds, a whole number from 1000 to 3600000",
    "MAX_REQUEST_SIZE_MB": "a whole number from 1 to 4096",
    "WEB_WORKERS": "a whole number from 1 to 64",
    "WEB_THREADS": "a whole number from 1 to 1000",
    "MAX_STREAMS": "a whole number from 1 to 100000",
    "INGEST_ON_START": "true or false",
    "RETENTION_DAYS": "a whole number of days from 0 (for ever) to 36500",
    "TRASH_DAYS": "a whole number of days from 0 (for ever) to 36500",
    "AUDIT_LOG_DAYS": "a whole number of days from 0 (for ever) to 36500",
}


def read_settings(*, env_file: Path | None = Path(".env")) -> Settings:
    """Return the settings of this process.

    Args:
        env_file: A file of ``NAME=value`` lines for what the environment does not set.

    Raises:
        SettingsError: Some are wrong; it lists them all.
    """
    env = Env(eager=False)
    if env_file is not None and env_file.is_file():
        try:
            _check_lines(env_file)
            env.read_env(str(env_file), recurse=False)
        except UnicodeDecodeError:
            raise SettingsError({str(env_file): "takes lines of UTF-8 text"}) from None
    host = env.str("HOST", "127.0.0.1", validate=_address)
    hosts: list[str] = env.list("ALLOWED_HOSTS", [], validate=_names)
    registration = env.str("REGISTRATION", "closed", validate=_one_of("closed", "open"))
    port = env.int("PORT", 3001, validate=_in_range(1, 65535))
    metrics_host = env.str("METRICS_HOST", "127.0.0.1", validate=_address)
    metrics_port = env.int("METRICS_PORT", 0, validate=[_in_range(0, 65535), _other_than(port)])
    metrics_projects = env.int("METRICS_PROJECTS", 20, validate=_in_range(0, 1000))
    environment = env.str(
        "OBSERVATORY_ENV", "production", validate=_one_of("development", "test", "production")
    )
    db_path = env.str("DB_PATH", "./data/observatory.db", validate=_path)
    interval = env.int("DB_WAL_CHECKPOINT_INTERVAL", 30000, validate=_in_range(100, 86_400_000))
    synchronous = env.str(
        "DB_SYNCHRONOUS", "NORMAL", validate=_one_of("OFF", "NORMAL", "FULL", "EXTRA")
    )
    secret = env.str("JWT_SECRET", None, validate=_long_enough)
    previous = env.str("JWT_SECRET_PREVIOUS", None, validate=_long_enough)
    expiry = env.str("JWT_EXPIRY", "24h", validate=_duration)
    origins = env.list("CORS_ORIGINS", ["http://localhost:3000"], validate=_origins)
    cookie_origins: list[str] = env.list("COOKIE_ORIGINS", [], validate=_origins)
    window = env.int("RATE_LIMIT_WINDOW_MS", 900_000, validate=_in_range(1000, 86_400_000))
    max_requests = env.int("RATE_LIMIT_MAX_REQUESTS", 1000, validate=_in_range(0, 100_000_000))
    limits_loopback = env.bool("RATE_LIMIT_LOOPBACK", False)
    proxies: list[str] = env.list("TRUSTED_PROXIES", [], validate=_networks)
    timeout = env.int("REQUEST_TIMEOUT_MS", 30_000, validate=_in_range(1000, 3_600_000))
    max_size = env.int("MAX_REQUEST_SIZE_MB", 10, validate=_in_range(1, 4096))
    log_level = env.str("LOG_LEVEL", "info", validate=_one_of("debug", "info", "warn", "error"))
    log_format = env.str("LOG_FORMAT", "json", validate=_one_of("json", "pretty"))
    homes = env.list("CLAUDE_CONFIG_DIR", ["~/.claude"], validate=_homes)
    folders = env.list("TRANSCRIPTS_DIR", None, validate=_folders)
    workers = env.int("WEB_WORKERS", 2, validate=_in_range(1, 64))
    threads = env.int("WEB_THREADS", 4, validate=_in_range(1, 1000))
    max_streams = env.int("MAX_STREAMS", 1000, validate=_in_range(1, 100_000))
    ingest_on_start = env.bool("INGEST_ON_START", True)
    watch_mode = env.str("WATCH_MODE", "auto", validate=_one_of("auto", "events", "polling"))
    redact = env.str("REDACT_SECRETS", "mask", validate=_one_of("mask", "flag", "off"))
    webhook_networks: list[str] = env.list("WEBHOOK_ALLOWED_NETWORKS", [], validate=_networks)
    retention_days = env.int("RETENTION_DAYS", 0, validate=_in_range(0, 36_500))
    trash_days = env.int("TRASH_DAYS", 0, validate=_in_range(0, 36_500))
    audit_log_days = env.int("AUDIT_LOG_DAYS", 0, validate=_in_range(0, 36_500))
    try:
        env.seal()
    except EnvValidationError as error:
        raise SettingsError(_problems(error.error_messages)) from None
    number, unit = _DURATION.fullmatch(expiry).groups()  # type: ignore[union-attr]
    return Settings(
        host=host,
        port=port,
        metrics_host=metrics_host,
        metrics_port=metrics_port,
        metrics_projects=metrics_projects,
        environment=environment,
        db_path=Path(db_path).expanduser(),
        db_wal_checkpoint_interval_ms=interval,
        db_synchronous=synchronous,
        allowed_hosts=tuple(_listed(hosts)),
        registration=registration,
        jwt_secret=secret,
        jwt_secret_previous=previous,
        jwt_expiry_seconds=int(number) * _SECONDS[unit],
        cors_origins=tuple(_listed(origins)),
        cookie_origins=tuple(_listed(cookie_origins)),
        rate_limit_window_ms=window,
        rate_limit_max_requests=max_requests,
        rate_limit_loopback=limits_loopback,
        trusted_proxies=tuple(_listed(proxies)),
        request_timeout_ms=timeout,
        max_request_size_mb=max_size,
        log_level=log_level,
        log_format=log_format,
        transcripts_dirs=_transcripts_dirs(folders, homes=homes),
        web_workers=workers,
        web_threads=threads,
        max_streams=max_streams,
        ingest_on_start=ingest_on_start,
        watch_mode=watch_mode,
        redact_secrets=redact,
        webhook_allowed_networks=tuple(_listed(webhook_networks)),
        retention_days=retention_days,
        trash_days=trash_days,
        audit_log_days=audit_log_days,
    )


def list_shown(settings: Settings) -> dict[str, Any]:
    """Return the settings that an admin may want to know of, by variable; none is a secret."""
    return {
        "DB_PATH": os.path.abspath(settings.db_path),
        "DB_SYNCHRONOUS": settings.db_synchronous,
        "DB_WAL_CHECKPOINT_INTERVAL": settings.db_wal_checkpoint_interval_ms,
        "TRANSCRIPTS_DIR": [os.path.abspath(folder) for folder in settings.transcripts_dirs],
        "INGEST_ON_START": settings.ingest_on_start,
        "WATCH_MODE": settings.watch_mode,
        "REDACT_SECRETS": settings.redact_secrets,
        "RETENTION_DAYS": settings.retention_days,
        "TRASH_DAYS": settings.trash_days,
        "AUDIT_LOG_DAYS": settings.audit_log_days,
        "REGISTRATION": settings.registration,
        "WEB_WORKERS": settings.web_workers,
        "WEB_THREADS": settings.web_threads,
        "MAX_STREAMS": settings.max_streams,
        "MAX_REQUEST_SIZE_MB": settings.max_request_size_mb,
        "REQUEST_TIMEOUT_MS": settings.request_timeout_ms,
        "RATE_LIMIT_MAX_REQUESTS": settings.rate_limit_max_requests,
        "RATE_LIMIT_WINDOW_MS": settings.rate_limit_window_ms,
    }


def read_usable_settings(
    *, env_file: Path | None = Path(".env")
) -> tuple[Settings, dict[str, str]]:
    """Return the settings with defaults in the place of wrong ones, and what is wrong by name."""
    try:
        return read_settings(env_file=env_file), {}
    except SettingsError as error:
        problems = error.problems
    # What a usable file sets is in the environment by now.
    for name in problems:
        os.environ.pop(name, None)
    return read_settings(env_file=None), problems


def claude_homes() -> tuple[Path, ...]:
    """Return the folders of Claude Code itself, where its own settings lie."""
    homes = os.environ.get("CLAUDE_CONFIG_DIR", "~/.claude").split(",")
    return tuple(Path(home).expanduser() for home in _listed(homes))


def read_zone_variable() -> str | None:
    """Return what TZ says of this machine's time zone, or ``None`` where it is not set."""
    return os.environ.get("TZ")


def _check_lines(env_file: Path) -> None:
    """Refuse a file with lines that are no settings, which would be passed over in silence."""
    with env_file.open(encoding="utf-8") as stream:
        lines = [
            # Blank lines before it belong to what could not be parsed.
            original.line + len(original.string) - len(original.string.lstrip("\n"))
            for original in (item.original for item in parse_stream(stream) if item.error)
        ]
    if lines:
        raise SettingsError({f"{env_file}, line {line}": "takes NAME=value" for line in lines})


def _transcripts_dirs(folders: list[str] | None, *, homes: list[str]) -> tuple[Path, ...]:
    """Return the folders that were named, or else ``projects`` below those of Claude Code."""
    if folders is not None:
        return tuple(Path(folder).expanduser() for folder in _listed(folders))
    return tuple(Path(home).expanduser() / "projects" for home in _listed(homes) or ["~/.claude"])


def _problems(messages: Any) -> dict[str, str]:
    """Return what each wrong variable takes."""
    problems = {}
    for name, found in messages.items():
        listed = found if isinstance(found, list) else [found]
        takes = _TAKES.get(name) or "; ".join(str(item) for item in listed)
        problems[name] = f"takes {takes}"
    return problems


def read_secret(settings: Settings) -> str:
    """Return the secret that signs tokens; one is made beside the database when none is set.

    Raises:
        SettingsError: The file is there and holds too short a secret.
    """
    if settings.jwt_secret is not None:
        return settings.jwt_secret
    return _read_or_make(_secret_path(settings), "JWT_SECRET")


def read_redaction_key(settings: Settings) -> str:
    """Return the secret that keys the marks of masked secrets, made once beside the database.

    It is not the one that signs tokens: that one is changed now and then, and these marks stay.

    Raises:
        SettingsError: The file is there and holds too short a secret.
    """
    return _read_or_make(settings.db_path.parent / "redaction_key", "redaction_key")


def _read_or_make(path: Path, name: str) -> str:
    """Return the secret in a file, which is made when it is missing.

    It has mode 0600 and is written whole or not at all, also when two processes try.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.write(descriptor, secrets.token_urlsafe(48).encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    secret = path.read_text().strip()
    if len(secret.encode()) < MIN_SECRET_BYTES:
        raise SettingsError({name: f"{path} takes at least {MIN_SECRET_BYTES} bytes"})
    return secret


def _secret_path(settings: Settings) -> Path:
    return settings.db_path.parent / "jwt_secret"


def _previous_path(settings: Settings) -> Path:
    return settings.db_path.parent / "jwt_secret.previous"


def read_previous_secret(settings: Settings) -> str | None:
    """Return the secret that signed tokens before this one, or ``None``."""
    if settings.jwt_secret is not None or settings.jwt_secret_previous is not None:
        return settings.jwt_secret_previous
    path = _previous_path(settings)
    return path.read_text().strip() if path.is_file() else None


# What lies beside the database and is not in it, yet needed to go on as before.
KEY_FILES = ("redaction_key", "jwt_secret", "jwt_secret.previous")


def key_files(settings: Settings) -> dict[str, Path]:
    """Return where the files of keys lie, by name; they need not be there."""
    return {name: settings.db_path.parent / name for name in KEY_FILES}


def rotate_secret(settings: Settings) -> None:
    """Make another secret beside the database; the server takes it at its next start.

    Raises:
        SettingsError: The secret is set in the environment.
    """
    if settings.jwt_secret is not None:
        problem = (
            "is set, so it is yours to change: set JWT_SECRET_PREVIOUS to what it is now,"
            " JWT_SECRET to another one, and start the server again"
        )
        raise SettingsError({"JWT_SECRET": problem})
    read_secret(settings)
    # Should this end in between, the next start makes the new one.
    _secret_path(settings).replace(_previous_path(settings))
    read_secret(settings)
