"""``/login`` and ``/logout``: a link that signs in once, a form, and a cookie."""

from __future__ import annotations

import re

import peewee
import pytest
import webtest

from observatory.accounts.signing_in import make_link_token
from observatory.api.clients import Hosts
from observatory.app import create_app
from observatory.store import users
from observatory.store.database import execute, fetch_one
from tests.api.asking import check_refusal
from tests.api.people import PASSWORD, add_key, add_user

ADA = "ada@example.org"
OWN = {"Origin": "http://localhost:80"}


@pytest.fixture
def browser(db) -> webtest.TestApp:
    """A client that keeps cookies, as a browser does."""
    origins = ("http://localhost:3000",)
    app = create_app(cors_origins=origins, cookie_origins=origins, folders=("/x",))
    return webtest.TestApp(app)


def open_link(browser, token=None):
    return browser.get(f"/login?token={token or make_link_token()}", expect_errors=True)


def log_in(browser, email=ADA, password=PASSWORD, **options):
    form = {"email": email, "password": password}
    return browser.post("/login", form, expect_errors=True, **options)


def test_a_link_signs_in_as_who_runs_the_server(browser):
    answer = open_link(browser)
    assert (answer.status_int, answer.headers["Location"]) == (303, "/")
    assert 'id="page"' in answer.follow().text
    profile = browser.get("/api/auth/profile").json["data"]
    assert profile["user"] is None and "admin" in profile["permissions"]


def test_a_form_is_small(browser):
    form = b"&".join(b"a%x=" % number for number in range(20_000))
    answer = browser.post(
        "/login", form, content_type="application/x-www-form-urlencoded", expect_errors=True
    )
    check_refusal(answer, 413, "PAYLOAD_TOO_LARGE")


def test_a_link_holds_once(browser):
    token = make_link_token()
    open_link(browser, token)
    browser.reset()
    answer = open_link(browser, token)
    assert answer.status_int == 401
    assert "observatory link" in answer.text and "Set-Cookie" not in answer.headers


def test_looking_at_a_link_does_not_use_it(browser):
    token = make_link_token()
    assert browser.head(f"/login?token={token}").status_int == 200
    assert open_link(browser, token).status_int == 303


def test_an_old_link_and_an_invented_one_are_refused(browser):
    token = make_link_token()
    execute("UPDATE one_time_tokens SET expires_at = '2026-01-01T00:00:00.000Z'")
    for text in (token, "x", "%00", "%F0%9F%92%A9", "../", "a" * 3000):
        answer = browser.get(f"/login?token={text}", expect_errors=True)
        assert answer.status_int in (400, 401)
        assert "Set-Cookie" not in answer.headers


def test_invented_links_wait_for_nobody_who_writes(browser, db):
    other = peewee.SqliteDatabase(str(db))
    with other.connection_context(), other.atomic("IMMEDIATE"):
        assert open_link(browser, "invented").status_int == 401


def test_a_setup_token_is_no_link(browser):
    from observatory.accounts.signing_in import make_setup_token

    assert open_link(browser, make_setup_token()).status_int == 401


def test_the_cookie_is_kept_from_scripts_and_other_sites(browser):
    cookie = open_link(browser).headers["Set-Cookie"]
    parts = [part.strip() for part in cookie.split(";")]
    assert parts[0].startswith("observatory-80=obr_")
    assert {"HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=86400"} <= set(parts)
    assert not any(part.startswith("Domain") for part in parts)


def test_over_tls_the_cookie_is_for_tls_and_this_host_alone(db):
    app = webtest.TestApp(
        create_app(cors_origins=(), folders=(), trusted_proxies=("127.0.0.1",)),
        extra_environ={"REMOTE_ADDR": "127.0.0.1"},
    )
    headers = {"X-Forwarded-Proto": "https"}
    answer = app.get(f"/login?token={make_link_token()}", headers=headers)
    cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith("__Host-observatory=") and "; Secure" in cookie
    value = cookie.partition(";")[0]
    good = app.get("/api/conversations", headers={**headers, "Cookie": value})
    assert good.status_int == 200
    # Without TLS it is another cookie's name.
    app.reset()
    bad = app.get("/api/conversations", headers={"Cookie": value}, expect_errors=True)
    check_refusal(bad, 401, "UNAUTHORIZED")


