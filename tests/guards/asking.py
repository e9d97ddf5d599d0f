"""Requests to the application as a WSGI server makes them, with nothing of a client's work."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from observatory.app import create_app
from observatory.store.database import configure, connect
from tests.api.described import DescribedApp
from tests.api.keyed import KEY
from tests.api.people import make_person
from tests.guards.archives import LONG

_OPENING = {
    "SCRIPT_NAME": "",
    "SERVER_NAME": "127.0.0.1",
    "SERVER_PORT": "3001",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "REMOTE_ADDR": "127.0.0.1",
    "REMOTE_PORT": "50000",
    "HTTP_HOST": "127.0.0.1:3001",
    "HTTP_ACCEPT": "application/json",
    "wsgi.version": (1, 0),
    "wsgi.url_scheme": "http",
    "wsgi.errors": io.StringIO(),
    "wsgi.multithread": True,
    "wsgi.multiprocess": True,
    "wsgi.run_once": False,
}


# More than are asked for at once.
_EVENTS = 25


@dataclass(frozen=True, slots=True)
class Question:
    """One request; ``body`` is sent as JSON."""

    path: str
    method: str = "GET"
    body: dict[str, Any] | None = None
    credentials: str = KEY


@dataclass(slots=True)
class Asker:
    """A server without sockets, on one archive."""

    application: Any
    ids: dict[str, Any] = field(default_factory=dict)
    status: str = ""
    is_analyzed: bool = True

    def ask(self, question: Question) -> bytes:
        """Return the body of an answer, which must be a success."""
        path, _, query = question.path.format(**self.ids).partition("?")
        sent = b"" if question.body is None else orjson.dumps(question.body)
        environ = {
            **_OPENING,
            "REQUEST_METHOD": question.method,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "RAW_URI": path,
            "HTTP_AUTHORIZATION": f"Bearer {question.credentials.format(**self.ids)}",
            "wsgi.input": io.BytesIO(sent),
        }
        if sent:
            environ |= {"CONTENT_TYPE": "application/json", "CONTENT_LENGTH": f"{len(sent)}"}
        answer = self.application(environ, self._begin)
        try:
            body = b"".join(answer)
        finally:
            getattr(answer, "close", lambda: None)()
        assert self.status.startswith("2"), (question, self.status, body)
        return body

    def data(self, path: str) -> Any:
        """Return what an answer says."""
        return orjson.loads(self.ask(Question(path)))["data"]

    def _begin(self, status: str, *_: object) -> None:
        self.status = status


def open_archive(path: Path, *, with_member: bool = True) -> Asker:
    """Return a server on an archive, of its own, with nothing remembered.

    Args:
        path: The database.
        with_member: Whether somebody signs in with a password, which takes long by design.
    """
    configure(path)
    connect()
    app = create_app(cors_origins=(), folders=())
    asker = Asker(app)
    if with_member:
        asker.ids["member"] = make_person(DescribedApp(app)).access
    middle = "/api/conversations?limit=20"
    asker.ids["list_cursor"] = _walk(asker, middle)
    asker.ids["message_cursor"] = _walk(asker, f"/api/conversations/{LONG}/messages?limit=50")
    asker.ids["search_cursor"] = _walk(asker, "/api/search?q=text&sort=time&limit=20")
    messages = asker.data(f"/api/conversations/{LONG}/messages?limit=1")["messages"]
    asker.ids["message"] = messages[0]["id"]
    asker.ids["project"] = asker.data("/api/projects")["projects"][0]["id"]
    asker.ids["file"] = asker.data("/api/files?limit=1")["files"][0]["id"]
    asker.ids["event"] = str(asker.data("/api/events?limit=1")["latest_id"])
    for _ in range(_EVENTS):
        made = Question("/api/conversations", "POST", {"title": "A client's own"})
        asker.ids["own"] = orjson.loads(asker.ask(made))["data"]["id"]
    return asker


def _walk(asker: Asker, path: str) -> str:
    """Return the cursor of the second page, which every archive has."""
    return str(asker.data(path)["pagination"]["next_cursor"])


# The endpoints that are asked for most, by what is asked.
QUESTIONS = {
    "health": Question("/health"),
    "readiness": Question("/health/ready"),
    "profile": Question("/api/auth/profile", credentials="{member}"),
    "list": Question("/api/conversations?limit=20"),
    "list by a person": Question("/api/conversations?limit=20", credentials="{member}"),
    "list, next page": Question("/api/conversations?limit=20&cursor={list_cursor}"),
    "list of a project": Question("/api/conversations?limit=20&project_path=/home/ada/project1"),
    "list by tokens": Question("/api/conversations?limit=20&sort_by=total_tokens"),
    "one": Question(f"/api/conversations/{LONG}"),
    "messages": Question(f"/api/conversations/{LONG}/messages?limit=50"),
    "messages, next page": Question(
        f"/api/conversations/{LONG}/messages?limit=50&cursor={{message_cursor}}"
    ),
    "tool uses": Question(f"/api/conversations/{LONG}/tool-uses?limit=20"),
    "one message": Question("/api/messages/{message}"),
    "search, newest first": Question("/api/search?q=text&sort=time&limit=20"),
    "search, newest first, next page": Question(
        "/api/search?q=text&sort=time&limit=20&cursor={search_cursor}"
    ),
    "search, in titles too": Question("/api/search?q=common&sort=time&limit=20"),
    "search, best first": Question("/api/search?q=session7&limit=20"),
    "search for a phrase": Question("/api/search?q=%22session7,+turn%22&limit=20"),
    "projects": Question("/api/projects"),
    "tags": Question("/api/tags"),
    "project": Question("/api/projects/{project}"),
    "files": Question("/api/files?limit=20"),
    "file": Question("/api/files/{file}"),
    "events": Question("/api/events?after={event}&limit=20"),
    "newest events": Question("/api/events?limit=20"),
    "newest events of a type": Question("/api/events?types=budget_threshold&limit=20"),
    "live status": Question("/api/live/status"),
    "new conversation": Question("/api/conversations", "POST", {"title": "Another"}),
    "new message": Question(
        "/api/conversations/{own}/messages", "POST", {"role": "user", "content": "common hello"}
    ),
}
