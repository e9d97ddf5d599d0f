"""What each method of each route takes to be allowed: the one table.

A route without a line here is refused to everybody, and a test says so.
"""

from __future__ import annotations

from observatory.accounts.permissions import (
    ADMIN,
    ANALYTICS,
    METRICS,
    READ,
    UPLOAD,
    WRITE,
)
from observatory.page.shell import VIEWS

# Anybody, also who is not signed in.
PUBLIC: frozenset[str] = frozenset()
# A person who signed in, with whatever role.
PERSON = frozenset({"person"})


def _any_of(*permissions: str) -> frozenset[str]:
    """Return the rule that one of some permissions is enough."""
    return frozenset(permissions)


_READ = _any_of(READ)
_WRITE = _any_of(WRITE)
_UPLOAD = _any_of(UPLOAD)
_ADMIN = _any_of(ADMIN)

RULES: dict[tuple[str, str], frozenset[str]] = {
    # Strangers are told how to come in.
    **{("GET", address): PUBLIC for address in VIEWS},
    ("GET", "/assets/{digest}/{path:path}"): PUBLIC,
    ("GET", "/docs"): PUBLIC,
    ("GET", "/docs.css"): PUBLIC,
    ("GET", "/openapi.json"): PUBLIC,
    ("GET", "/login"): PUBLIC,
    ("POST", "/login"): PUBLIC,
    ("POST", "/logout"): PUBLIC,
    ("GET", "/health"): PUBLIC,
    ("GET", "/health/ready"): PUBLIC,
    ("GET", "/metrics"): _any_of(METRICS),
    ("POST", "/api/auth/register"): PUBLIC,
    ("POST", "/api/auth/login"): PUBLIC,
    ("POST", "/api/auth/refresh"): PUBLIC,
    ("POST", "/api/auth/logout"): PERSON,
    ("GET", "/api/auth/profile"): PERSON,
    ("PATCH", "/api/auth/profile"): PERSON,
    ("POST", "/api/auth/password"): PERSON,
    ("GET", "/api/api-keys"): _any_of("person", ADMIN),
    ("POST", "/api/api-keys"): _any_of("person", ADMIN),
    ("GET", "/api/api-keys/{key_id}"): _any_of("person", ADMIN),
    ("DELETE", "/api/api-keys/{key_id}"): _any_of("person", ADMIN),
    ("GET", "/api/users"): _ADMIN,
    ("POST", "/api/users"): _ADMIN,
    ("GET", "/api/users/{user_id}"): _ADMIN,
    ("PATCH", "/api/users/{user_id}"): _ADMIN,
    ("DELETE", "/api/users/{user_id}"): _ADMIN,
    ("GET", "/api/admin/audit"): _ADMIN,
    ("GET", "/api/admin/status"): _ADMIN,
    ("GET", "/api/conversations"): _READ,
    ("POST", "/api/conversations"): _WRITE,
    ("POST", "/api/conversations/search"): _READ,
    ("GET", "/api/conversations/{conversation_id}"): _READ,
    ("PUT", "/api/conversations/{conversation_id}"): _WRITE,
    ("PATCH", "/api/conversations/{conversation_id}"): _WRITE,
    ("DELETE", "/api/conversations/{conversation_id}"): _WRITE,
    ("GET", "/api/conversations/{conversation_id}/messages"): _READ,
    ("POST", "/api/conversations/{conversation_id}/messages"): _WRITE,
    ("GET", "/api/conversations/{conversation_id}/tool-uses"): _READ,
    ("GET", "/api/conversations/{conversation_id}/turns"): _READ,
    ("POST", "/api/conversations/{conversation_id}/restore"): _WRITE,
    ("PUT", "/api/conversations/{conversation_id}/tags/{tag}"): _WRITE,
    ("DELETE", "/api/conversations/{conversation_id}/tags/{tag}"): _WRITE,
    ("GET", "/api/conversations/{conversation_id}/export"): _READ,
    ("GET", "/api/tags"): _READ,
    ("GET", "/api/messages/{message_id}"): _READ,
    ("GET", "/api/search"): _READ,
    ("GET", "/api/analytics/reconcile"): _any_of(READ, ANALYTICS),
    ("GET", "/api/projects"): _any_of(READ, ANALYTICS),
    ("GET", "/api/projects/{project_id}"): _any_of(READ, ANALYTICS),
    ("PATCH", "/api/projects/{project_id}"): _ADMIN,
    ("GET", "/api/projects/{project_id}/retention"): _ADMIN,
    ("PUT", "/api/projects/{project_id}/retention"): _ADMIN,
    ("DELETE", "/api/projects/{project_id}/retention"): _ADMIN,
    ("GET", "/api/secrets"): _READ,
    ("GET", "/api/events"): _READ,
    ("GET", "/api/events/stream"): _READ,
    ("POST", "/api/events/tickets"): _READ,
    ("GET", "/ws"): _READ,
    ("GET", "/api/live/status"): _any_of(READ, METRICS),
    # Who uploads asks how far it is.
    ("GET", "/api/files"): _any_of(READ, UPLOAD),
    ("POST", "/api/files/upload"): _UPLOAD,
    ("POST", "/api/files/process-jsonl"): _UPLOAD,
    ("GET", "/api/files/{file_id}"): _any_of(READ, UPLOAD),
    ("DELETE", "/api/files/{file_id}"): _UPLOAD,
    ("GET", "/api/files/{file_id}/errors"): _any_of(READ, UPLOAD),
    ("POST", "/api/files/{file_id}/reprocess"): _UPLOAD,
    **{
        ("GET", f"/api/analytics/{name}"): _any_of(ANALYTICS)
        for name in (
            "overview",
            "token-usage",
            "costs",
            "tools",
            "tools/slowest",
            "models",
            "activity",
            "blocks",
            "errors",
            "subagents",
            "compare",
        )
    },
    # Paths of files are what conversations say.
    ("GET", "/api/analytics/files"): _READ,
    ("GET", "/api/budgets"): _any_of(ANALYTICS),
    ("POST", "/api/budgets"): _ADMIN,
    ("GET", "/api/budgets/{budget_id}"): _any_of(ANALYTICS),
    ("PATCH", "/api/budgets/{budget_id}"): _ADMIN,
    ("DELETE", "/api/budgets/{budget_id}"): _ADMIN,
    ("GET", "/api/webhooks"): _ADMIN,
    ("POST", "/api/webhooks"): _ADMIN,
    ("GET", "/api/webhooks/{webhook_id}"): _ADMIN,
    ("PATCH", "/api/webhooks/{webhook_id}"): _ADMIN,
    ("DELETE", "/api/webhooks/{webhook_id}"): _ADMIN,
    ("POST", "/api/webhooks/{webhook_id}/test"): _ADMIN,
    ("GET", "/api/webhooks/{webhook_id}/deliveries"): _ADMIN,
    ("POST", "/api/webhooks/{webhook_id}/deliveries/{delivery_id}/redeliver"): _ADMIN,
}