def test_the_form_signs_in_with_a_password(browser):
    add_user(ADA, "viewer")
    page = browser.get("/login")
    form = page.forms[0]
    form["email"], form["password"] = ADA, PASSWORD
    answer = form.submit()
    assert answer.status_int == 303
    assert 'id="page"' in answer.follow().text
    assert browser.get("/api/auth/profile").json["data"]["user"]["email"] == ADA


def test_the_form_refuses_in_one_way(browser):
    add_user(ADA)
    texts = set()
    for email, password in (
        (ADA, "wrong password"), ("nobody@example.org", "wrong password"), ("", ""),
        ("<script>", "x"), (ADA, "\udcff"), (ADA, ""), (ADA, "x" * 2000),
    ):  # fmt: skip
        form = f"email={email}&password={password}".encode("utf-8", "surrogatepass")
        answer = browser.post("/login", form, expect_errors=True)
        assert answer.status_int == 401
        texts.add(answer.text)
    assert len(texts) == 1
    assert "script" not in texts.pop()


def test_the_form_is_limited(browser):
    add_user(ADA)
    statuses = [log_in(browser, password="wrong password").status_int for _ in range(11)]
    assert statuses == [401] * 10 + [429]


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", ""])
def test_the_form_is_a_form(browser, content_type):
    answer = browser.post("/login", b"{}", content_type=content_type, expect_errors=True)
    check_refusal(answer, 415, "UNSUPPORTED_MEDIA_TYPE")


def test_signing_out_ends_the_sign_in_and_takes_the_cookie_back(browser):
    open_link(browser)
    cookie = browser.cookies["observatory-80"]
    answer = browser.post("/logout", headers=OWN)
    assert answer.status_int == 303
    assert "01 Jan 1970" in answer.headers["Set-Cookie"]
    browser.reset()
    again = browser.get(
        "/api/conversations", headers={"Cookie": f"observatory-80={cookie}"}, expect_errors=True
    )
    check_refusal(again, 401, "UNAUTHORIZED")


def test_who_is_not_signed_in_signs_out_all_the_same(browser):
    assert browser.post("/logout").status_int == 303


def test_strangers_see_how_to_come_in_and_nothing_else(browser):
    page = browser.get("/")
    assert "/login" in page.text and "<script" not in page.text
    assert page.headers["Cache-Control"] == "no-store"
    links = re.findall(r'href="([^"]+)"', page.text)
    assert len(links) > 5
    for link in links:
        assert browser.get(link).status_int == 200


def test_pages_may_load_and_send_nothing_elsewhere(browser):
    for path in ("/", "/login"):
        answer = browser.get(path)
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "form-action 'self'" in policy
        # Browsers hide where a form is from when they may not tell it to the server itself.
        assert answer.headers["Referrer-Policy"] == "same-origin"
        assert "<script" not in answer.text and "style=" not in answer.text


# Another site's page


@pytest.mark.parametrize(
    ("headers", "is_taken"),
    [
        ({}, False),
        ({"Origin": "http://localhost:80"}, True),
        ({"Origin": "http://localhost:3000"}, True),
        ({"Origin": "http://evil.example"}, False),
        ({"Origin": "null"}, False),
        ({"Origin": "http://localhost:81"}, False),
        ({"Sec-Fetch-Site": "same-origin"}, True),
        ({"Sec-Fetch-Site": "same-site"}, False),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": "none"}, False),
        ({"X-CSRF-Token": "right"}, True),
        ({"X-CSRF-Token": "wrong"}, False),
        ({"X-CSRF-Token": ""}, False),
        ({"X-CSRF-Token": "right", "Origin": "http://evil.example"}, False),
        ({"X-CSRF-Token": "wrong", "Sec-Fetch-Site": "same-origin"}, False),
        ({"Referer": "http://localhost:80/"}, False),
        ({"X-Requested-With": "XMLHttpRequest"}, False),
    ],
    ids=str,
)
def test_a_change_with_a_cookie_is_of_a_page_of_ours(browser, headers, is_taken):
    open_link(browser)
    if headers.get("X-CSRF-Token") == "right":
        token = browser.get("/api/auth/profile").json["data"]["csrf_token"]
        headers = {**headers, "X-CSRF-Token": token}
    body = {"title": "From a page"}
    answer = browser.post_json("/api/conversations", body, headers=headers, expect_errors=True)
    if is_taken:
        assert answer.status_int == 201
    else:
        check_refusal(answer, 403, "FORBIDDEN")
        assert fetch_one("SELECT count(*) FROM conversations") == (0,)


