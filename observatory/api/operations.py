"""What each method of each route takes and gives: the table that the OpenAPI document is made of.

A new route needs a line here; tests/api/test_openapi.py says so.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from marshmallow import Schema

from observatory.api import account_schemas as accounts
from observatory.api import admin_schemas as status
from observatory.api import analytics as reports
from observatory.api import budget_schemas as budgets
from observatory.api import conversation_changes as changes
from observatory.api import (
    conversations,
    exports,
    files,
    messages,
    projects,
    reconcile,
    report_schemas,
    schemas,
    search,
    secrets,
    uploads,
)
from observatory.api import event_schemas as events
from observatory.api import retention_schemas as retention
from observatory.api import search_schemas as found
from observatory.api import webhook_schemas as hooks
from observatory.api.params import NoParams
from observatory.api.report_forms import CSV, NDJSON
from observatory.page.shell import VIEWS

JSON = "application/json"
TAGS = {
    "Conversations": "Sessions of a coding agent, and runs of its subagents.",
    "Messages": "What was said, in transcript order.",
    "Tool uses": "Calls of tools with their results.",
    "Search": "Words in messages and titles.",
    "Projects": "The working directories that conversations belong to.",
    "Analytics": "What was used, what it cost, what was done with which tools, and when.",
    "Budgets": "What may be spent in a day, week or month, and how far that is.",
    "Files": "Transcript files, and how far each was read.",
    "Events": "What changed, and what changes now.",
    "Secrets": "Keys and passwords that were found; where, and never which.",
    "Accounts": "Who may come in, and what was done by whom.",
    "API keys": "Keys of programs.",
    "Webhooks": "Addresses that are told of what happens.",
    "Server": "Whether it lives, what it counts, what it can do.",
}
SessionId = "3f2b8c1e-0d7a-4f7e-9a53-b1f0c2d4e6a8"
PATH_PARAMETERS: dict[str, dict[str, Any]] = {
    "conversation_id": {"type": "string", "minLength": 1, "example": SessionId},
    "message_id": {
        "type": "string", "minLength": 1, "example": "0b1d7f3a-52c9-4b8e-8a10-6f9e2c4d7b35",
    },
    "tag": {
        "type": "string", "minLength": 1, "maxLength": 50, "pattern": "^[^,\\x00-\\x1f]+$",
        "example": "later",
    },
    "project_id": {"type": "integer", "minimum": 0, "maximum": 2**53, "example": 1},
    "user_id": {"type": "integer", "minimum": 0, "maximum": 2**53, "example": 1},
    "key_id": {"type": "integer", "minimum": 0, "maximum": 2**53, "example": 1},
    "file_id": {"type": "integer", "minimum": 0, "maximum": 2**53, "example": 1},
    "budget_id": {"type": "integer", "minimum": 0, "maximum": 2**53, "example": 1},
    "webhook_id": {"type": "integer", "minimum": 0, "maximum": 2**53, "example": 1},
    "delivery_id": {
        "type": "string", "minLength": 1, "example": "5f0d3c1e-8a47-4f0e-9c55-2f7f0d6f5a11",
    },
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class ListOf:
    """A page: rows under their plural noun, and ``pagination``."""

    noun: str
    rows: type[Schema]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """An answer, or a body, of one of several forms."""

    forms: tuple[type[Schema], ...]


@dataclass(frozen=True, slots=True)
class Raw:
    """An answer without the envelope, by media type."""

    media_types: tuple[str, ...]


Answer = type[Schema] | ListOf | AnyOf | Raw


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one route.

    Attributes:
        tag: The group it belongs to, one of TAGS.
        id: Its name in programs, unique.
        summary: One line for people.
        answer: What a good answer holds.
        params: The schema of the query string.
        body: The schema of a JSON body.
        is_body_required: Whether it is refused without one.
        bodies: Other bodies: JSON Schema by media type.
        example: A body, or a query string, that works.
        statuses: Of good answers.
        refusals: Statuses beyond those that every such operation has.
        is_cached: Whether the answer has an ETag, and a repeated question is answered 304.
        is_paged: Whether it is a page with ``Link`` headers though no plain list.
        takes_key: Whether an ``Idempotency-Key`` is looked at.
        takes_match: Whether ``If-Match`` is looked at.
        needs_database: Whether it fails when the database is busy.
        other_types: Media types that its rows are answered as when they are asked for.
    """

    tag: str
    id: str
    summary: str
    answer: Answer
    params: type[Schema] = NoParams
    body: type[Schema] | AnyOf | None = None
    is_body_required: bool = True
    bodies: dict[str, dict[str, Any]] = field(default_factory=dict)
    example: dict[str, Any] | None = None
    statuses: tuple[int, ...] = (200,)
    refusals: tuple[int, ...] = ()
    is_cached: bool = False
    is_paged: bool = False
    takes_key: bool = False
    takes_match: bool = False
    needs_database: bool = True
    other_types: tuple[str, ...] = ()

    @property
    def has_links(self) -> bool:
        """Whether its answer has a ``Link`` header."""
        return self.is_paged or isinstance(self.answer, ListOf)


