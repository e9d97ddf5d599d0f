"""A whole conversation as a file: streamed, so that its size does not matter."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import falcon
from marshmallow import fields, validate

from observatory.api.auth import note_read, scope_of
from observatory.api.export_data import JsonDocument, JsonLines
from observatory.api.export_html import HtmlPage
from observatory.api.export_markdown import Markdown
from observatory.api.export_parts import ExportFormat
from observatory.api.params import NoParams, Text, read_params
from observatory.errors import NotFound
from observatory.store.exports import read_conversation, read_messages
from observatory.store.scopes import Scope

FORMATS: dict[str, type[ExportFormat]] = {
    "jsonl": JsonLines,
    "json": JsonDocument,
    "markdown": Markdown,
    "html": HtmlPage,
}
_PIECE_BYTES = 64 * 1024
_MAX_TITLE_CHARACTERS = 60


class ExportParams(NoParams):
    """As what to export."""

    format = Text(load_default="jsonl", validate=validate.OneOf(tuple(FORMATS)))
    include_subagents = fields.Boolean(
        load_default=False, truthy={"true", "1"}, falsy={"false", "0"},
        error_messages={"invalid": "Takes true or false."},
    )  # fmt: skip


class ConversationExport:
    """``/api/conversations/{id}/export``: all of it, as a file."""

    def on_get(self, req: falcon.Request, resp: falcon.Response, conversation_id: str) -> None:
        """Answer with the file, which is made while it is sent."""
        params = read_params(req, ExportParams)
        scope = scope_of(req)
        conversation = read_conversation(conversation_id, scope=scope)
        note_read(
            req, "conversation.export", f"conversation:{conversation_id}", format=params["format"]
        )
        form = FORMATS[params["format"]]()
        resp.content_type = form.media_type
        name = make_filename(conversation, form.extension)
        resp.set_header("Content-Disposition", f'attachment; filename="{name}"')
        if form.policy is not None:
            resp.set_header("Content-Security-Policy", form.policy)
        # It is made when the request is over: what it needs to know of that goes along.
        include = params["include_subagents"]
        resp.stream = join(write(form, conversation, scope=scope, include_subagents=include))


def make_filename(conversation: dict[str, Any], extension: str) -> str:
    """Return a name of ASCII letters, digits and hyphens that begins as the title does."""
    title = re.sub(r"[^A-Za-z0-9]+", "-", conversation["title"][:_MAX_TITLE_CHARACTERS])
    identifier = re.sub(r"[^A-Za-z0-9]+", "-", conversation["id"][:100])
    return "-".join(p for p in (title.strip("-").lower(), identifier.strip("-")) if p) + extension


def write(
    form: ExportFormat, conversation: dict[str, Any], *, scope: Scope, include_subagents: bool
) -> Iterator[str | bytes]:
    """Yield a conversation in a format, and below it its subagents when they are wanted.

    When one is removed meanwhile the file ends properly, and says that it is not complete.
    """
    yield form.open(conversation, include_subagents=include_subagents)
    is_complete = True
    waiting, known = [conversation["id"]], {conversation["id"]}
    while waiting:
        identifier = waiting.pop()
        try:
            if identifier != conversation["id"]:
                subagent = read_conversation(identifier, scope=scope)
                yield form.open_subagent(subagent)
                children = subagent["subagents"]
            else:
                children = conversation["subagents"]
            for message in read_messages(identifier, scope=scope):
                yield form.message(message)
            if identifier != conversation["id"]:
                yield form.close_subagent()
        except NotFound:
            is_complete = False
            continue
        if include_subagents:
            found = [child["id"] for child in children if child["id"] not in known]
            known.update(found)
            waiting.extend(reversed(found))
    yield form.close(is_complete=is_complete)


def join(pieces: Iterator[str | bytes]) -> Iterator[bytes]:
    """Yield small pieces joined to ones that are worth sending."""
    waiting: list[bytes] = []
    size = 0
    for piece in pieces:
        encoded = piece if isinstance(piece, bytes) else piece.encode()
        waiting.append(encoded)
        size += len(encoded)
        if size >= _PIECE_BYTES:
            yield b"".join(waiting)
            waiting, size = [], 0
    yield b"".join(waiting)