def test_a_read_with_a_cookie_needs_no_proof_and_changes_nothing(browser):
    open_link(browser)
    assert browser.get("/api/conversations", headers={"Sec-Fetch-Site": "cross-site"})


def test_a_key_needs_no_proof(client):
    assert client.post_json("/api/conversations", {"title": "From a program"}).status_int == 201


def test_bad_credentials_in_a_header_are_not_mended_by_a_cookie(browser):
    open_link(browser)
    answer = browser.get(
        "/api/conversations", headers={"Authorization": "Bearer x"}, expect_errors=True
    )
    check_refusal(answer, 401, "UNAUTHORIZED")


def test_another_sites_form_can_not_sign_somebody_in(browser):
    add_user(ADA)
    answer = log_in(browser, headers={"Origin": "http://evil.example"})
    check_refusal(answer, 403, "FORBIDDEN")


def test_a_page_signs_in_through_the_api_for_a_cookie(browser):
    add_user(ADA)
    body = {"email": ADA, "password": PASSWORD, "cookie": True}
    data = browser.post_json("/api/auth/login", body).json["data"]
    assert "access_token" not in data
    assert browser.get("/api/auth/profile").json["data"]["csrf_token"] == data["csrf_token"]
    change = {"current_password": PASSWORD, "new_password": "another good password"}
    old = browser.cookies["observatory-80"]
    browser.post_json("/api/auth/password", change, headers=OWN)
    assert browser.cookies["observatory-80"] != old
    assert browser.get("/api/auth/profile").status_int == 200
    browser.post("/api/auth/logout", headers=OWN)
    assert "observatory-80" not in browser.cookies


def test_who_is_disabled_is_out_of_the_page_at_once(browser):
    user = add_user(ADA)
    log_in(browser)
    assert browser.get("/api/conversations").status_int == 200
    users.update_user(user, is_disabled=True)
    check_refusal(browser.get("/api/conversations", expect_errors=True), 401, "UNAUTHORIZED")
    assert 'id="page"' not in browser.get("/").text


def test_a_sign_in_that_is_used_holds_on(browser):
    cookie = open_link(browser).headers["Set-Cookie"].partition(";")[0]
    execute("UPDATE sessions SET expires_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '+1 hour')")
    answer = browser.get("/api/conversations")
    assert answer.headers["Set-Cookie"].startswith(cookie)
    assert "Set-Cookie" not in browser.get("/api/conversations").headers
    [end] = fetch_one("SELECT expires_at > strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '+23 hours')"
                      " FROM sessions")  # fmt: skip
    assert end


# Names of the server


@pytest.mark.parametrize(
    ("host", "is_taken"),
    [
        ("localhost", True), ("localhost:3001", True), ("127.0.0.1:3001", True),
        ("[::1]:3001", True), ("127.9.9.9", True), ("Observatory.Example.org", True),
        ("observatory.example.org:443", True),
        ("observatory.example.org.", True), ("evil.example", False), ("evil.example:3001", False),
        ("localhost.evil.example", False), ("127.0.0.1.evil.example", False), ("", False),
        ("192.168.1.5", False), ("0.0.0.0", False), ("localhost@evil.example", False),
        ("evil.example#localhost", False), ("2130706433", False), ("127.1", False),
        ("sub.observatory.example.org", False), ("observatory.example.org.evil.example", False),
    ],
)  # fmt: skip
def test_only_names_of_this_server_are_answered(db, host, is_taken):
    app = webtest.TestApp(
        create_app(cors_origins=(), folders=(), hosts=Hosts(("observatory.example.org",))),
        lint=False,
    )
    answer = app.get("/health", headers={"Host": host}, expect_errors=True)
    if is_taken:
        assert answer.status_int == 200
    else:
        check_refusal(answer, 403, "FORBIDDEN")


