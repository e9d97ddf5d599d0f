"""``/``."""

from __future__ import annotations

import re

import pytest

from observatory.app import create_app
from tests.api.keyed import KeyedApp


def test_the_page_names_the_folders_that_are_read(client):
    assert "<code>/nowhere/projects</code>" in client.get("/").text


def test_folders_are_escaped(db):
    app = KeyedApp(create_app(cors_origins=(), folders=("/a<script>&/",)))
    page = app.get("/").text
    assert "/a&lt;script&gt;&amp;/" in page
    assert "<script" not in page


def test_every_link_leads_somewhere(client):
    links = re.findall(r'href="([^"]+)"', client.get("/").text)
    assert len(links) > 5
    for link in links:
        assert client.get(link).status_int == 200


def test_the_page_may_load_nothing_but_its_style(client):
    page = client.get("/")
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    policy = page.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'self'")
    assert "unsafe" not in policy
    assert "style=" not in page.text


def test_the_style_is_served_as_css(client):
    assert client.get("/index.css").headers["Content-Type"] == "text/css; charset=utf-8"


@pytest.mark.parametrize("path", ["/", "/index.css"])
def test_head_is_get_without_a_body(client, path):
    assert client.head(path).headers["Content-Length"] == str(len(client.get(path).body))
