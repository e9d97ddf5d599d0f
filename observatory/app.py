"""Wiring: routes, middleware and error handlers, nothing else."""

from __future__ import annotations

from typing import Any

import falcon

from observatory.api.conversations import (
    Conversation,
    ConversationMessages,
    Conversations,
    ConversationTag,
    ConversationToolUses,
    RestoredConversation,
)
from observatory.api.docs_page import Docs, DocsStyle
from observatory.api.errors import HANDLERS
from observatory.api.exchange import Exchange
from observatory.api.exports import ConversationExport
from observatory.api.files import File, FileErrors, Files, RequestedFiles, RereadFile
from observatory.api.health import Health, Readiness
from observatory.api.index import Index, IndexStyle
from observatory.api.messages import Message
from observatory.api.metrics import Metrics
from observatory.api.openapi import Description
from observatory.api.projects import Project, Projects
from observatory.api.search import Search, SearchedConversations
from observatory.api.secrets import Secrets
from observatory.api.uploads import Uploads

Application = falcon.App[falcon.Request, falcon.Response]
# What pages of other origins may read besides the body.
_EXPOSED = ("ETag", "Link", "X-Request-ID")


def create_app(
    *,
    cors_origins: tuple[str, ...],
    folders: tuple[str, ...],
    max_request_bytes: int = 10 * 1024 * 1024,
    is_multiprocess: bool = False,
    logs_requests: bool = False,
) -> Application:
    """Return the WSGI application on the configured database.

    Args:
        cors_origins: Origins whose pages may call the API from a browser.
        folders: Where transcripts are read from, by themselves and on request.
        max_request_bytes: Largest body of a request; an upload as it comes and unpacked.
        is_multiprocess: Whether several workers share their metrics through files.
        logs_requests: Whether each request is logged, at the level ``debug``.
    """
    middleware: list[Any] = [
        Exchange(
            logs_requests=logs_requests,
            max_request_bytes=max_request_bytes,
            cors_origins=cors_origins,
        )
    ]
    if cors_origins:
        middleware.append(
            falcon.CORSMiddleware(allow_origins=list(cors_origins), expose_headers=_EXPOSED)
        )
    app: Application = falcon.App(middleware=middleware)
    app.req_options.auto_parse_form_urlencoded = False
    app.req_options.strip_url_path_trailing_slash = True
    for error, handler in HANDLERS:
        app.add_error_handler(error, handler)
    app.add_route("/", Index(folders=folders))
    app.add_route("/index.css", IndexStyle())
    app.add_route("/docs", Docs())
    app.add_route("/docs.css", DocsStyle())
    app.add_route("/openapi.json", Description())
    app.add_route("/health", Health())
    app.add_route("/health/ready", Readiness())
    app.add_route("/metrics", Metrics(is_multiprocess=is_multiprocess))
    app.add_route("/api/conversations", Conversations())
    app.add_route("/api/conversations/search", SearchedConversations())
    app.add_route("/api/conversations/{conversation_id}", Conversation())
    app.add_route("/api/conversations/{conversation_id}/messages", ConversationMessages())
    app.add_route("/api/conversations/{conversation_id}/tool-uses", ConversationToolUses())
    app.add_route("/api/conversations/{conversation_id}/restore", RestoredConversation())
    app.add_route("/api/conversations/{conversation_id}/tags/{tag}", ConversationTag())
    app.add_route("/api/conversations/{conversation_id}/export", ConversationExport())
    app.add_route("/api/messages/{message_id}", Message())
    app.add_route("/api/search", Search())
    app.add_route("/api/projects", Projects())
    app.add_route("/api/projects/{project_id}", Project())
    app.add_route("/api/secrets", Secrets())
    app.add_route("/api/files", Files())
    app.add_route("/api/files/upload", Uploads(max_bytes=max_request_bytes))
    app.add_route("/api/files/process-jsonl", RequestedFiles(folders=folders))
    app.add_route("/api/files/{file_id}", File())
    app.add_route("/api/files/{file_id}/errors", FileErrors())
    app.add_route("/api/files/{file_id}/reprocess", RereadFile())
    return app