def test_beyond_this_machine_addresses_are_names_too(db):
    app = webtest.TestApp(
        create_app(cors_origins=(), folders=(), hosts=Hosts(takes_addresses=True)), lint=False
    )
    for host in ("192.0.2.7:3001", "[2001:db8::1]:3001", "localhost"):
        assert app.get("/health", headers={"Host": host}).status_int == 200
    for host in ("evil.example", "192.0.2.7.evil.example", "192.0.2"):
        answer = app.get("/health", headers={"Host": host}, expect_errors=True)
        check_refusal(answer, 403, "FORBIDDEN")


def test_every_link_of_the_pages_leads_somewhere(browser):
    for page in (browser.get("/"), browser.get("/login"), open_link(browser).follow()):
        for link in re.findall(r'(?:href|action)="([^"]+)"', page.text):
            assert browser.get(link, expect_errors=True).status_int in (200, 303, 405)


def make_old() -> None:
    """Let all sign-ins be in the second half of their time, and none be remembered."""
    execute("UPDATE sessions SET expires_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '+1 hour')")
    execute("UPDATE totals SET value = value + 1 WHERE name = 'auth_revision'")


def test_the_page_renews_an_old_sign_in(browser):
    cookie = open_link(browser).headers["Set-Cookie"].partition(";")[0]
    make_old()
    answer = browser.get("/")
    assert 'id="page"' in answer.text
    assert answer.headers["Set-Cookie"].startswith(cookie)


@pytest.mark.parametrize("path", ["/logout", "/api/auth/logout"])
def test_signing_out_of_an_old_sign_in_does_not_renew_it(browser, path):
    open_link(browser)
    make_old()
    answer = browser.post(path, headers=OWN)
    assert "Max-Age" not in answer.headers["Set-Cookie"]
    assert "observatory-80" not in browser.cookies


def test_another_password_replaces_an_old_sign_in(browser):
    add_user(ADA)
    log_in(browser)
    make_old()
    change = {"current_password": PASSWORD, "new_password": "another good password"}
    browser.post_json("/api/auth/password", change, headers=OWN)
    assert browser.get("/api/auth/profile").status_int == 200


def test_the_cookie_is_not_for_pages_of_other_servers_that_nobody_named(db):
    """Ports of a host share cookies: whatever runs on another one would have it, too."""
    app = webtest.TestApp(create_app(cors_origins=("http://localhost:3000",), folders=()))
    open_link(app)
    elsewhere = {"Origin": "http://localhost:3000"}
    read = app.get("/api/conversations", headers=elsewhere, expect_errors=True)
    check_refusal(read, 401, "UNAUTHORIZED")
    body = {"title": "x"}
    change = app.post_json("/api/conversations", body, headers=elsewhere, expect_errors=True)
    check_refusal(change, 401, "UNAUTHORIZED")
    _, key = add_key(["conversations:read"])
    assert app.get("/api/conversations", headers={**elsewhere, "X-API-Key": key}).status_int == 200
    assert app.get("/api/conversations", headers=OWN).status_int == 200


def test_a_page_of_another_site_reads_nothing_with_the_cookie(browser):
    open_link(browser)
    answer = browser.get(
        "/api/conversations", headers={"Origin": "http://evil.example"}, expect_errors=True
    )
    check_refusal(answer, 401, "UNAUTHORIZED")


def test_who_is_signed_in_needs_no_form(browser):
    token = make_link_token()
    open_link(browser, token)
    for answer in (browser.get("/login"), open_link(browser, token)):
        assert (answer.status_int, answer.headers["Location"]) == (303, "/")
