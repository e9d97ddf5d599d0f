"""What attackers try, and what comes of it: one table.

Slow clients are in tests/test_slow_clients.py, addresses in test_request_limits.py, and every
route with every role in test_access.py.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jwt
import pytest
import webtest

from observatory.accounts.signing_in import Accounts
from observatory.app import create_app
from observatory.rate_limits import Limits
from observatory.store import audit, users
from observatory.store.database import fetch_all
from tests.accounts.forging import FAR, KEY_ID, SECRET, SIGNER, claims, forge
from tests.api.asking import check_refusal
from tests.api.keyed import SHORT_STREAMS
from tests.api.people import PASSWORD, Person, add_key, add_user, make_person
from tests.api.sessions import SESSION

LIMIT = 100_000


@dataclass(slots=True)
class Scene:
    """An application with an admin and a member, who is signed in."""

    app: webtest.TestApp
    member: Person
    admin: int

    def claims(self, **others: Any) -> dict[str, Any]:
        """Return claims that are the member's own, but for some."""
        read = jwt.decode(self.member.access, options={"verify_signature": False})
        return {**read, **others}


@pytest.fixture
def scene(db, session) -> Scene:
    accounts = Accounts(SIGNER, limits=Limits(), session_seconds=3600)
    app = webtest.TestApp(
        create_app(
            cors_origins=("http://localhost:3000",),
            folders=("/nowhere",),
            max_request_bytes=LIMIT,
            accounts=accounts,
        ),
        lint=False,
        extra_environ=dict(SHORT_STREAMS),
    )
    admin = add_user("admin@example.org", "admin")
    return Scene(app, make_person(app), admin)


Try = Callable[[Scene], Any]
NOT_IN, NOT_THIS = (401, "UNAUTHORIZED"), (403, "FORBIDDEN")
WRONG, TOO_LARGE = (400, "VALIDATION_ERROR"), (413, "PAYLOAD_TOO_LARGE")
NOT_THERE = (404, "NOT_FOUND")


def token(make: Callable[[Scene], str]) -> Try:
    """Return an attack by a token on what the member may read."""

    def attack(scene: Scene) -> Any:
        headers = {"Authorization": f"Bearer {make(scene)}"}
        return scene.app.get("/api/conversations", headers=headers, expect_errors=True)

    return attack


