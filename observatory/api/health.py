"""Whether the server lives, and whether it can do its work."""

from __future__ import annotations

import falcon

from observatory import __version__
from observatory.api.answers import answer, answer_error
from observatory.api.params import NoParams, read_params
from observatory.errors import DatabaseReplaced, LockHeld, SchemaError
from observatory.store.database import DatabaseError, check_files, connect
from observatory.store.schema import check_current


class Health:
    """``/health``: alive; touches nothing."""

    needs_database = False

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer at once."""
        read_params(req, NoParams)
        answer(req, resp, {"status": "ok", "version": __version__})


class Readiness:
    """``/health/ready``: the database answers and its schema is the one of this code."""

    needs_database = False

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer 200 when requests can be served, else 503 with the reason."""
        read_params(req, NoParams)
        try:
            connect()
            check_files()
            check_current()
        except (SchemaError, DatabaseReplaced, LockHeld, DatabaseError) as error:
            resp.set_header("Retry-After", "5")
            is_told = isinstance(error, (SchemaError, DatabaseReplaced))
            message = str(error) if is_told else "The database is not there."
            answer_error(req, resp, status=falcon.HTTP_503, code="NOT_READY", message=message)
            return
        answer(req, resp, {"status": "ready", "version": __version__})
