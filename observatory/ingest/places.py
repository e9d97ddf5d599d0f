"""Which files may be read on request: transcripts in the configured folders, and uploads."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from observatory.errors import FileOutside, InvalidParameter, NotFound
from observatory.ingest.discover import SUFFIX, locate_given, text_path
from observatory.ingest.uploads import stored_uploads
from observatory.store.database import uploads_folder


def find_place(path: str, *, folders: Iterable[str], database_path: str | Path) -> str:
    """Return the path under which an ingest of the folders would find a file.

    Links are followed first, so one that leads out of the folders leads outside.

    Raises:
        FileOutside: It is not in any of the folders, whether it exists or not.
        NotFound: It would be in one, and is not there.
        InvalidParameter: It is no transcript.
    """
    if not os.path.isabs(path):
        raise FileOutside
    real = os.path.realpath(locate_given(path))
    uploads = os.fspath(uploads_folder(database_path))
    for folder in (*folders, uploads):
        inside = os.path.relpath(real, os.path.realpath(folder))
        if inside.split(os.sep, 1)[0] in (os.pardir, os.curdir):
            continue
        place = text_path(os.path.join(os.path.abspath(folder), inside))
        if folder == uploads and place not in stored_uploads(database_path):
            break
        _check_transcript(path, real)
        return place
    else:
        raise FileOutside
    raise NotFound("file", path)


def _check_transcript(path: str, real: str) -> None:
    try:
        mode = os.stat(real).st_mode
    except OSError as error:
        raise NotFound("file", path) from error
    if not real.endswith(SUFFIX) or not stat.S_ISREG(mode):
        raise InvalidParameter("file_path", "Takes the path of a .jsonl file.")