def request(method: str, path: str, body: bytes | None = None, **headers: str) -> Try:
    """Return an attack by a request of the member's, with other headers too."""

    def attack(scene: Scene) -> Any:
        sent = {**scene.member.headers, "Content-Type": "application/json"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        options: dict[str, Any] = {"headers": sent, "method": method, "expect_errors": True}
        return scene.app.request(path, body=body or b"", **options)

    return attack


# A key that anybody may know, which a server of RS256 would check with.
_PUBLIC_KEY = """\
-----BEGIN PUBLIC KEY-----
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQClvm95U69nJM+0ykrm1AtUIyO0
JFctdQblfUHqD1jLCVcyVrtaudUGm5nlmIno9Cq2/akL/kth/F7L3AU4qTOATTwn
8e2SySivgSLZup65G1yg71lsNNuTUPlGoY/EWNAuJcW5O3+X4rMc3DlrLA+ZLAaw
IsUJbSgMl5n1eEGfmQIDAQAB
-----END PUBLIC KEY-----
"""


def _tampered(scene: Scene) -> str:
    head, _, signature = scene.member.access.split(".")
    payload = forge(scene.claims(user_id=scene.admin, sub=str(scene.admin))).split(".")[1]
    return f"{head}.{payload}.{signature}"


def _after_reuse(scene: Scene) -> Any:
    def refresh(text: str) -> Any:
        body = {"refresh_token": text}
        return scene.app.post_json("/api/auth/refresh", body, expect_errors=True)

    following = refresh(scene.member.refresh).json["data"]["refresh_token"]
    refresh(scene.member.refresh)
    return refresh(following)


def _revoked_key(scene: Scene) -> Any:
    key_id, key = add_key(["admin"])
    headers = {"X-API-Key": key}
    scene.app.get("/api/conversations", headers=headers)
    scene.app.delete(f"/api/api-keys/{key_id}", headers=headers)
    return scene.app.get("/api/conversations", headers=headers, expect_errors=True)


def _scope_escape(scene: Scene) -> Any:
    _, key = add_key(["conversations:read"])
    return scene.app.delete(
        f"/api/conversations/{SESSION}", headers={"X-API-Key": key}, expect_errors=True
    )


def _more_scope(scene: Scene) -> Any:
    body = {"name": "x", "scopes": ["admin"]}
    return scene.app.post_json(
        "/api/api-keys", body, headers=scene.member.headers, expect_errors=True
    )


def _own_role(scene: Scene) -> Any:
    return scene.app.patch_json(
        "/api/auth/profile", {"role": "admin"}, headers=scene.member.headers, expect_errors=True
    )


def _brute_force(scene: Scene) -> Any:
    body = {"email": "admin@example.org", "password": "wrong password"}
    for number in range(10):
        scene.app.post_json(
            "/api/auth/login",
            body,
            headers={"X-Forwarded-For": f"198.51.100.{number}"},
            expect_errors=True,
        )
    body["password"] = PASSWORD
    return scene.app.post_json("/api/auth/login", body, expect_errors=True)


def _huge_number(scene: Scene) -> Any:
    body = b'{"title": "x", "metadata": {"custom": {"n": ' + b"9" * 400 + b"}}}"
    return request("POST", "/api/conversations", body)(scene)


def _json(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


_DEEP = b'{"title": "x", "metadata": {"custom": ' + b'{"a":' * 5000 + b"1" + b"}" * 5000 + b"}}"
_MANY = b"{" + b", ".join(b'"%x": 0' % number for number in range(8000)) + b"}"
ATTACKS: dict[str, tuple[Try, tuple[int, str]]] = {
    # Tokens
    "alg none": (
        token(lambda s: jwt.encode(s.claims(), "", algorithm="none", headers={"kid": KEY_ID})),
        NOT_IN,
    ),
    "alg none with the signature": (
        token(lambda s: forge(s.claims(), header={"alg": "none"})), NOT_IN,
    ),
    "signed with a public key as the secret": (
        token(lambda s: forge(s.claims(), secret=_PUBLIC_KEY)), NOT_IN,
    ),
    "signed by RS256": (token(lambda s: forge(s.claims(), header={"alg": "RS256"})), NOT_IN),
    "another algorithm of the same secret": (
        token(
            lambda s: jwt.encode(s.claims(), SECRET, algorithm="HS384", headers={"kid": KEY_ID})
        ),
        NOT_IN,
    ),
    "another secret": (token(lambda s: forge(s.claims(), secret="x" * 40)), NOT_IN),
    "an empty secret": (token(lambda s: forge(s.claims(), secret="")), NOT_IN),
    "ended": (token(lambda s: forge(s.claims(exp=int(time.time()) - 1))), NOT_IN),
    "not yet good": (token(lambda s: forge(s.claims(nbf=FAR))), NOT_IN),
    "issued in the future": (token(lambda s: forge(s.claims(iat=FAR))), NOT_IN),
    "good for ever": (token(lambda s: forge(s.claims(exp=10**30))), NOT_IN),
    "without an end": (token(lambda s: forge(claims(exp=...))), NOT_IN),
    "without an issuer": (token(lambda s: forge(s.claims(iss=None))), NOT_IN),
    "of another audience": (token(lambda s: forge(s.claims(aud="others"))), NOT_IN),
    "of another type": (token(lambda s: forge(s.claims(typ="refresh"))), NOT_IN),
    "of a sign-in that is not": (token(lambda s: forge(s.claims(sid=12345))), NOT_IN),
    "of another's sign-in": (
        token(lambda s: forge(s.claims(user_id=s.admin, sub=str(s.admin)))), NOT_IN,
    ),
    "changed after signing": (token(_tampered), NOT_IN),
    "very long": (token(lambda s: forge(s.claims(email="a" * 100_000))), NOT_IN),
    "kid of a path": (token(lambda s: forge(s.claims(), header={"kid": "/dev/null"})), NOT_IN),
    "kid of SQL": (token(lambda s: forge(s.claims(), header={"kid": "x' OR '1'='1"})), NOT_IN),
    "kid missing": (token(lambda s: forge(s.claims(), header={"kid": None})), NOT_IN),
    "key in the header": (
        token(lambda s: forge(s.claims(), header={"jwk": {"kty": "oct", "k": "eHg"}}, secret="xx")),
        NOT_IN,
    ),
    "lone surrogates": (token(lambda s: forge(s.claims(sub="\ud800"))), NOT_IN),
    # Sign-ins and keys
    "a refresh token again": (_after_reuse, NOT_IN),
    "a key that was revoked": (_revoked_key, NOT_IN),
    "more than a key's scopes": (_scope_escape, NOT_THIS),
    "a key with more scopes": (_more_scope, NOT_THIS),
    "another role for oneself": (_own_role, WRONG),
    "passwords one after another": (_brute_force, (429, "RATE_LIMITED")),
    "accounts of others": (request("GET", "/api/users"), NOT_THIS),
    "the audit log": (request("GET", "/api/admin/audit"), NOT_THIS),
    # Where a request comes from
    "another site's page": (
        request("POST", "/api/conversations", b'{"title": "x"}', Origin="http://evil.example"),
        NOT_THIS,
    ),
    "a page of no origin": (
        request("POST", "/api/conversations", b'{"title": "x"}', Origin="null"), NOT_THIS,
    ),
    "a name that resolves here": (
        request("GET", "/api/conversations", Host="evil.example"), NOT_THIS,
    ),
    "a form of another site": (
        request(
            "POST", "/api/conversations", b'{"title": "x"}', Content_Type="text/plain",
        ),
        (415, "UNSUPPORTED_MEDIA_TYPE"),
    ),
    # Paths
    "out of the folder": (
        request("POST", "/api/files/process-jsonl", b'{"file_path": "/nowhere/../etc/passwd"}'),
        NOT_THIS,
    ),
    "any file": (
        request("POST", "/api/files/process-jsonl", b'{"file_path": "/etc/passwd"}'), NOT_THIS,
    ),
    "a path with NUL": (
        request("POST", "/api/files/process-jsonl", b'{"file_path": "/nowhere/\\u0000"}'), WRONG,
    ),
    "dots in an id": (request("GET", "/api/conversations/%2e%2e%2fusers"), NOT_THERE),
    "dots in a path": (request("GET", "/api/../../etc/passwd"), NOT_THERE),
    # Bodies
    "a body that is too large": (
        request("POST", "/api/conversations", b'{"title": "' + b"x" * LIMIT + b'"}'), TOO_LARGE,
    ),
    "a large body where nobody has signed in": (
        request("POST", "/api/auth/login", b'{"email": [' + b"[]," * 30_000 + b"[]]}"), TOO_LARGE,
    ),
    "a body of very many fields": (request("POST", "/api/conversations", _MANY), WRONG),
    "a body that is nested deeply": (request("POST", "/api/conversations", _DEEP), WRONG),
    "NaN": (
        request("POST", "/api/conversations", b'{"title": "x", "metadata": {"custom": NaN}}'),
        WRONG,
    ),
    "Infinity": (
        request("POST", "/api/conversations", b'{"title": "x", "metadata": {"custom": 1e999}}'),
        WRONG,
    ),
    "a number of 400 digits": (_huge_number, WRONG),
    "lone surrogates in a body": (
        request("POST", "/api/conversations", b'{"title": "\\ud800"}'), WRONG,
    ),
    "bytes that are no text": (request("POST", "/api/conversations", b'{"title": "\xff"}'), WRONG),
    "a list for an object": (request("POST", "/api/conversations", b"[]"), WRONG),
    "a field of its own": (
        request("POST", "/api/conversations", b'{"title": "x", "__proto__": {}}'), WRONG,
    ),
    "SQL in a parameter": (
        request("GET", "/api/conversations?sort_by=title;DROP+TABLE+users"), WRONG,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_refused(scene, name):
    attack, (status, code) = ATTACKS[name]
    before = fetch_all("SELECT id, title FROM conversations")
    answer = attack(scene)
    check_refusal(answer, status, code)
    assert fetch_all("SELECT id, title FROM conversations") == before
    assert users.get_user(scene.member.id).role == "member"
    if status == 401:
        assert "WWW-Authenticate" in answer.headers
    assert len(answer.body) < 4000
    assert "Traceback" not in answer.text and "sqlite" not in answer.text.lower()


def test_the_member_of_the_table_may_do_what_members_may(scene):
    """What is refused above is refused for what it is, and not for who asks."""
    good = request("POST", "/api/conversations", b'{"title": "x"}')(scene)
    assert good.status_int == 201
    assert token(lambda s: forge(s.claims()))(scene).status_int == 200


@pytest.mark.parametrize(
    "value", ["x\r\nSet-Cookie: a=b", "x\nX: y", "x\r", "\x00", "é", "x" * 65, ""]
)
def test_no_header_comes_out_of_an_id_that_a_client_chose(scene, value):
    sent = value.encode("utf-8").decode("latin-1")
    environ = {"HTTP_X_REQUEST_ID": sent, "HTTP_AUTHORIZATION": f"Bearer {scene.member.access}"}
    answer = scene.app.get("/api/conversations", extra_environ=environ)
    assert answer.headers["X-Request-ID"] != sent
    assert "Set-Cookie" not in answer.headers and "X" not in answer.headers


@pytest.mark.parametrize("tag", ["a%0d%0aSet-Cookie:x", "%00", "a%0ab"])
def test_no_header_comes_out_of_a_path(scene, tag):
    answer = scene.app.put(
        f"/api/conversations/{SESSION}/tags/{tag}",
        headers=scene.member.headers,
        expect_errors=True,
    )
    assert answer.status_int == 400
    assert "Set-Cookie" not in answer.headers


def test_file_names_of_exports_are_plain(scene):
    title = 'x"; filename="evil.exe\\r\\nSet-Cookie: a=b'
    body = json.dumps({"title": title}).encode()
    made = request("POST", "/api/conversations", body)(scene).json["data"]
    answer = request("GET", f"/api/conversations/{made['id']}/export")(scene)
    name = answer.headers["Content-Disposition"]
    assert name.count('"') == 2 and "\n" not in name and "evil.exe" not in name


def test_attacks_leave_a_trace(scene):
    _brute_force(scene)
    _after_reuse(scene)
    wanted = audit.AuditFilter()
    actions = [
        row["action"] for row in audit.list_entries(wanted, limit=50, offset=0, cursor=None).rows
    ]
    assert actions.count("user.login_failed") == 10
    assert "session.reuse" in actions