def _report(name: str, identifier: str, summary: str) -> Operation:
    report = reports.REPORTS[name]
    answer: Answer = report.schema
    if name == "subagents":
        answer = AnyOf((report.schema, report_schemas.SubagentTree))
    return Operation(
        "Analytics", identifier, summary, answer, report.params,
        is_cached=not report.is_of_now, example={"timezone": "Europe/Berlin"},
        other_types=(CSV, NDJSON), refusals=(404,),
    )  # fmt: skip


_CONVERSATIONS = "/api/conversations"
_CONVERSATION = "/api/conversations/{conversation_id}"
_BUDGET = "/api/budgets/{budget_id}"
_RETENTION = "/api/projects/{project_id}/retention"
_WEBHOOK = "/api/webhooks/{webhook_id}"
_TAG = "/api/conversations/{conversation_id}/tags/{tag}"

OPERATIONS: dict[tuple[str, str], Operation] = {
    ("GET", _CONVERSATIONS): Operation(
        "Conversations", "listConversations", "List conversations, most recently active first",
        ListOf("conversations", schemas.Conversation), conversations.ConversationParams,
        is_cached=True, example={"limit": 5, "sort_by": "total_tokens"},
    ),
    ("POST", _CONVERSATIONS): Operation(
        "Conversations", "createConversation", "Make a conversation that messages can be added to",
        schemas.ConversationDetail, body=changes.CreateConversation, statuses=(201,),
        takes_key=True,
        example={"title": "Plan", "project_path": "/home/ada/engine",
                 "metadata": {"tags": ["later"]}},
    ),
    ("POST", "/api/conversations/search"): Operation(
        "Search", "searchConversations", "Search conversations by their messages",
        found.FoundConversations, body=search.ConversationSearch,
        example={"q": "flux capacitor", "limit": 10},
    ),
    ("GET", _CONVERSATION): Operation(
        "Conversations", "getConversation",
        "Get one conversation, with its usage by model and its subagents",
        schemas.ConversationDetail, conversations.OneConversationParams, is_cached=True,
    ),
    ("PUT", _CONVERSATION): Operation(
        "Conversations", "replaceConversation", "Say title and metadata anew",
        schemas.ConversationDetail, body=changes.ReplaceConversation, takes_match=True,
        example={"title": "Better title", "metadata": {"tags": ["later"]}},
    ),
    ("PATCH", _CONVERSATION): Operation(
        "Conversations", "changeConversation", "Change title or metadata; null removes",
        schemas.ConversationDetail, body=changes.ChangeConversation, takes_match=True,
        example={"title": "Better title"},
    ),
    ("DELETE", _CONVERSATION): Operation(
        "Conversations", "deleteConversation",
        "Move a conversation to the trash, or remove it for good",
        schemas.DeletedConversation, changes.DeleteParams, takes_match=True,
    ),
    ("POST", f"{_CONVERSATION}/restore"): Operation(
        "Conversations", "restoreConversation", "Take a conversation out of the trash",
        schemas.ConversationDetail, takes_key=True, refusals=(409,),
    ),
    ("PUT", _TAG): Operation(
        "Conversations", "tagConversation", "File a conversation under a tag", schemas.Tagged,
        takes_match=True, refusals=(409,),
    ),
    ("DELETE", _TAG): Operation(
        "Conversations", "untagConversation", "Take a tag from a conversation", schemas.Tagged,
        takes_match=True,
    ),
    ("GET", "/api/tags"): Operation(
        "Conversations", "listTags", "List the tags that are used, the most used first",
        schemas.Tags, is_cached=True,
    ),
    ("GET", f"{_CONVERSATION}/export"): Operation(
        "Conversations", "exportConversation", "Get a whole conversation as a file",
        Raw(("application/x-ndjson", JSON, "text/markdown", "text/html")), exports.ExportParams,
        is_cached=True, example={"format": "markdown"},
    ),
    ("GET", f"{_CONVERSATION}/messages"): Operation(
        "Messages", "listMessages", "List the messages of a conversation",
        ListOf("messages", schemas.Message), conversations.MessageParams, is_cached=True,
    ),
    ("POST", f"{_CONVERSATION}/messages"): Operation(
        "Messages", "createMessages", "Write one message, or up to 1,000 together or not at all",
        AnyOf((schemas.Message, schemas.WrittenMessages)),
        body=AnyOf((changes.MessageBody, changes.MessageBatch)), statuses=(201,), takes_key=True,
        example={"role": "user", "content": "hello"},
    ),
    ("GET", "/api/messages/{message_id}"): Operation(
        "Messages", "getMessage", "Get one message, with all its content blocks",
        schemas.Message, messages.OneMessageParams, is_cached=True,
    ),
    ("GET", f"{_CONVERSATION}/turns"): Operation(
        "Messages", "listTurns", "List the turns of a conversation",
        ListOf("turns", schemas.Turn), conversations.TurnParams, is_cached=True,
    ),
    ("GET", f"{_CONVERSATION}/tool-uses"): Operation(
        "Tool uses", "listToolUses", "List the tool uses of a conversation",
        ListOf("tool_uses", schemas.ToolUse), conversations.ToolUseParams, is_cached=True,
        example={"status": "error"},
    ),
    ("GET", "/api/search"): Operation(
        "Search", "searchMessages", "Search messages", found.Hits, search.SearchParams,
        is_cached=True, is_paged=True,
        example={"q": '"flux capacitor" -test role:user', "facets": True},
    ),
    ("GET", "/api/analytics/reconcile"): Operation(
        "Analytics", "reconcileConversation",
        "Get what a conversation's numbers are made of: each response, its lines, and the sums",
        reconcile.Reconciliation, reconcile.ReconcileParams, is_cached=True, is_paged=True,
        refusals=(404,),
        example={"conversation": SessionId},
    ),
    ("GET", "/api/projects"): Operation(
        "Projects", "listProjects", "List projects, most recently active first",
        ListOf("projects", schemas.Project), projects.ProjectParams, is_cached=True,
    ),
    ("GET", "/api/projects/{project_id}"): Operation(
        "Projects", "getProject",
        "Get one project, with the sums over its conversations, and what was done lately",
        schemas.ProjectDetail, projects.OneProjectParams, is_cached=True,
    ),
    ("PATCH", "/api/projects/{project_id}"): Operation(
        "Projects", "changeProject",
        "Say for whom a project is there: everyone, or administrators and the users it lists",
        schemas.ProjectDetail, body=projects.ChangeProject, example={"visibility": "everyone"},
    ),
    **{
        ("GET", f"/api/analytics/{name}"): _report(name, identifier, summary)
        for name, identifier, summary in (
            ("overview", "getOverview", "Get the whole at a glance"),
            ("token-usage", "getTokenUsage", "Get tokens by time, model, project, conversation"),
            ("costs", "getCosts", "Get costs by time, model, project, conversation"),
            ("tools", "getToolReport", "Get how tools were used, how that went and how long"),
            ("tools/slowest", "listSlowestToolUses", "List the tool uses that took longest"),
            ("models", "getModelReport", "Get what models were used for"),
            ("activity", "getActivity", "Get activity by the hour of the week"),
            ("blocks", "listBlocks", "List five-hour blocks with burn rate and projection"),
            ("errors", "getErrorReport", "Get what went wrong"),
            ("files", "getFileReport", "Get which files were read and edited"),
            ("subagents", "getSubagentReport", "Get what subagents cost, as a tree for one"),
        )
    },
    ("GET", "/api/analytics/compare"): Operation(
        "Analytics", "compare", "Compare two periods or projects",
        AnyOf((report_schemas.Comparison,)), reports.CompareParams, is_cached=True,
        example={"timezone": "Europe/Berlin"}, other_types=(CSV, NDJSON), refusals=(404,),
    ),
    ("GET", "/api/budgets"): Operation(
        "Budgets", "listBudgets", "List budgets with how far they are used",
        ListOf("budgets", budgets.Budget), budgets.BudgetParams,
    ),
    ("POST", "/api/budgets"): Operation(
        "Budgets", "createBudget", "Say what may be spent in a day, week or month",
        budgets.Budget, body=budgets.CreateBudget, statuses=(201,), refusals=(404, 409),
        example={"name": "Engine", "period": "month", "timezone": "Europe/Berlin",
                 "limit_microdollars": 100_000_000},
    ),
    ("GET", _BUDGET): Operation(
        "Budgets", "getBudget", "Get one budget and how far it is used", budgets.Budget,
    ),
    ("PATCH", _BUDGET): Operation(
        "Budgets", "changeBudget", "Change a budget", budgets.Budget, body=budgets.ChangeBudget,
        example={"limit_tokens": 50_000_000},
    ),
    ("DELETE", _BUDGET): Operation(
        "Budgets", "deleteBudget", "Delete a budget with its events", accounts.Removed,
    ),
    ("GET", "/api/files"): Operation(
        "Files", "listFiles", "List transcript files, most recently changed first",
        ListOf("files", schemas.File), files.FileParams, is_cached=True,
        example={"status": "error"},
    ),
    ("POST", "/api/files/upload"): Operation(
        "Files", "uploadFile",
        "Upload a transcript, as the file of a form or as the body; gzip is taken",
        schemas.Upload, uploads.UploadParams, statuses=(200, 201, 202),
        bodies={
            uploads.FORM: {
                "type": "object",
                "properties": {"file": {"type": "string", "format": "binary", "minLength": 1}},
                "required": ["file"],
                "additionalProperties": False,
            },
            uploads.LINES: {"type": "string", "minLength": 1},
        },
    ),
    ("POST", "/api/files/process-jsonl"): Operation(
        "Files", "processFile", "Have a file read that lies in a transcripts folder",
        schemas.FileDetail, body=files.FileRequest, statuses=(202,), refusals=(404,),
        takes_key=True,
        example={"file_path": "/home/ada/.claude/projects/-work/3f2b8c1e.jsonl"},
    ),
    ("GET", "/api/files/{file_id}"): Operation(
        "Files", "getFile", "Get one file, with its numbers of records and its bad lines",
        schemas.FileDetail, files.OneFileParams, is_cached=True,
    ),
    ("DELETE", "/api/files/{file_id}"): Operation(
        "Files", "deleteFile",
        "Forget a file, and remove it when it was uploaded; its conversations stay",
        schemas.DeletedFile, refusals=(409,), takes_match=True,
    ),
    ("GET", "/api/files/{file_id}/errors"): Operation(
        "Files", "listFileErrors", "List the lines of a file that could not be read",
        ListOf("errors", schemas.BadLine), files.FileErrorParams, is_cached=True,
    ),
    ("POST", "/api/files/{file_id}/reprocess"): Operation(
        "Files", "reprocessFile", "Have a file read from its start again",
        schemas.FileDetail, statuses=(202,), refusals=(409,), takes_key=True,
    ),
    ("GET", "/api/secrets"): Operation(
        "Secrets", "listSecrets", "List where secrets were found, the latest first",
        ListOf("secrets", schemas.SecretFinding), secrets.SecretParams, is_cached=True,
        example={"kind": "github_token"},
    ),
    ("POST", "/api/auth/register"): Operation(
        "Accounts", "register", "Make the first account, or others where that is open",
        AnyOf((accounts.Tokens, accounts.User)), body=accounts.Register, statuses=(201,),
        refusals=(409,),
        example={"email": "ada@example.org", "password": "a good long one",
                 "setup_token": "printed by the server"},
    ),
    ("POST", "/api/auth/login"): Operation(
        "Accounts", "login", "Sign in with a password",
        AnyOf((accounts.Tokens, accounts.CookieSignIn)), body=accounts.Login, refusals=(401,),
        example={"email": "ada@example.org", "password": "a good long one"},
    ),
    ("POST", "/api/auth/refresh"): Operation(
        "Accounts", "refresh", "Get the next tokens; a refresh token can be used once",
        accounts.Tokens, body=accounts.Refresh, refusals=(401,),
        example={"refresh_token": "obr_..."},
    ),
    ("POST", "/api/auth/logout"): Operation(
        "Accounts", "logout", "Sign out, here or everywhere", accounts.SignedOut,
        body=accounts.Logout, is_body_required=False, example={"everywhere": True},
    ),
    ("GET", "/api/auth/profile"): Operation(
        "Accounts", "getProfile", "Who is signed in, and what they may do", accounts.Profile,
    ),
    ("PATCH", "/api/auth/profile"): Operation(
        "Accounts", "changeProfile", "Change one's name or address", accounts.Profile,
        body=accounts.ChangeProfile, refusals=(409,), example={"name": "Ada"},
    ),
    ("POST", "/api/auth/password"): Operation(
        "Accounts", "changePassword", "Take another password, which ends all sign-ins",
        AnyOf((accounts.Tokens, accounts.CookieSignIn)), body=accounts.ChangePassword,
        example={"current_password": "a good long one", "new_password": "another long one"},
    ),
    ("GET", "/api/users"): Operation(
        "Accounts", "listUsers", "List accounts", ListOf("users", accounts.User),
        accounts.UserParams,
    ),
    ("POST", "/api/users"): Operation(
        "Accounts", "createUser", "Make an account", accounts.User, body=accounts.CreateUser,
        statuses=(201,), refusals=(409,),
        example={"email": "grace@example.org", "password": "a good long one", "role": "viewer"},
    ),
    ("GET", "/api/users/{user_id}"): Operation(
        "Accounts", "getUser", "Get one account", accounts.User,
    ),
    ("PATCH", "/api/users/{user_id}"): Operation(
        "Accounts", "changeUser", "Change an account, or disable it", accounts.User,
        body=accounts.ChangeUser, refusals=(409,), example={"role": "viewer"},
    ),
    ("DELETE", "/api/users/{user_id}"): Operation(
        "Accounts", "deleteUser", "Remove an account with its sign-ins and keys",
        accounts.Removed, refusals=(409,),
    ),
    ("GET", "/api/api-keys"): Operation(
        "API keys", "listApiKeys", "List one's keys", ListOf("api_keys", accounts.ApiKey),
        accounts.ApiKeyParams,
    ),
    ("POST", "/api/api-keys"): Operation(
        "API keys", "createApiKey", "Make a key, which is shown this once",
        accounts.NewApiKey, body=accounts.CreateApiKey, statuses=(201,),
        example={"name": "prometheus", "scopes": ["metrics:read"], "expires_at": "365d"},
    ),
    ("GET", "/api/api-keys/{key_id}"): Operation(
        "API keys", "getApiKey", "Get what is kept of a key", accounts.ApiKey,
    ),
    ("DELETE", "/api/api-keys/{key_id}"): Operation(
        "API keys", "revokeApiKey", "End a key for good", accounts.Removed,
    ),
    ("GET", "/api/admin/audit"): Operation(
        "Accounts", "listAuditEntries", "List what was done by whom, the latest first",
        ListOf("entries", accounts.AuditEntry), accounts.AuditParams,
    ),
    ("GET", "/api/admin/status"): Operation(
        "Server", "getAdminStatus", "Get how the server and its database are",
        status.AdminStatus,
    ),
    ("GET", _RETENTION): Operation(
        "Projects", "getRetention", "Get for how long a project's conversations are kept",
        retention.Retention,
    ),
    ("PUT", _RETENTION): Operation(
        "Projects", "setRetention", "Say for how long a project's conversations are kept",
        retention.Retention, body=retention.SetRetention,
        example={"days": 90, "action": "trash"},
    ),
    ("DELETE", _RETENTION): Operation(
        "Projects", "deleteRetention", "Keep a project's conversations as the server's rule says",
        retention.Retention,
    ),
    ("GET", "/api/events"): Operation(
        "Events", "listEvents", "List what changed behind an event, waiting for it if need be",
        events.EventList, events.EventParams, refusals=(503,), example={"limit": 5},
    ),
    ("GET", "/api/events/stream"): Operation(
        "Events", "streamEvents", "Get what changes as it does, as Server-Sent Events",
        Raw(("text/event-stream",)), events.StreamParams, refusals=(503,),
    ),
    ("POST", "/api/events/tickets"): Operation(
        "Events", "createTicket", "Make a ticket that opens one stream, for who sends no headers",
        events.Ticket, statuses=(201,),
    ),
    ("GET", "/ws"): Operation(
        "Events", "openWebSocket", "Get what changes on a WebSocket, by subscriptions",
        Raw(()), events.WebSocketParams, statuses=(101,), refusals=(426, 501, 503),
    ),
    ("GET", "/api/live/status"): Operation(
        "Events", "getLiveStatus", "Get which streams are open and what is live",
        events.LiveStatus,
    ),
    ("GET", "/api/webhooks"): Operation(
        "Webhooks", "listWebhooks", "List webhooks", ListOf("webhooks", hooks.Webhook),
        hooks.WebhookParams,
    ),
    ("POST", "/api/webhooks"): Operation(
        "Webhooks", "createWebhook", "Have an address told of events from now on",
        hooks.NewWebhook, body=hooks.CreateWebhook, statuses=(201,), refusals=(409,),
        example={"url": "https://example.org/hook", "events": ["conversation_ended"],
                 "filters": {"project_path": "/home/ada/engine"}},
    ),
    ("GET", _WEBHOOK): Operation(
        "Webhooks", "getWebhook", "Get one webhook and how it goes", hooks.Webhook,
    ),
    ("PATCH", _WEBHOOK): Operation(
        "Webhooks", "changeWebhook", "Change a webhook, switch it off or on, take another secret",
        hooks.NewWebhook, body=hooks.ChangeWebhook, example={"description": "the build"},
    ),
    ("DELETE", _WEBHOOK): Operation(
        "Webhooks", "deleteWebhook", "Delete a webhook with its deliveries", accounts.Removed,
    ),
    ("POST", f"{_WEBHOOK}/test"): Operation(
        "Webhooks", "testWebhook", "Send a test", hooks.Delivery, statuses=(202,),
        refusals=(409,),
    ),
    ("GET", f"{_WEBHOOK}/deliveries"): Operation(
        "Webhooks", "listDeliveries", "List what was sent, waits or was given up, the latest first",
        ListOf("deliveries", hooks.Delivery), hooks.DeliveryParams, example={"status": "dead"},
    ),
    ("POST", f"{_WEBHOOK}/deliveries/{{delivery_id}}/redeliver"): Operation(
        "Webhooks", "redeliver", "Have a delivery sent again that is over", hooks.Delivery,
        statuses=(202,), refusals=(409,),
    ),
    ("GET", "/health"): Operation(
        "Server", "getHealth", "Whether the server lives", schemas.Status,
        needs_database=False,
    ),
    ("GET", "/health/ready"): Operation(
        "Server", "getReadiness", "Whether it can do its work", schemas.Status,
        needs_database=False, refusals=(503,),
    ),
    ("GET", "/metrics"): Operation(
        "Server", "getMetrics", "Numbers for Prometheus", Raw(("text/plain",)),
    ),
    ("GET", "/openapi.json"): Operation(
        "Server", "getDescription", "This description, as OpenAPI 3.1", Raw((JSON,)),
        is_cached=True, needs_database=False,
    ),
}  # fmt: skip
_ID = "conversation_id"
# Where an answer holds what another operation takes: the operation, its parameter, the place.
LINKS: dict[str, tuple[tuple[str, str, str], ...]] = {
    "createConversation": tuple(
        (target, _ID, "/data/id")
        for target in (
            "getConversation", "replaceConversation", "changeConversation", "createMessages",
            "listMessages", "tagConversation", "untagConversation", "exportConversation",
            "deleteConversation",
        )
    ),
    "deleteConversation": (
        ("restoreConversation", _ID, "/data/id"), ("getConversation", _ID, "/data/id"),
    ),
    "listConversations": tuple(
        (target, _ID, "/data/conversations/0/id")
        for target in ("getConversation", "listMessages", "listToolUses", "exportConversation")
    ),
    "createMessages": (("getMessage", "message_id", "/data/id"),),
    "listMessages": (("getMessage", "message_id", "/data/messages/0/id"),),
    "searchMessages": (
        ("getMessage", "message_id", "/data/hits/0/message_id"),
        ("getConversation", _ID, "/data/hits/0/conversation_id"),
    ),
    "listSecrets": (
        ("getMessage", "message_id", "/data/secrets/0/message_id"),
        ("getConversation", _ID, "/data/secrets/0/conversation_id"),
    ),
    "listProjects": (("getProject", "project_id", "/data/projects/0/id"),),
    "createUser": tuple(
        (target, "user_id", "/data/id") for target in ("getUser", "changeUser", "deleteUser")
    ),
    "createApiKey": (
        ("getApiKey", "key_id", "/data/id"), ("revokeApiKey", "key_id", "/data/id"),
    ),
    "createBudget": tuple(
        (target, "budget_id", "/data/id")
        for target in ("getBudget", "changeBudget", "deleteBudget")
    ),
    "createWebhook": tuple(
        (target, "webhook_id", "/data/id")
        for target in (
            "getWebhook", "changeWebhook", "testWebhook", "listDeliveries", "deleteWebhook",
        )
    ),
    "listFiles": (
        ("getFile", "file_id", "/data/files/0/id"),
        ("listFileErrors", "file_id", "/data/files/0/id"),
    ),
    "uploadFile": tuple(
        (target, "file_id", "/data/id")
        for target in ("getFile", "listFileErrors", "reprocessFile", "deleteFile")
    ),
    "deleteFile": (("getFile", "file_id", "/data/id"),),
}  # fmt: skip
# Pages for people, which are no part of the API.
PAGES = (
    *VIEWS, "/assets/{digest}/{path:path}", "/docs", "/docs.css", "/login", "/logout",
)  # fmt: skip
