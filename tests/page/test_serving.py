"""The page as it is served: its HTML for who is signed in, its files for ever."""

from __future__ import annotations

import gzip
import re
from urllib.parse import parse_qs, urlsplit

import falcon.inspect
import pytest
import webtest
from webob import Request
from zstandard import ZstdDecompressor

from observatory.accounts.signing_in import make_link_token
from observatory.app import create_app
from observatory.page.assets import MEDIA_TYPES, read_assets
from observatory.page.shell import VIEWS
from tests.api.asking import check_refusal
from tests.api.people import PASSWORD, add_user

ASSETS = read_assets()
FILES = sorted(ASSETS.by_path)
EACH_VIEW = pytest.mark.parametrize("address", [re.sub(r"{\w+}", "1", view) for view in VIEWS])
EACH_FILE = pytest.mark.parametrize("path", FILES)
MOST_BYTES_OF_THE_FIRST_VIEW = 200_000


def get_file(client, path, coding=None):
    """Return an answer as it is: WebTest would unpack it."""
    headers = {"Accept-Encoding": coding} if coding else {}
    return Request.blank(f"{ASSETS.base}/{path}", headers=headers).get_response(client.app)


def addresses_in(page) -> list[str]:
    return re.findall(r'(?:href|src)="([^"]+)"', page.text)


@EACH_VIEW
def test_who_is_signed_in_gets_the_page(client, address):
    page = client.get(f"{address}?period=90d&whatever=1")
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert page.headers["Cache-Control"] == "private, no-cache"
    # Browsers tell where its forms are from only where they may tell it in Referer.
    assert page.headers["Referrer-Policy"] == "same-origin"
    assert 'id="page"' in page.text


@EACH_VIEW
def test_the_page_is_not_sent_again_to_who_has_it(client, address):
    tag = client.get(address).headers["ETag"]
    again = client.get(address, headers={"If-None-Match": tag})
    assert (again.status_int, again.body) == (304, b"")
    assert "script-src 'self'" in again.headers["Content-Security-Policy"]


@EACH_VIEW
def test_the_page_may_load_its_own_files_alone(client, address):
    page = client.get(address)
    policy = page.headers["Content-Security-Policy"]
    rules = dict(rule.strip().partition(" ")[::2] for rule in policy.split(";"))
    assert rules["default-src"] == rules["base-uri"] == rules["frame-ancestors"] == "'none'"
    assert rules["script-src"] == rules["style-src"] == rules["connect-src"] == "'self'"
    assert rules["form-action"] == "'self'"
    assert rules["require-trusted-types-for"] == "'script'"
    assert "unsafe" not in policy and "http" not in policy and "*" not in policy
    assert "style=" not in page.text and not re.search(r"<script[^>]*>[^<]", page.text)
    for link in set(addresses_in(page)) - {"/docs"}:
        assert link.startswith(f"{ASSETS.base}/")
        assert client.get(link).status_int == 200


@EACH_VIEW
def test_a_stranger_comes_back_to_where_they_wanted_to_go(client, db, address):
    stranger = webtest.TestApp(create_app(cors_origins=(), folders=()))
    answer = stranger.get(f"{address}?q=a+b%26c")
    if address == "/":
        assert "/login" in answer.text and "<script" not in answer.text
        return
    assert answer.status_int == 303
    following = parse_qs(urlsplit(answer.headers["Location"]).query)["next"][0]
    assert following == f"{address}?q=a+b%26c"
    add_user("ada@example.org")
    form = answer.follow().forms[0]
    form["email"], form["password"] = "ada@example.org", PASSWORD
    done = form.submit(headers={"Origin": "http://localhost:80"})
    assert (done.status_int, done.headers["Location"]) == (303, following)
    assert 'id="page"' in done.follow().text


