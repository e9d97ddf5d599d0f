"""The page: its HTML at the addresses of its views, and its files below ``/assets``."""

from __future__ import annotations

from urllib.parse import quote

import falcon

from observatory.api.auth import Authenticator
from observatory.api.clients import Clients
from observatory.api.compression import negotiate
from observatory.api.login_page import answer_stranger, find_identity
from observatory.api.openapi import is_current
from observatory.api.params import NoParams, read_params
from observatory.page.assets import compress_asset, read_assets
from observatory.page.shell import POLICY, make_shell

# Its address is another one when any file is: a browser need never ask again.
FOR_EVER = "public, max-age=31536000, immutable"


class Page:
    """One of the page's addresses; its scripts read the query.

    Args:
        view: What it shows first.
        auth: Finds out who asks.
        clients: Finds out where from.
    """

    # Without one it answers too, as to a stranger.
    needs_database = False
    # Browsers do not tell where a form is from when they may not tell it in Referer.
    referrer_policy = "same-origin"

    def __init__(self, view: str, *, auth: Authenticator, clients: Clients) -> None:
        self._view = view
        self._auth = auth
        self._clients = clients

    def on_get(self, req: falcon.Request, resp: falcon.Response, **kwargs: str) -> None:
        """Answer with the page; strangers are told how to come in, and come back here then."""
        identity = find_identity(req, self._auth, self._clients)
        if identity is None:
            if req.path == "/":
                answer_stranger(resp)
            else:
                address = quote(req.path) + (f"?{req.query_string}" if req.query_string else "")
                resp.status = falcon.HTTP_303
                resp.location = f"/login?next={quote(address, safe='')}"
            return
        req.context.identity = identity
        shell = make_shell(self._view)
        resp.set_header("Content-Security-Policy", POLICY)
        if not is_current(req, resp, shell.digest):
            resp.content_type = falcon.MEDIA_HTML
            resp.data = shell.body


class PageAsset:
    """``/assets/{digest}/...``: one of the page's files."""

    needs_database = False

    def on_get(self, req: falcon.Request, resp: falcon.Response, digest: str, path: str) -> None:
        """Answer with the file; one of another version is not there any more."""
        read_params(req, NoParams)
        assets = read_assets()
        asset = assets.by_path.get(path)
        if asset is None or digest != assets.digest:
            raise falcon.HTTPNotFound(
                description="The page has no such file, or not any more: reload the page."
            )
        req.context.cache_control = FOR_EVER
        if is_current(req, resp, asset.digest):
            return
        resp.content_type = asset.media_type
        coding = negotiate(req.env.get("HTTP_ACCEPT_ENCODING")).coding
        if coding is None:
            resp.data = asset.body
        else:
            resp.data = compress_asset(path, coding)
            resp.set_header("Content-Encoding", coding)
