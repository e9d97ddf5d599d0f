"""Wiring: routes, middleware and error handlers, nothing else."""

from __future__ import annotations

from typing import Any

import falcon

from observatory.api.clients import Clients
from observatory.api.conversations import (
    Conversation,
    ConversationMessages,
    Conversations,
    ConversationTag,
    ConversationToolUses,
    RestoredConversation,
)
from observatory.api.cors import Cors
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
from observatory.api.request_limits import RequestLimits
from observatory.api.search import Search, SearchedConversations
from observatory.api.secrets import Secrets
from observatory.api.uploads import Uploads
from observatory.rate_limits import Limits

Application = falcon.App[falcon.Request, falcon.Response]


def create_app(
    *,
    cors_origins: tuple[str, ...],
    folders: tuple[str, ...],
    max_request_bytes: int = 10 * 1024 * 1024,
    request_timeout_ms: int = 0,
    is_multiprocess: bool = False,
    trusted_proxies: tuple[str, ...] = (),
    limits: Limits | None = None,
    max_requests: int = 0,
    rate_window_ms: int = 900_000,
    limits_loopback: bool = False,
) -> Application:
    """Return the WSGI application on the configured database.

    Args:
        cors_origins: Origins whose pages may call the API from a browser.
        folders: Where transcripts are read from, by themselves and on request.
        max_request_bytes: Largest body of a request; an upload as it comes and unpacked.
        request_timeout_ms: How long the work of one request may take; 0 for as long as it takes.
        is_multiprocess: Whether several workers share their metrics through files.
        trusted_proxies: Addresses and networks of proxies whose word on clients is taken.
        limits: Where requests are counted; made before workers are forked, for all of them.
        max_requests: Largest number of requests under ``/api`` in a window; 0 for no limit.
        rate_window_ms: That window in milliseconds.
        limits_loopback: Whether programs of this machine are limited too.
    """
    clients = Clients(trusted_proxies)
    middleware: list[Any] = [
        Exchange(
            clients=clients,
            limits=RequestLimits(
                limits or Limits(),
                max_requests=max_requests,
                window_ms=rate_window_ms,
                limits_loopback=limits_loopback,
            ),
            max_request_bytes=max_request_bytes,
            timeout_ms=request_timeout_ms,
            cors_origins=cors_origins,
        )
    ]
    if cors_origins:
        middleware.append(Cors(cors_origins))
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
