"""docs/api.md: its curl lines work, and every route stands in it."""

from __future__ import annotations

import re
from pathlib import Path

import falcon.inspect
import pytest

from observatory.app import create_app
from tests.transcripts_for_tests import Transcript

PAGE = (Path(__file__).parents[1] / "docs" / "api.md").read_text()
ADDRESSES = re.findall(r"curl -s 'http://127\.0\.0\.1:3001(/[^']*)'", PAGE)


@pytest.mark.parametrize("address", ADDRESSES)
def test_a_curl_line_works(address, client, write, ingest):
    transcript = Transcript()
    transcript.prompt("hello")
    write(transcript)
    ingest()
    address = address.replace("CONVERSATION_ID", transcript.session_id)
    response = client.get(address.replace("MESSAGE_ID", transcript.uuid(1)))
    assert response.status_int == 200


def test_every_route_stands_in_the_page():
    routes = falcon.inspect.inspect_routes(create_app(cors_origins=(), folders=()))
    shown = {re.sub(r"/([A-Z]+_ID|1)(?=/|$)", "/{}", a.partition("?")[0]) for a in ADDRESSES}
    wanted = {re.sub(r"\{[a-z_]+\}", "{}", route.path) for route in routes}
    assert wanted - shown == {"/", "/index.css"}
