"""Transcript files: how far each was read."""

from __future__ import annotations

import falcon
from marshmallow import validate

from observatory.api import schemas
from observatory.api.answers import answer, answer_page
from observatory.api.columns import FieldNames
from observatory.api.params import NoParams, PageParams, Text, read_key, read_params
from observatory.api.schemas import FILE_STATUSES
from observatory.store.transcript_files import get_file, list_files


class FileParams(PageParams):
    """Which files to list."""

    status = Text(load_default=None, validate=validate.OneOf(FILE_STATUSES))
    columns = FieldNames(schemas.File)


class OneFileParams(NoParams):
    """Which fields of one file."""

    columns = FieldNames(schemas.FileDetail)


class Files:
    """``/api/files``: the most recently changed first."""

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer with a page of files."""
        answer_page(req, resp, "files", list_files(**read_params(req, FileParams)))


class File:
    """``/api/files/{id}``: one file with its numbers of records and its bad lines."""

    def on_get(self, req: falcon.Request, resp: falcon.Response, file_id: str) -> None:
        """Answer with the file."""
        read_params(req, OneFileParams)
        answer(req, resp, get_file(read_key(file_id)))
