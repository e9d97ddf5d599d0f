"""Uploads: a transcript over HTTP, streamed to the disk and read into the archive."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

import falcon
from falcon.media import MultipartFormHandler
from falcon.media.multipart import BodyPart
from marshmallow import Schema, ValidationError, validate

from observatory.api.answers import answer
from observatory.api.auth import scope_of
from observatory.api.params import Text, read_params
from observatory.errors import InvalidParameter
from observatory.ingest.gzipped import gunzip, unpack
from observatory.ingest.jobs import jobs, note
from observatory.ingest.permitting import check_transcript
from observatory.ingest.uploads import Incoming, read_stem, receiving
from observatory.store.database import database
from observatory.store.scopes import WHOLE
from observatory.store.transcript_files import find_state, get_file, get_upload

FORM = "multipart/form-data"
LINES = "application/x-ndjson"
GZIP = "application/gzip"
_TAKEN = (LINES, "application/jsonl", "application/x-jsonlines", GZIP, "application/x-gzip")
# How long an answer waits for a reading to begin, which another ingest puts off, and to end.
BEGIN_SECONDS = 5.0
READ_SECONDS = 60.0
_PIECE_BYTES = 64 * 1024
_STALLED_SECONDS = 30.0
_UNKNOWN_LENGTH = 2**53
_READ_FORM = MultipartFormHandler()


class UploadParams(Schema):
    """The name of a body that has none of its own."""

    filename = Text(load_default=None, validate=validate.Length(1, 255))


class Uploads:
    """``/api/files/upload``: one transcript, as the ``file`` of a form or as the body itself."""

    # It takes as long as the client takes to send, which is bounded piece by piece.
    is_timed = False

    def __init__(self, *, max_bytes: int) -> None:
        self._max_bytes = max_bytes

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Keep the transcript, read it, and answer with what it held and which lines were bad."""
        filename = read_params(req, UploadParams)["filename"]
        media_type = (req.content_type or "").partition(";")[0].strip().lower()
        with _Body(req, max_bytes=self._max_bytes) as body:
            if media_type != FORM and media_type not in _TAKEN:
                raise falcon.HTTPUnsupportedMediaType
            path = self._receive(req, body, media_type=media_type, filename=filename)
        key, resp.status = _read(path)
        answer(req, resp, get_upload(key, scope=scope_of(req)))

    def _receive(
        self, req: falcon.Request, body: _Body, *, media_type: str, filename: str | None
    ) -> str:
        """Store what is uploaded and return its path."""
        pieces = body.pieces()
        with receiving(database.database) as incoming:
            if media_type == FORM:
                stem = self._take_form(req.content_type or "", pieces, incoming)
            else:
                stem = None
                self._take(pieces, incoming, is_gzip="gzip" in media_type or _is_gzip(filename))
            for _ in pieces:
                pass  # What follows the form must be whole too.
            if not incoming.size:
                raise InvalidParameter("file", "It is empty.")
            stem = stem or (read_stem(filename) if filename else None) or incoming.read_name()
            check_transcript(incoming.path, name=stem, scope=scope_of(req))
            return incoming.publish(stem)

    def _take_form(
        self, content_type: str, pieces: Iterator[bytes], incoming: Incoming
    ) -> str | None:
        """Store the one file of a form and return its name."""
        name: str | None = None
        is_taken = False
        try:
            form = _READ_FORM.deserialize(_Pieces(pieces), content_type, _UNKNOWN_LENGTH)
            for part in form:
                _check_part(part, is_taken=is_taken)
                name = part.filename
                self._take(iter(_reader(part), b""), incoming, is_gzip=_is_gzip(name))
                is_taken = True
        except (falcon.HTTPInvalidHeader, falcon.MediaMalformedError, UnicodeDecodeError) as error:
            raise InvalidParameter("file", "Not a form, or one that ends early.") from error
        if not is_taken:
            raise InvalidParameter("file", "Missing data for required field.")
        return read_stem(name) if name else None

    def _take(self, pieces: Iterator[bytes], incoming: Incoming, *, is_gzip: bool) -> None:
        incoming.take(unpack(pieces, must=is_gzip), max_bytes=self._max_bytes)


