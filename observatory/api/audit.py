"""``/api/admin/audit``: what was done by whom."""

from __future__ import annotations

import falcon

from observatory.api.account_schemas import AuditParams
from observatory.api.answers import answer_page
from observatory.api.params import read_params
from observatory.store.audit import AuditFilter, list_entries


class AuditLog:
    """``/api/admin/audit``: the latest first."""

    is_cached = False

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer with a page of the log."""
        params = dict(read_params(req, AuditParams))
        place = {name: params.pop(name) for name in ("limit", "offset", "cursor")}
        answer_page(req, resp, "entries", list_entries(AuditFilter(**params), **place))
