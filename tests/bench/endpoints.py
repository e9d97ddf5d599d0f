"""Every endpoint that reads, with what is asked of it; and those that write."""

from __future__ import annotations

from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any

import orjson

# Of these everything is measured; the others are asked more briefly.
CORE = ("health", "list of 50", "one", "100 messages", "projects")
_REPORTS = (
    "overview", "token-usage", "costs", "tools", "tools/slowest", "models", "activity", "blocks",
    "errors", "files", "subagents", "compare",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Place:
    """A server on this machine, and the key that lets in."""

    port: int
    key: str

    @property
    def base(self) -> str:
        """The beginning of its URLs."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def headers(self) -> dict[str, str]:
        """Headers of each request."""
        return {"Authorization": f"Bearer {self.key}"}

    def ask(self, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        """Return status and body of an answer; with a body it is a POST."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        headers = dict(self.headers)
        if body is not None:
            headers["Content-Type"] = "application/json"
        try:
            connection.request("GET" if body is None else "POST", path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def data(self, path: str, body: bytes | None = None) -> Any:
        """Return the data of an answer."""
        return orjson.loads(self.ask(path, body)[1])["data"]


def list_core(conversation_id: str) -> dict[str, str]:
    """Return the endpoints that are asked for most, by name."""
    return {
        "health": "/health",
        "list of 50": "/api/conversations?limit=50",
        "one": f"/api/conversations/{conversation_id}",
        "100 messages": f"/api/conversations/{conversation_id}/messages?limit=100",
        "projects": "/api/projects",
        "tags": "/api/tags",
    }


def list_others(place: Place, conversation_id: str) -> dict[str, str]:
    """Return the other endpoints that read, by name, for what is in the archive."""
    one = f"/api/conversations/{conversation_id}"
    cursor = place.data("/api/conversations?limit=5")["pagination"]["next_cursor"]
    after = f"&cursor={cursor}" if cursor else ""
    message = place.data(f"{one}/messages?limit=1")["messages"][0]["id"]
    project = place.data("/api/projects")["projects"][0]["id"]
    file = place.data("/api/files?limit=1")["files"][0]["id"]
    return {
        "readiness": "/health/ready",
        "list, next page": f"/api/conversations?limit=5{after}",
        "list by tokens": "/api/conversations?limit=50&sort_by=total_tokens",
        "list of what has errors": "/api/conversations?limit=50&has_errors=true",
        "tool uses": f"{one}/tool-uses?limit=50",
        "turns": f"{one}/turns",
        "export": f"{one}/export?format=markdown",
        "one message": f"/api/messages/{message}",
        "search, best first": "/api/search?q=error&limit=20",
        "search, newest first": "/api/search?q=error&sort=time&limit=20",
        "project": f"/api/projects/{project}",
        "files": "/api/files?limit=50",
        "file": f"/api/files/{file}",
        "file errors": f"/api/files/{file}/errors",
        "events": "/api/events?limit=50",
        "live status": "/api/live/status",
        "secrets": "/api/secrets?limit=20",
        "budgets": "/api/budgets",
        "webhooks": "/api/webhooks",
        "users": "/api/users",
        "keys": "/api/api-keys",
        "audit": "/api/admin/audit?limit=20",
        "status": "/api/admin/status",
        "metrics": "/metrics",
        "description": "/openapi.json",
        "documentation": "/docs",
        "retention": f"/api/projects/{project}/retention",
        "reconcile": f"/api/analytics/reconcile?conversation={conversation_id}",
        "local page": "/",
        **{f"report: {name}": f"/api/analytics/{name}" for name in _REPORTS},
    }