def _check_part(part: BodyPart, *, is_taken: bool) -> None:
    """Return quietly when a part of a form is the one that is wanted.

    Raises:
        ValidationError: It is another one, or a second one.
    """
    if part.name != "file":
        raise ValidationError("Unknown field.", re.sub(r"\W", "_", part.name or "")[:64] or "_")
    if is_taken:
        raise ValidationError("Takes one file.", "file")


def _reader(part: BodyPart) -> Callable[[], bytes]:
    return lambda: part.stream.read(_PIECE_BYTES)


def _is_gzip(filename: str | None) -> bool:
    return filename is not None and filename.lower().endswith(".gz")


def _read(path: str) -> tuple[int, str]:
    """Have a stored upload read, and wait for it; return its key and the status of the answer."""
    state = find_state(path)
    if state is not None and state.status == "completed" and not state.is_reread:
        return state.key, falcon.HTTP_200
    key = note(path)
    done = jobs.submit(path)
    if not done.wait(BEGIN_SECONDS) and _status(key) == "processing":
        done.wait(READ_SECONDS)
    is_over = _status(key) in ("completed", "error")
    return key, falcon.HTTP_201 if is_over else falcon.HTTP_202


def _status(key: int) -> str:
    return str(get_file(key, scope=WHOLE)["status"])


class _Body:
    """The body of a request in pieces: bounded, checked to be whole, unpacked when it is gzip."""

    def __init__(self, req: falcon.Request, *, max_bytes: int) -> None:
        self._encoding = (req.get_header("Content-Encoding") or "identity").strip().lower()
        self._length = req.content_length
        if self._length is None and not req.env.get("wsgi.input_terminated"):
            self._length = 0  # Its end could not be told.
        self._max_bytes = max_bytes
        self._read = req.stream.read
        self._count = 0
        self._is_broken = False
        # A client that stalls must not hold this thread for ever.
        self._socket: Any = req.env.get("gunicorn.socket")

    def __enter__(self) -> _Body:
        if self._socket is not None:
            self._socket.settimeout(_STALLED_SECONDS)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if isinstance(error, Exception):
            self._drain()
        if self._socket is not None:
            self._socket.settimeout(None)

    def pieces(self) -> Iterator[bytes]:
        """Return the pieces, to be gone through once.

        Raises:
            falcon.HTTPUnsupportedMediaType: They have a coding that is not known here.
            falcon.HTTPContentTooLarge: They are too many; maybe this shows on the way.
        """
        if self._encoding not in ("identity", "gzip"):
            raise falcon.HTTPUnsupportedMediaType
        if self._length is not None and self._length > self._max_bytes:
            raise falcon.HTTPContentTooLarge
        return gunzip(self._packed()) if self._encoding == "gzip" else self._packed()

    def _packed(self) -> Iterator[bytes]:
        while self._length is None or self._count < self._length:
            piece = self._read_piece()
            if self._count > self._max_bytes:
                raise falcon.HTTPContentTooLarge
            if piece:
                yield piece
            elif self._length is None:
                return
            else:
                self._is_broken = True
                raise InvalidParameter("file", "The body ends early.")

    def _read_piece(self) -> bytes:
        wanted = _PIECE_BYTES if self._length is None else self._length - self._count
        try:
            piece = bytes(self._read(min(wanted, _PIECE_BYTES)))
        except Exception as error:
            # A lost or stalled connection, or broken chunks: each server has errors of its own.
            self._is_broken = True
            raise InvalidParameter("file", "The body ends early.") from error
        self._count += len(piece)
        return piece

    def _drain(self) -> None:
        """Read on for a while: many clients listen for a refusal only once all is sent."""
        limit = 2 * self._max_bytes
        with contextlib.suppress(InvalidParameter):
            while not self._is_broken and self._count < min(limit, self._length or limit):
                if not self._read_piece():
                    return


class _Pieces:
    """Pieces as a stream, for the reader of forms."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = b""

    def read(self, size: int | None = None, /) -> bytes:
        """Return up to so many bytes, and none at the end."""
        if not self._rest:
            self._rest = next(self._pieces, b"")
        piece, self._rest = self._rest[:size], self._rest[size:]
        return piece
