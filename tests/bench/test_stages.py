"""Every stage is described, and every endpoint that reads is in one of them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import falcon.inspect
import pytest

from observatory.app import create_app
from observatory.page.shell import VIEWS
from tests.bench.endpoints import list_core, list_others
from tests.bench.stages import GROWTH, STAGES
from tests.transcripts_for_tests import Transcript

# Endpoints that are not loaded, and why.
LEFT_OUT = {
    **{address: "the frame of a view" for address in VIEWS if address != "/"},
    "/assets/{digest}/{path:path}": "a file",
    "/docs.css": "a file",
    "/login": "a form",
    "/ws": "a stream: stage live",
    "/api/events/stream": "a stream: stage live",
    "/api/auth/profile": "of people, not of keys; guarded in tests/guards",
    "/api/users/{user_id}": "one row of few",
    "/api/api-keys/{key_id}": "one row of few",
    "/api/budgets/{budget_id}": "one row of few",
    "/api/webhooks/{webhook_id}": "one row of few",
    "/api/webhooks/{webhook_id}/deliveries": "there are none",
}


class _Inside:
    """The application, asked as a server is."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def data(self, path: str) -> Any:
        return self._client.get(path).json["data"]


def _list_reading_routes() -> set[str]:
    app = create_app(cors_origins=(), folders=())
    routes = falcon.inspect.inspect_routes(app)
    return {
        route.path
        for route in routes
        if any(method.method == "GET" and not method.internal for method in route.methods)
    }


@pytest.fixture
def paths(client, write, ingest) -> dict[str, str]:
    transcript = Transcript()
    transcript.prompt("What is this error?")
    transcript.answer("None.")
    write(transcript)
    ingest()
    place: Any = _Inside(client)
    return list_core(transcript.session_id) | list_others(place, transcript.session_id)


def test_every_endpoint_that_reads_is_loaded_or_left_out_with_a_reason(paths):
    app = create_app(cors_origins=(), folders=())
    loaded = {app._router.find(urlsplit(path).path)[3] for path in paths.values()}
    assert _list_reading_routes() - loaded == set(LEFT_OUT)


def test_what_is_loaded_is_answered(client, paths):
    statuses = {name: client.get(path, status="*").status_int for name, path in paths.items()}
    assert set(statuses.values()) == {200}, statuses


def test_every_stage_is_in_the_page_of_the_bench():
    page = Path(__file__).with_name("README.md").read_text()
    named = re.findall(r"^\| (`[a-z`, ]+`) \| `\w+\.py`", page, re.MULTILINE)
    assert {stage for cell in named for stage in re.findall(r"\w+", cell)} == {*STAGES, *GROWTH}
