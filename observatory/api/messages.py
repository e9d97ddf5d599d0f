"""Single messages."""

from __future__ import annotations

import falcon

from observatory.api import schemas
from observatory.api.answers import answer
from observatory.api.auth import scope_of
from observatory.api.columns import FieldNames
from observatory.api.params import NoParams, read_params
from observatory.store.messages import get_message


class OneMessageParams(NoParams):
    """Which fields of one message."""

    columns = FieldNames(schemas.Message)


class Message:
    """``/api/messages/{id}``: one message with its content blocks and tool calls."""

    def on_get(self, req: falcon.Request, resp: falcon.Response, message_id: str) -> None:
        """Answer with the message."""
        read_params(req, OneMessageParams)
        answer(req, resp, get_message(message_id, scope=scope_of(req)))
