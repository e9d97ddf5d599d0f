"""``/``: one small page that says what is here."""

from __future__ import annotations

import html

import falcon

from observatory import __version__
from observatory.api.params import NoParams, read_params
from observatory.ingest.discover import text_path

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Claude Code Observatory</title><link rel="stylesheet" href="/index.css"></head><body><main>
<h1>Claude Code Observatory <small>{version}</small></h1>
<p>Keeps what coding agents did, and answers questions about it.</p>
<ul>{links}</ul>
<p>Transcripts are read from {folders}.</p>
</main></body></html>
"""
_STYLE = """
:root { color-scheme: light dark }
body { font: 1rem/1.5 system-ui, sans-serif; margin: 3rem auto; max-width: 42rem; padding: 0 1rem }
small { font-weight: normal; opacity: .6 }
code { font-size: .95em }
"""
_PLACES = (
    ("/api/conversations", "conversations, newest first"),
    ("/api/projects", "projects with their totals"),
    ("/api/files", "transcript files and how far each was read"),
    ("/health", "whether the server lives"),
    ("/health/ready", "whether it can do its work"),
    ("/metrics", "for Prometheus"),
    ("/docs", "the API, to read"),
    ("/openapi.json", "the same, for programs"),
)
POLICY = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'"


class Index:
    """``/``."""

    needs_database = False

    def __init__(self, *, folders: tuple[str, ...]) -> None:
        links = "".join(
            f'<li><a href="{path}"><code>{path}</code></a> {text}</li>' for path, text in _PLACES
        )
        shown = ", ".join(f"<code>{html.escape(text_path(folder))}</code>" for folder in folders)
        self._page = _PAGE.format(version=__version__, links=links, folders=shown)

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer with the page."""
        read_params(req, NoParams)
        resp.content_type = falcon.MEDIA_HTML
        resp.set_header("Content-Security-Policy", POLICY)
        resp.text = self._page


class IndexStyle:
    """``/index.css``: the page's style, apart so that the policy needs no inline styles."""

    needs_database = False

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer with the style sheet."""
        read_params(req, NoParams)
        resp.content_type = "text/css; charset=utf-8"
        resp.text = _STYLE
