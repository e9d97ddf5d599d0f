"""``/api/tags``."""

from __future__ import annotations

import falcon

from observatory.api.answers import answer
from observatory.api.auth import scope_of
from observatory.api.params import NoParams, read_params
from observatory.store.tags import list_tags

MAX_TAGS_SHOWN = 500


class Tags:
    """``/api/tags``: what conversations are filed under, to choose from."""

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer with the tags that are used most."""
        read_params(req, NoParams)
        answer(req, resp, {"tags": list_tags(limit=MAX_TAGS_SHOWN, scope=scope_of(req))})