@pytest.mark.parametrize(
    "following",
    ["//evil.example/", "https://evil.example/", "/\\evil.example", "\\\\evil.example", "evil", "",
     "/a\nSet-Cookie: b", "/é", "/%0d%0a/../\\", "javascript:alert(1)", "/" + "a" * 3000],
)  # fmt: skip
def test_who_signs_in_goes_nowhere_else(db, following):
    browser = webtest.TestApp(create_app(cors_origins=(), folders=()))
    answer = browser.get("/login", {"token": make_link_token(), "next": following})
    assert (answer.status_int, answer.headers["Location"]) == (303, "/")


def test_an_address_of_no_view_is_not_found(client):
    for path in ("/nothing", "/index.css", "/conversations/a/b/c", "/assets", "/assets/x"):
        check_refusal(client.get(path, expect_errors=True), 404, "NOT_FOUND")


@EACH_FILE
def test_each_file_is_there_for_ever(client, path):
    answer = get_file(client, path)
    assert answer.body == ASSETS.by_path[path].body
    assert answer.headers["Content-Type"] == MEDIA_TYPES[path.rpartition(".")[2]]
    assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "Set-Cookie" not in answer.headers


@EACH_FILE
def test_each_file_is_compressed_well(client, path):
    plain, zipped, packed = (get_file(client, path, coding) for coding in (None, "gzip", "zstd"))
    assert zipped.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(zipped.body) == plain.body
    assert len(zipped.body) <= len(gzip.compress(plain.body, 9))
    assert packed.headers["Content-Encoding"] == "zstd"
    assert ZstdDecompressor().decompress(packed.body) == plain.body
    assert len({answer.headers["ETag"] for answer in (plain, zipped, packed)}) == 3
    assert "Accept-Encoding" in zipped.headers["Vary"]


def test_a_file_is_not_sent_again_to_who_has_it(client):
    path = f"{ASSETS.base}/js/main.js"
    tag = client.get(path).headers["ETag"]
    again = client.get(path, headers={"If-None-Match": tag})
    assert (again.status_int, again.body) == (304, b"")
    assert again.headers["Cache-Control"] == "public, max-age=31536000, immutable"


@pytest.mark.parametrize(
    "path",
    ["/assets/0123456789ab/js/main.js", f"{ASSETS.base}/js/nothing.js", f"{ASSETS.base}/",
     f"{ASSETS.base}/../shell.py", f"{ASSETS.base}/js/../js/main.js", f"{ASSETS.base}//etc/passwd"],
)  # fmt: skip
def test_other_files_are_not_there(client, path):
    answer = client.get(path, expect_errors=True)
    check_refusal(answer, 404, "NOT_FOUND")
    assert answer.headers["Cache-Control"] == "no-store"


def test_the_first_view_is_small(client):
    page = client.get("/", headers={"Accept-Encoding": "gzip"})
    own = {link.removeprefix(f"{ASSETS.base}/") for link in addresses_in(client.get("/"))}
    own = {path for path in own if path in ASSETS.by_path} | {"vendor/uplot.css"}
    sizes = {path: len(get_file(client, path, "gzip").body) for path in own}
    assert len(page.body) + sum(sizes.values()) < MOST_BYTES_OF_THE_FIRST_VIEW


def test_the_views_of_the_page_and_of_the_server_are_the_same():
    text = ASSETS.by_path["js/routes.js"].body.decode()
    pairs = re.findall(r'path: "([^"]+)",\s*view: "(\w+)",\s*load: \(\) => import\("([^"]+)"', text)
    assert {path: view for path, view, _ in pairs} == VIEWS
    for _, view, module in pairs:
        assert module == f"./views/{view}.js"
    assert text.count("import(") == len(pairs)


def test_a_view_takes_no_address_of_anything_else():
    routes = falcon.inspect.inspect_routes(create_app(cors_origins=(), folders=()))
    mine = [route.path for route in routes if route.class_name == "Page"]
    assert sorted(mine) == sorted(VIEWS)
    assert not any(path.startswith(("/api", "/login", "/docs", "/metrics")) for path in VIEWS)
