"""Every failure to a status and a code, in one table."""

from __future__ import annotations

from errno import EDQUOT, ENOSPC, EROFS
from typing import Any, NamedTuple

import falcon
from marshmallow import ValidationError

from observatory.api.answers import answer_error
from observatory.api.exchange import begin_exchange
from observatory.errors import (
    Conflict,
    DatabaseReplaced,
    FileOutside,
    Forbidden,
    InvalidParameter,
    LockHeld,
    NotFound,
    PreconditionFailed,
    TimeLimitReached,
    TooLarge,
    TooManyAttempts,
    TooManyStreams,
    Unauthorized,
)
from observatory.log import log
from observatory.metrics import AUTH_FAILURES, RATE_LIMITED
from observatory.store.database import (
    DatabaseError,
    check_files,
    find_cure,
    is_busy,
    is_full,
    is_interrupted,
)

# How long whoever has to mend something is given before it is tried again.
MENDING_SECONDS = 60


class Failure(NamedTuple):
    """How a status is named in the envelope."""

    code: str
    message: str


BY_STATUS = {
    400: Failure("VALIDATION_ERROR", "The request can not be read."),
    401: Failure("UNAUTHORIZED", "Sign in first."),
    403: Failure("FORBIDDEN", "This is not allowed."),
    404: Failure("NOT_FOUND", "There is nothing at this address; / lists what there is."),
    405: Failure("METHOD_NOT_ALLOWED", "This address takes other methods; see the Allow header."),
    409: Failure("CONFLICT", "The request contradicts what is stored."),
    413: Failure("PAYLOAD_TOO_LARGE", "The body is larger than this address takes."),
    415: Failure("UNSUPPORTED_MEDIA_TYPE", "The body's Content-Type is not one this takes."),
    426: Failure("UPGRADE_REQUIRED", "This address is for WebSockets of version 13."),
    501: Failure("NOT_IMPLEMENTED", "This server has no WebSockets; use /api/events/stream."),
    429: Failure("RATE_LIMITED", "Too many requests; see the Retry-After header."),
    503: Failure("NOT_READY", "The server is not ready; try again."),
    507: Failure("DISK_FULL", "The disk is full. Make room on it, and try again."),
}

BUSY = Failure("DATABASE_BUSY", "The database is busy; try again in a second.")


def on_http_error(
    req: falcon.Request, resp: falcon.Response, error: falcon.HTTPError, params: dict[str, Any]
) -> None:
    """Answer an error that falcon raised."""
    if getattr(req.context, "started", None) is None:
        # Falcon refuses the methods that it keeps for itself before any middleware runs.
        begin_exchange(req)
    failure = BY_STATUS.get(error.status_code) or Failure("VALIDATION_ERROR", error.title or "")
    if error.headers:
        resp.set_headers(error.headers)
    answer_error(req, resp, status=str(error.status), code=failure.code, message=failure.message)


def on_validation_error(
    req: falcon.Request, resp: falcon.Response, error: ValidationError, params: dict[str, Any]
) -> None:
    """Answer parameters or a body that a schema refused, naming each field."""
    fields = error.normalized_messages()
    answer_error(
        req,
        resp,
        status=falcon.HTTP_400,
        code="VALIDATION_ERROR",
        message=f"These fields are wrong: {', '.join(sorted(map(str, fields)))}.",
        fields=fields,
    )


def on_invalid_parameter(
    req: falcon.Request, resp: falcon.Response, error: InvalidParameter, params: dict[str, Any]
) -> None:
    """Answer a value that can only be judged where it is used."""
    answer_error(
        req,
        resp,
        status=falcon.HTTP_400,
        code="VALIDATION_ERROR",
        message=f"These fields are wrong: {error.field}.",
        fields={error.field: [error.message]},
    )


