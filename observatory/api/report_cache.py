"""Answering with a report, which is kept as long as nothing changes.

A report names the moment of the archive that it is of, who asks, and all that it was asked: its
entity tag does (api/etags.py). So that is what it is kept under.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from threading import Lock
from typing import Any

import falcon
import orjson
from orjson import Fragment

from observatory.accounts.permissions import READ
from observatory.api.answers import answer
from observatory.api.auth import identity_of
from observatory.api.report_forms import MEDIA_TYPES, write_rows

MAX_BYTES = 8 * 1024 * 1024
# What the dictionary and two objects take beside their contents.
_ENTRY_BYTES = 500


class ReportCache:
    """The last reports of one worker.

    Args:
        max_bytes: How much they may be together.
    """

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._bytes = 0
        self._lock = Lock()

    def answer(
        self,
        req: falcon.Request,
        resp: falcon.Response,
        form: str,
        make: Callable[[], dict[str, Any]],
    ) -> None:
        """Answer with a report in a form: one that is kept, or a new one.

        Who may not read conversations is not told their titles.
        """
        tag: str | None = getattr(req.context, "etag", None)
        made = None if tag is None else self._find(tag)
        if made is None:
            report = make()
            if READ not in identity_of(req).permissions:
                _leave_out_titles(report)
            made = orjson.dumps(report) if form == "json" else write_rows(_rows_of(report), form)
            if tag is not None:
                self._keep(tag, made)
        if form == "json":
            answer(req, resp, Fragment(made))
            return
        resp.content_type = MEDIA_TYPES[form]
        resp.data = made
        name = req.path.removeprefix("/api/analytics/").replace("/", "-")
        resp.set_header("Content-Disposition", f'attachment; filename="{name}.{form}"')

    def _find(self, tag: str) -> bytes | None:
        with self._lock:
            made = self._kept.get(tag)
            if made is not None:
                self._kept.move_to_end(tag)
        return made

    def _keep(self, tag: str, made: bytes) -> None:
        with self._lock:
            if tag in self._kept or len(made) > self._max_bytes // 4:
                return
            # A copy: what orjson returns may hold several times the memory that its length tells.
            self._kept[tag] = bytes(memoryview(made))
            self._bytes += _weigh(tag, made)
            while self._bytes > self._max_bytes:
                self._bytes -= _weigh(*self._kept.popitem(last=False))


def _weigh(tag: str, made: bytes) -> int:
    return len(made) + len(tag) + _ENTRY_BYTES


def _leave_out_titles(value: Any) -> None:
    if isinstance(value, dict):
        if "title" in value:
            value["title"] = None
        for inner in value.values():
            _leave_out_titles(inner)
    elif isinstance(value, list):
        for inner in value:
            _leave_out_titles(inner)


def _rows_of(report: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of a report: of a tree its nodes, of a comparison its sides."""
    if "tree" in report:
        return list(_nodes(report["tree"]))
    if "rows" in report:
        rows: list[dict[str, Any]] = report["rows"]
        return rows
    return [report["this"], report["against"]]


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield {name: value for name, value in node.items() if name != "subagents"}
    for below in node["subagents"]:
        yield from _nodes(below)
