"""Secrets: where some were found, and never which."""

from __future__ import annotations

import falcon
from marshmallow import validate

from observatory.api import schemas
from observatory.api.answers import answer_page
from observatory.api.auth import scope_of
from observatory.api.columns import FieldNames
from observatory.api.params import CursorParams, Text, read_params
from observatory.redaction.patterns import KINDS
from observatory.store.secrets import list_findings


class SecretParams(CursorParams):
    """Which findings, and which page of them."""

    kind = Text(load_default=None, validate=validate.OneOf(KINDS))
    conversation_id = Text(load_default=None, validate=validate.Length(1, 300))
    columns = FieldNames(schemas.SecretFinding)


class Secrets:
    """``/api/secrets``: where secrets were found, the latest first."""

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer with a page of findings."""
        page = list_findings(**read_params(req, SecretParams), scope=scope_of(req))
        answer_page(req, resp, "secrets", page)