def on_not_found(
    req: falcon.Request, resp: falcon.Response, error: NotFound, params: dict[str, Any]
) -> None:
    """Answer that a thing does not exist."""
    answer_error(req, resp, status=falcon.HTTP_404, code="NOT_FOUND", message=str(error))


def on_unauthorized(
    req: falcon.Request, resp: falcon.Response, error: Unauthorized, params: dict[str, Any]
) -> None:
    """Answer who did not sign in, or not well."""
    AUTH_FAILURES.labels(error.reason).inc()
    challenge = 'Bearer realm="observatory"'
    if error.is_expired:
        challenge += ', error="invalid_token", error_description="expired"'
    elif "HTTP_AUTHORIZATION" in req.env:
        challenge += ', error="invalid_token"'
    resp.set_header("WWW-Authenticate", challenge)
    answer_error(req, resp, status=falcon.HTTP_401, code="UNAUTHORIZED", message=str(error))


def on_forbidden(
    req: falcon.Request, resp: falcon.Response, error: Forbidden, params: dict[str, Any]
) -> None:
    """Answer who may not do this."""
    if error.reason is not None:
        AUTH_FAILURES.labels(error.reason).inc()
    answer_error(req, resp, status=falcon.HTTP_403, code="FORBIDDEN", message=str(error))


def on_too_many_attempts(
    req: falcon.Request, resp: falcon.Response, error: TooManyAttempts, params: dict[str, Any]
) -> None:
    """Answer who tried too many passwords, or whose account was tried too often."""
    RATE_LIMITED.labels("sign_in").inc()
    resp.set_header("Retry-After", str(error.retry_after))
    answer_error(req, resp, status=falcon.HTTP_429, code="RATE_LIMITED", message=str(error))


def on_too_many_streams(
    req: falcon.Request, resp: falcon.Response, error: TooManyStreams, params: dict[str, Any]
) -> None:
    """Answer who wants one stream more than there may be."""
    resp.set_header("Retry-After", "10")
    answer_error(req, resp, status=falcon.HTTP_503, code="TOO_MANY_STREAMS", message=str(error))


def on_file_outside(
    req: falcon.Request, resp: falcon.Response, error: FileOutside, params: dict[str, Any]
) -> None:
    """Answer a path that may not be read, without telling whether something is there."""
    answer_error(
        req,
        resp,
        status=falcon.HTTP_403,
        code="FORBIDDEN",
        message="This file may not be read.",
        fields={"file_path": [str(error)]},
    )


def on_too_large(
    req: falcon.Request, resp: falcon.Response, error: TooLarge, params: dict[str, Any]
) -> None:
    """Answer what is too large, maybe only once it is unpacked."""
    answer_error(req, resp, status=falcon.HTTP_413, code="PAYLOAD_TOO_LARGE", message=str(error))


def on_conflict(
    req: falcon.Request, resp: falcon.Response, error: Conflict, params: dict[str, Any]
) -> None:
    """Answer a request that contradicts what is stored."""
    answer_error(req, resp, status=falcon.HTTP_409, code="CONFLICT", message=str(error))


def on_precondition_failed(
    req: falcon.Request, resp: falcon.Response, error: PreconditionFailed, params: dict[str, Any]
) -> None:
    """Answer a change to something that is not any more what the client thinks."""
    answer_error(req, resp, status=falcon.HTTP_412, code="PRECONDITION_FAILED", message=str(error))


def on_time_limit(
    req: falcon.Request, resp: falcon.Response, error: TimeLimitReached, params: dict[str, Any]
) -> None:
    """Answer what took too long; nothing of it was kept."""
    resp.set_header("Retry-After", "10")
    answer_error(req, resp, status=falcon.HTTP_503, code="REQUEST_TIMEOUT", message=str(error))


