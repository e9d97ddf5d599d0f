"""Wiring: routes, middleware and error handlers, nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import falcon

from observatory.accounts.signing_in import Accounts, make_random_accounts
from observatory.api.admin_status import AdminStatus
from observatory.api.analytics import REPORTS, AnalyticsReport, Comparison
from observatory.api.api_keys import ApiKey, ApiKeys
from observatory.api.audit import AuditLog
from observatory.api.auth import Authenticator
from observatory.api.budgets import Budget, Budgets
from observatory.api.clients import Clients, Hosts
from observatory.api.conversations import (
    Conversation,
    ConversationMessages,
    Conversations,
    ConversationTag,
    ConversationToolUses,
    ConversationTurns,
    RestoredConversation,
)
from observatory.api.cors import Cors
from observatory.api.docs_page import Docs, DocsStyle
from observatory.api.errors import HANDLERS
from observatory.api.events import Events, EventStream, StreamTickets, WebSocket, make_hub
from observatory.api.exchange import Exchange
from observatory.api.exports import ConversationExport
from observatory.api.files import File, FileErrors, Files, RequestedFiles, RereadFile
from observatory.api.health import Health, Readiness
from observatory.api.live import LiveStatus
from observatory.api.login_page import LoginPage, LogoutPage
from observatory.api.messages import Message
from observatory.api.metrics import MAX_PROJECTS, Metrics
from observatory.api.openapi import Description
from observatory.api.page import Page, PageAsset
from observatory.api.projects import Project, Projects
from observatory.api.reconcile import Reconcile
from observatory.api.report_cache import ReportCache
from observatory.api.request_limits import RequestLimits
from observatory.api.retention import ProjectRetention
from observatory.api.search import Search, SearchedConversations
from observatory.api.secrets import Secrets
from observatory.api.sign_in import Password, Profile, Refreshed, Registration, SignIn, SignOut
from observatory.api.tags import Tags
from observatory.api.uploads import Uploads
from observatory.api.users import User, Users
from observatory.api.webhooks import (
    RepeatedDelivery,
    Webhook,
    WebhookDeliveries,
    Webhooks,
    WebhookTest,
)
from observatory.page.shell import VIEWS
from observatory.rate_limits import Limits
from observatory.webhooks.addresses import parse_networks

Application = falcon.App[falcon.Request, falcon.Response]


def create_app(
    *,
    cors_origins: tuple[str, ...],
    cookie_origins: tuple[str, ...] = (),
    folders: tuple[str, ...],
    max_request_bytes: int = 10 * 1024 * 1024,
    request_timeout_ms: int = 0,
    is_multiprocess: bool = False,
    metrics_port: int = 0,
    metrics_projects: int = MAX_PROJECTS,
    trusted_proxies: tuple[str, ...] = (),
    limits: Limits | None = None,
    max_requests: int = 0,
    rate_window_ms: int = 900_000,
    limits_loopback: bool = False,
    accounts: Accounts | None = None,
    auth: Authenticator | None = None,
    hosts: Hosts | None = None,
    max_streams: int = 1000,
    webhook_networks: tuple[str, ...] = (),
    retention_days: int = 0,
    shown_settings: Mapping[str, Any] | None = None,
) -> Application:
    """Return the WSGI application on the configured database.

    Args:
        cors_origins: Origins whose pages may call the API from a browser.
        cookie_origins: Those of them whose pages may use its cookie.
        folders: Where transcripts are read from, by themselves and on request.
        max_request_bytes: Largest body of a request; an upload as it comes and unpacked.
        request_timeout_ms: How long the work of one request may take; 0 for as long as it takes.
        is_multiprocess: Whether several workers share their metrics through files.
        metrics_port: A port on which there is nothing but ``/metrics``; 0 for none.
        metrics_projects: How many projects have series of their own in ``/metrics``.
        trusted_proxies: Addresses and networks of proxies whose word on clients is taken.
        limits: Where requests are counted; made before workers are forked, for all of them.
        max_requests: Largest number of requests under ``/api`` in a window; 0 for no limit.
        rate_window_ms: That window in milliseconds.
        limits_loopback: Whether programs of this machine are limited too.
        accounts: Who may come in; by default who has an account or a key in the database.
        auth: Finds out who asks; by default by those accounts.
        hosts: By which names the server may be called; by default by those of this machine.
        max_streams: How many streams of events a worker may have open.
        webhook_networks: Networks that webhooks may be sent to though they are not public.
        retention_days: For how long projects without a rule are kept; 0 for ever.
        shown_settings: What admins are told of the settings.
    """
    clients = Clients(trusted_proxies)
    accounts = accounts or make_random_accounts()
    auth = auth or Authenticator(accounts, cookie_origins=cookie_origins)
    middleware: list[Any] = [
        Exchange(
            clients=clients,
            hosts=hosts or Hosts(),
            auth=auth,
            limits=RequestLimits(
                limits or Limits(),
                max_requests=max_requests,
                window_ms=rate_window_ms,
                limits_loopback=limits_loopback,
            ),
            max_request_bytes=max_request_bytes,
            timeout_ms=request_timeout_ms,
            cors_origins=cors_origins,
            metrics_port=metrics_port,
        )
    ]
    if cors_origins:
        middleware.append(Cors(cors_origins))
    app: Application = falcon.App(middleware=middleware)
    app.req_options.auto_parse_form_urlencoded = False
    app.req_options.strip_url_path_trailing_slash = True
    for error, handler in HANDLERS:
        app.add_error_handler(error, handler)
    for address, view in VIEWS.items():
        app.add_route(address, Page(view, auth=auth, clients=clients))
    app.add_route("/assets/{digest}/{path:path}", PageAsset())
    app.add_route("/login", LoginPage(accounts, auth, clients))
    app.add_route("/logout", LogoutPage(auth, clients))
    app.add_route("/docs", Docs())
    app.add_route("/docs.css", DocsStyle())
    app.add_route("/openapi.json", Description())
    app.add_route("/health", Health())
    app.add_route("/health/ready", Readiness())
    app.add_route(
        "/metrics", Metrics(is_multiprocess=is_multiprocess, max_projects=metrics_projects)
    )
    app.add_route("/api/auth/register", Registration(accounts, auth, clients))
    app.add_route("/api/auth/login", SignIn(accounts, clients))
    app.add_route("/api/auth/refresh", Refreshed(accounts))
    app.add_route("/api/auth/logout", SignOut(clients))
    app.add_route("/api/auth/profile", Profile(accounts, clients))
    app.add_route("/api/auth/password", Password(accounts, clients))
    app.add_route("/api/users", Users())
    app.add_route("/api/users/{user_id}", User())
    app.add_route("/api/api-keys", ApiKeys())
    app.add_route("/api/api-keys/{key_id}", ApiKey())
    app.add_route("/api/admin/audit", AuditLog())
    app.add_route("/api/admin/status", AdminStatus(shown_settings or {}))
    app.add_route("/api/conversations", Conversations())
    app.add_route("/api/conversations/search", SearchedConversations())
    app.add_route("/api/conversations/{conversation_id}", Conversation())
    app.add_route("/api/conversations/{conversation_id}/messages", ConversationMessages())
    app.add_route("/api/conversations/{conversation_id}/tool-uses", ConversationToolUses())
    app.add_route("/api/conversations/{conversation_id}/turns", ConversationTurns())
    app.add_route("/api/conversations/{conversation_id}/restore", RestoredConversation())
    app.add_route("/api/conversations/{conversation_id}/tags/{tag}", ConversationTag())
    app.add_route("/api/conversations/{conversation_id}/export", ConversationExport())
    app.add_route("/api/tags", Tags())
    app.add_route("/api/messages/{message_id}", Message())
    app.add_route("/api/search", Search())
    app.add_route("/api/analytics/reconcile", Reconcile())
    app.add_route("/api/projects", Projects())
    app.add_route("/api/projects/{project_id}", Project())
    app.add_route("/api/projects/{project_id}/retention", ProjectRetention(days=retention_days))
    app.add_route("/api/secrets", Secrets())
    reports = ReportCache()
    for name in REPORTS:
        app.add_route(f"/api/analytics/{name}", AnalyticsReport(name, reports))
    app.add_route("/api/analytics/compare", Comparison(reports))
    app.add_route("/api/budgets", Budgets())
    app.add_route("/api/budgets/{budget_id}", Budget())
    hub = make_hub(auth, max_streams=max_streams)
    app.add_route("/api/events", Events(hub))
    app.add_route("/api/events/stream", EventStream(hub))
    app.add_route("/api/events/tickets", StreamTickets())
    app.add_route("/ws", WebSocket(hub))
    live_status = LiveStatus(is_multiprocess=is_multiprocess, max_streams=max_streams)
    app.add_route("/api/live/status", live_status)
    app.add_route("/api/files", Files())
    app.add_route("/api/files/upload", Uploads(max_bytes=max_request_bytes))
    app.add_route("/api/files/process-jsonl", RequestedFiles(folders=folders))
    app.add_route("/api/files/{file_id}", File())
    app.add_route("/api/files/{file_id}/errors", FileErrors())
    app.add_route("/api/files/{file_id}/reprocess", RereadFile())
    networks = parse_networks(webhook_networks)
    app.add_route("/api/webhooks", Webhooks(allowed=networks))
    app.add_route("/api/webhooks/{webhook_id}", Webhook(allowed=networks))
    app.add_route("/api/webhooks/{webhook_id}/test", WebhookTest())
    app.add_route("/api/webhooks/{webhook_id}/deliveries", WebhookDeliveries())
    app.add_route(
        "/api/webhooks/{webhook_id}/deliveries/{delivery_id}/redeliver", RepeatedDelivery()
    )
    return app
