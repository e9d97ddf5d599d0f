"""The application for a WSGI server: ``gunicorn observatory.wsgi:application``."""

from __future__ import annotations

from observatory.accounts.signing_in import Accounts
from observatory.accounts.tokens import Signer
from observatory.api.clients import Hosts
from observatory.app import Application, create_app
from observatory.errors import ObservatoryError, SchemaError
from observatory.ingest.uploads import remove_leftovers
from observatory.log import configure_logging
from observatory.loopback import is_loopback
from observatory.metrics import is_multiprocess
from observatory.opening import build_missing_rollups
from observatory.rate_limits import Limits
from observatory.redaction.masking import configure as configure_redaction
from observatory.settings import (
    list_shown,
    read_previous_secret,
    read_redaction_key,
    read_secret,
    read_settings,
)
from observatory.store.database import SERVING_LOCK, DatabaseError, close, configure, connect
from observatory.store.locks import keep_together
from observatory.store.schema import check_current


def build() -> Application:
    """Return the application for the settings of this process.

    No connection is left open: a worker that is forked later must not share one.

    Raises:
        SystemExit: The settings are wrong or the schema is not the one of this code.
    """
    try:
        settings = read_settings()
        configure_logging(level=settings.log_level, log_format=settings.log_format)
        if not settings.db_path.exists():
            raise SchemaError(f"There is no {settings.db_path}. Run `observatory migrate`.")
        secret = read_secret(settings)
        configure_redaction(settings.redact_secrets, read_redaction_key(settings))
        remove_leftovers(settings.db_path)
        keep_together(settings.db_path, SERVING_LOCK)
        configure(settings.db_path, synchronous=settings.db_synchronous)
        connect()
        try:
            check_current()
            build_missing_rollups(settings)
        finally:
            close()
    except ObservatoryError as error:
        raise SystemExit(str(error)) from error
    except (DatabaseError, OSError) as error:
        raise SystemExit(f"The database can not be used: {error}") from error
    limits = Limits()
    signer = Signer(
        secret,
        previous=read_previous_secret(settings),
        max_seconds=settings.jwt_expiry_seconds,
    )
    return create_app(
        accounts=Accounts(
            signer,
            limits=limits,
            session_seconds=settings.jwt_expiry_seconds,
            is_open=settings.registration == "open",
        ),
        hosts=Hosts(
            settings.allowed_hosts,
            takes_addresses=not (is_loopback(settings.host) and is_loopback(settings.metrics_host)),
        ),
        cors_origins=settings.cors_origins,
        cookie_origins=settings.cookie_origins,
        folders=tuple(str(folder) for folder in settings.transcripts_dirs),
        max_request_bytes=settings.max_request_size_mb * 1024 * 1024,
        request_timeout_ms=settings.request_timeout_ms,
        is_multiprocess=is_multiprocess(),
        metrics_port=settings.metrics_port,
        metrics_projects=settings.metrics_projects,
        trusted_proxies=settings.trusted_proxies,
        limits=limits,
        max_requests=settings.rate_limit_max_requests,
        rate_window_ms=settings.rate_limit_window_ms,
        limits_loopback=settings.rate_limit_loopback,
        max_streams=settings.max_streams,
        webhook_networks=settings.webhook_allowed_networks,
        retention_days=settings.retention_days,
        shown_settings=list_shown(settings),
    )


application = build()