def on_database_error(
    req: falcon.Request, resp: falcon.Response, error: DatabaseError, params: dict[str, Any]
) -> None:
    """Answer a full disk with 507, a locked database and the like with 503; else it is a bug."""
    if is_busy(error):
        resp.set_header("Retry-After", "1")
        answer_error(
            req,
            resp,
            status=falcon.HTTP_503,
            code=BUSY.code,
            message=BUSY.message,
        )
        return
    if is_interrupted(error):
        on_time_limit(req, resp, TimeLimitReached(), params)
        return
    try:
        # Of a file that is gone SQLite says other things.
        check_files()
    except DatabaseReplaced as replaced:
        _answer_storage_failure(req, resp, replaced, params)
        return
    _answer_storage_failure(req, resp, error, params)


def find_storage_failure(error: BaseException) -> tuple[int, str] | None:
    """Return status and message for what somebody has to mend here, or ``None`` for a bug."""
    if isinstance(error, OSError):
        if error.errno in (ENOSPC, EDQUOT):
            return 507, BY_STATUS[507].message
        if error.errno == EROFS:
            return 503, "The disk can only be read. Mount it so that it can be written."
    if isinstance(error, DatabaseReplaced):
        return 503, str(error)
    if isinstance(error, LockHeld):
        return 503, "Another process does what only one may do at a time; try again."
    if isinstance(error, DatabaseError):
        cure = find_cure(error)
        if cure is not None:
            is_507 = is_full(error)
            what = "The disk is full." if is_507 else "The database can not be used."
            return 507 if is_507 else 503, f"{what} {cure}"
    return None


def on_storage_failure(
    req: falcon.Request, resp: falcon.Response, error: Exception, params: dict[str, Any]
) -> None:
    """Answer a disk that is full or can only be read, and a database that is gone."""
    _answer_storage_failure(req, resp, error, params)


def _answer_storage_failure(
    req: falcon.Request, resp: falcon.Response, error: Exception, params: dict[str, Any]
) -> None:
    told = find_storage_failure(error)
    if told is None:
        on_exception(req, resp, error, params)
    else:
        _refuse(req, resp, error, status=told[0], message=told[1])


def _refuse(
    req: falcon.Request, resp: falcon.Response, error: Exception, *, status: int, message: str
) -> None:
    """Log what somebody has to mend here, and tell the client what that is."""
    request_id = getattr(req.context, "request_id", "")
    log.error("database_failed", request_id=request_id, route=req.uri_template, exc_info=error)
    resp.set_header("Retry-After", str(MENDING_SECONDS))
    code = BY_STATUS[status].code
    name = falcon.code_to_http_status(status)
    answer_error(req, resp, status=name, code=code, message=message)


def on_exception(
    req: falcon.Request, resp: falcon.Response, error: Exception, params: dict[str, Any]
) -> None:
    """Answer what nobody expected: log it, and tell the client only where to find it."""
    request_id = getattr(req.context, "request_id", "")
    log.error("request_failed", request_id=request_id, route=req.uri_template, exc_info=error)
    answer_error(
        req,
        resp,
        status=falcon.HTTP_500,
        code="INTERNAL_ERROR",
        message=f"Something went wrong here; the log tells what under request {request_id}.",
    )


HANDLERS: tuple[tuple[type[Exception], Any], ...] = (
    (Exception, on_exception),
    (falcon.HTTPError, on_http_error),
    (DatabaseError, on_database_error),
    (OSError, on_storage_failure),
    (DatabaseReplaced, on_storage_failure),
    (LockHeld, on_storage_failure),
    (ValidationError, on_validation_error),
    (InvalidParameter, on_invalid_parameter),
    (NotFound, on_not_found),
    (FileOutside, on_file_outside),
    (Unauthorized, on_unauthorized),
    (Forbidden, on_forbidden),
    (TooManyAttempts, on_too_many_attempts),
    (TooManyStreams, on_too_many_streams),
    (TooLarge, on_too_large),
    (TimeLimitReached, on_time_limit),
    (Conflict, on_conflict),
    (PreconditionFailed, on_precondition_failed),
)
