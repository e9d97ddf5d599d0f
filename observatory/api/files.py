"""Transcript files: how far each was read, which lines were bad, and reading them on request."""

from __future__ import annotations

import os
from typing import Any

import falcon
from marshmallow import Schema, validate

from observatory.api import schemas
from observatory.api.answers import answer, answer_page
from observatory.api.auth import scope_of
from observatory.api.bodies import read_json
from observatory.api.columns import FieldNames
from observatory.api.conversation_changes import answer_once, read_wanted_revision
from observatory.api.params import NoParams, PageParams, Text, read_key, read_params
from observatory.api.schemas import FILE_STATUSES
from observatory.errors import Conflict, Forbidden, LockHeld
from observatory.ingest.discover import locate
from observatory.ingest.jobs import jobs, note
from observatory.ingest.places import find_place
from observatory.ingest.uploads import remove_upload
from observatory.store.database import database
from observatory.store.locks import held
from observatory.store.totals import check_revision
from observatory.store.transcript_files import (
    delete_file,
    get_file,
    get_path,
    is_any_processing,
    list_errors,
    list_files,
    mark_reread,
)

LOCK_WAIT_SECONDS = 2.0


class FileParams(PageParams):
    """Which files to list."""

    status = Text(load_default=None, validate=validate.OneOf(FILE_STATUSES))
    columns = FieldNames(schemas.File)


class OneFileParams(NoParams):
    """Which fields of one file."""

    columns = FieldNames(schemas.FileDetail)


class FileErrorParams(PageParams):
    """Which bad lines of a file."""

    columns = FieldNames(schemas.BadLine)


class FileRequest(Schema):
    """The body of ``POST /api/files/process-jsonl``."""

    file_path = Text(required=True, validate=validate.Length(1, 4096))


class Files:
    """``/api/files``: the most recently changed first."""

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer with a page of files."""
        page = list_files(**read_params(req, FileParams), scope=scope_of(req))
        if is_any_processing():
            # That changes without a write, for its reader may die, and moves others' places.
            req.context.etag = None
        answer_page(req, resp, "files", page)


class File:
    """``/api/files/{id}``: one file with its numbers of records and its bad lines."""

    def on_get(self, req: falcon.Request, resp: falcon.Response, file_id: str) -> None:
        """Answer with the file."""
        read_params(req, OneFileParams)
        file = get_file(read_key(file_id), scope=scope_of(req))
        if file["status"] == "processing":
            req.context.etag = None
        answer(req, resp, file)

    def on_delete(self, req: falcon.Request, resp: falcon.Response, file_id: str) -> None:
        """Forget the file; an upload is removed from the disk, conversations stay."""
        read_params(req, NoParams)
        key = read_key(file_id)
        path = get_path(key, scope=scope_of(req))
        revision = read_wanted_revision(req)
        try:
            with held(database.database, "ingest", wait_seconds=LOCK_WAIT_SECONDS):
                check_revision(revision)
                # First, for what lies there is found again by the next ingest.
                is_upload = remove_upload(path, database_path=database.database)
                delete_file(key)
        except LockHeld as error:
            raise Conflict("Transcripts are being read now; try again later.") from error
        answer(req, resp, {"id": key, "file_path": path, "is_removed_from_disk": is_upload})


class FileErrors:
    """``/api/files/{id}/errors``: the lines that could not be read, in the file's order."""

    def on_get(self, req: falcon.Request, resp: falcon.Response, file_id: str) -> None:
        """Answer with a page of bad lines."""
        params = read_params(req, FileErrorParams)
        page = list_errors(read_key(file_id), **params, scope=scope_of(req))
        answer_page(req, resp, "errors", page)


class RereadFile:
    """``/api/files/{id}/reprocess``: reading a file from its start again."""

    def on_post(self, req: falcon.Request, resp: falcon.Response, file_id: str) -> None:
        """Have the file read; what was read of it before is not doubled."""
        read_params(req, NoParams)
        key, scope = read_key(file_id), scope_of(req)
        path = get_path(key, scope=scope)

        def accept() -> dict[str, Any]:
            if not os.path.isfile(locate(path)):
                raise Conflict("The file is gone from the disk; what was read of it stays.")
            mark_reread(key)
            return get_file(key, scope=scope)

        if answer_once(req, resp, b"", status=202, act=accept):
            jobs.submit(path)


class RequestedFiles:
    """``/api/files/process-jsonl``: reading a file that lies where transcripts are."""

    def __init__(self, *, folders: tuple[str, ...]) -> None:
        self._folders = folders

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Have the file read; how far that is stands at ``/api/files/{id}``."""
        read_params(req, NoParams)
        raw, body = read_json(req, FileRequest)
        scope = scope_of(req)
        if not scope.is_whole:
            # What lies there is of any project.
            raise Forbidden(
                "Files of the server are read for who may see all projects only: upload yours to"
                " /api/files/upload."
            )
        found: list[str] = []

        def accept() -> dict[str, Any]:
            place = find_place(
                body["file_path"], folders=self._folders, database_path=database.database
            )
            found.append(place)
            return get_file(note(place), scope=scope)

        answer_once(req, resp, raw, status=202, act=accept)
        for place in found:
            jobs.submit(place)
