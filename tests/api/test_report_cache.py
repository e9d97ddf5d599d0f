"""How much memory kept reports take, whatever their size."""

from __future__ import annotations

import gc
import tracemalloc
from types import SimpleNamespace
from typing import Any

import falcon
from falcon import testing

from observatory.accounts.permissions import READ
from observatory.api.report_cache import ReportCache

MAX_BYTES = 256 * 1024


def ask(cache: ReportCache, tag: str, report: dict[str, Any]) -> None:
    request = testing.create_req()
    request.context.etag = tag
    request.context.identity = SimpleNamespace(permissions=frozenset({READ}))
    request.context.request_id = "r"
    cache.answer(request, falcon.Response(), "csv", lambda: report)


def test_small_reports_take_no_more_than_large_ones():
    for rows in (1, 200):
        report = {"rows": [{"date": "2026-01-01", "tokens": number} for number in range(rows)]}
        cache = ReportCache(MAX_BYTES)
        tracemalloc.start()
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        for number in range(3 * MAX_BYTES // 100 // rows):
            ask(cache, f'"{number}"', report)
        gc.collect()
        taken = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
        assert 0.3 * MAX_BYTES < taken < 1.3 * MAX_BYTES, rows
