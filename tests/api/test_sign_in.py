"""``/api/auth``: coming in, staying in, and going."""

from __future__ import annotations

import statistics
import time

import jwt
import pytest

from observatory.accounts import passwords, signing_in
from observatory.accounts.signing_in import Accounts, make_setup_token
from observatory.accounts.tokens import Signer
from observatory.app import create_app
from observatory.rate_limits import Limits
from observatory.store import users
from observatory.store.database import database, execute, fetch_all, fetch_one
from tests.api.asking import check_refusal
from tests.api.described import DescribedApp
from tests.api.people import PASSWORD, add_key, add_user, bare, make_person, sign_in

ADA = "ada@example.org"


def make_client(*, is_open: bool = False, session_seconds: int = 3600) -> DescribedApp:
    accounts = Accounts(
        Signer("s" * 40), limits=Limits(), session_seconds=session_seconds, is_open=is_open
    )
    app = DescribedApp(create_app(cors_origins=(), folders=(), accounts=accounts), lint=True)
    del app.extra_environ["HTTP_AUTHORIZATION"]
    return app


@pytest.fixture
def app(db) -> DescribedApp:
    """A client without credentials of its own."""
    return make_client()


def register(app, email=ADA, password=PASSWORD, **others):
    body = {"email": email, "password": password, **others}
    return app.post_json("/api/auth/register", body, expect_errors=True)


def login(app, email=ADA, password=PASSWORD, **others):
    body = {"email": email, "password": password, **others}
    return app.post_json("/api/auth/login", body, expect_errors=True)


def get_profile(app, token):
    headers = {"Authorization": f"Bearer {token}"}
    return app.get("/api/auth/profile", headers=headers, expect_errors=True)


def refresh(app, token):
    return app.post_json("/api/auth/refresh", {"refresh_token": token}, expect_errors=True)


# The first account


def test_the_first_account_takes_the_setup_token_and_may_do_everything(app):
    answer = register(app, setup_token=make_setup_token(), name="Ada")
    assert answer.status_int == 201
    data = answer.json["data"]
    assert (data["user"]["role"], data["user"]["name"]) == ("admin", "Ada")
    profile = get_profile(app, data["access_token"]).json["data"]
    assert profile["user"] == data["user"]
    assert "admin" in profile["permissions"]


@pytest.mark.parametrize("token", [None, "wrong", ""])
def test_without_the_setup_token_there_is_no_first_account(app, token):
    make_setup_token()
    others = {} if token is None else {"setup_token": token}
    answer = register(app, **others)
    assert answer.status_int in (400, 403)
    assert not users.has_users()


def test_a_setup_token_holds_once_and_only_the_last_one(app):
    first, second = make_setup_token(), make_setup_token()
    check_refusal(register(app, setup_token=first), 403, "FORBIDDEN")
    assert register(app, setup_token=second).status_int == 201
    check_refusal(register(app, "eve@example.org", setup_token=second), 403, "FORBIDDEN")


def test_a_setup_token_is_not_used_up_by_a_mistake(app):
    token = make_setup_token()
    assert register(app, password="short", setup_token=token).status_int == 400
    assert register(app, email="no address", setup_token=token).status_int == 400
    assert register(app, setup_token=token).status_int == 201


def test_a_setup_token_that_is_too_old_is_refused(app):
    token = make_setup_token()
    execute("UPDATE one_time_tokens SET expires_at = '2026-01-01T00:00:00.000Z'")
    check_refusal(register(app, setup_token=token), 403, "FORBIDDEN")


def test_later_accounts_are_made_by_admins(app):
    admin, member = make_person(app, "admin"), make_person(app, "member")
    check_refusal(register(app), 403, "FORBIDDEN")
    body = {"email": ADA, "password": PASSWORD}
    answer = app.post_json("/api/auth/register", body, headers=member.headers, expect_errors=True)
    check_refusal(answer, 403, "FORBIDDEN")
    answer = app.post_json("/api/auth/register", body, headers=admin.headers)
    assert answer.json["data"]["role"] == "viewer"
    assert "access_token" not in answer.text
    assert login(app).status_int == 200


def test_an_open_server_takes_accounts_that_may_only_read(db):
    app = make_client(is_open=True)
    check_refusal(register(app), 403, "FORBIDDEN")  # The first one would be the admin.
    add_user("root@example.org", "admin")
    assert register(app).json["data"]["user"]["role"] == "viewer"
    check_refusal(register(app), 409, "CONFLICT")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("email", "ada"), ("email", "@"), ("email", "a@b@c"), ("email", "a b@c"), ("email", ""),
        ("email", "a@" + "b" * 300), ("email", 5), ("email", "a\x00@b"), ("email", None),
        ("password", "short"), ("password", "aaaaaaaaa"), ("password", "ada@example.org"),
        ("password", "x" * 1025), ("password", 12345678), ("password", None),
        ("name", "n" * 101), ("name", None), ("role", "admin"), ("is_admin", True),
        ("setup_token", "x" * 201), ("setup_token", 5),
    ],
)  # fmt: skip
def test_what_can_not_be_taken_is_named(app, field, value):
    body = {"email": ADA, "password": PASSWORD, "setup_token": make_setup_token(), field: value}
    answer = app.post_json("/api/auth/register", body, expect_errors=True)
    assert list(check_refusal(answer, 400, "VALIDATION_ERROR")["details"]["fields"]) == [field]
    assert not users.has_users()


# Passwords


def test_an_address_is_known_however_it_is_written(app):
    add_user(ADA)
    assert login(app, "  Ada@Example.ORG ").status_int == 200


def test_who_is_refused_does_not_learn_why(app):
    add_user(ADA)
    disabled = add_user("eve@example.org")
    users.update_user(disabled, is_disabled=True)
    answers = [
        login(app, ADA, "wrong password"),
        login(app, "eve@example.org"),
        login(app, "nobody@example.org"),
        login(app, "no address"),
        login(app, ADA, "x"),
    ]
    shown = set()
    for answer in answers:
        check_refusal(answer, 401, "UNAUTHORIZED")
        body = {
            name: v for name, v in answer.json.items() if name not in ("timestamp", "request_id")
        }
        headers = {name for name in answer.headers if name.lower() != "content-length"}
        shown.add((str(body), str(sorted(headers))))
    assert len(shown) == 1


def test_who_does_not_exist_takes_as_long(app, monkeypatch):
    monkeypatch.setattr(signing_in, "_MAX_FAILURES", 1000)
    monkeypatch.setattr(signing_in, "_MAX_FAILURES_OF_ADDRESS", 1000)
    monkeypatch.setattr(signing_in, "_MAX_FAILURES_OF_ACCOUNT", 1000)
    add_user(ADA)

    def measure(email: str) -> float:
        began = time.process_time()
        login(app, email, "wrong password")
        return time.process_time() - began

    known, unknown = [], []
    for _ in range(15):
        known.append(measure(ADA))
        unknown.append(measure("nobody@example.org"))
    # A hash takes most of the time by far: without one it would be a tenth of it.
    assert 0.6 < statistics.median(unknown) / statistics.median(known) < 1.6


def test_passwords_are_tried_a_few_times_only(app):
    add_user(ADA)
    for _ in range(10):
        check_refusal(login(app, ADA, "wrong password"), 401, "UNAUTHORIZED")
    answer = login(app)
    check_refusal(answer, 429, "RATE_LIMITED")
    assert 0 < int(answer.headers["Retry-After"]) <= 15 * 60 + 4  # A hit leaves a step later.


def test_accounts_that_do_not_exist_are_limited_alike(app):
    for _ in range(10):
        check_refusal(login(app, "nobody@example.org"), 401, "UNAUTHORIZED")
    check_refusal(login(app, "nobody@example.org"), 429, "RATE_LIMITED")


def test_an_address_is_limited_over_all_accounts(app):
    for number in range(30):
        check_refusal(login(app, f"nobody{number}@example.org"), 401, "UNAUTHORIZED")
    add_user(ADA)
    check_refusal(login(app), 429, "RATE_LIMITED")
    elsewhere = {"REMOTE_ADDR": "192.0.2.7"}
    body = {"email": ADA, "password": PASSWORD}
    assert app.post_json("/api/auth/login", body, extra_environ=elsewhere).status_int == 200


def test_an_address_that_may_try_no_more_leaves_no_counts_of_accounts(app, monkeypatch):
    for number in range(30):
        login(app, f"user{number}@example.org")
    asked = []
    check_limit = Limits.check_limit
    monkeypatch.setattr(
        Limits, "check_limit", lambda *args, **kw: asked.append(args[1]) or check_limit(*args, **kw)
    )
    check_refusal(login(app, "another@example.org"), 429, "RATE_LIMITED")
    assert asked == ["login-address"]


def test_an_account_is_limited_over_all_addresses(app, monkeypatch):
    monkeypatch.setattr(signing_in, "_MAX_FAILURES_OF_ACCOUNT", 5)
    add_user(ADA)
    for number in range(6):
        wrong = {"email": ADA, "password": "wrong password"}
        where = {"REMOTE_ADDR": f"192.0.2.{number}"}
        answer = app.post_json("/api/auth/login", wrong, extra_environ=where, expect_errors=True)
        assert answer.status_int == (401 if number < 5 else 429)


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "Client-IP"])
def test_who_invents_addresses_is_limited_all_the_same(app, header):
    statuses = set()
    for number in range(12):
        answer = app.post_json(
            "/api/auth/login",
            {"email": ADA, "password": "wrong password"},
            headers={header: f"198.51.100.{number}"},
            expect_errors=True,
        )
        statuses.add(answer.status_int)
    assert statuses == {401, 429}


def test_good_sign_ins_are_not_counted(app):
    add_user(ADA)
    assert {login(app).status_int for _ in range(15)} == {200}


def test_a_weaker_hash_is_made_anew_at_the_next_sign_in(app, monkeypatch):
    weak = passwords.PasswordHasher(time_cost=1, memory_cost=8_192, parallelism=1)
    users.insert_user(email=ADA, name="", role="member", password_hash=weak.hash(PASSWORD.encode()))
    assert login(app).status_int == 200
    [(stored,)] = fetch_all("SELECT password_hash FROM users")
    assert "m=19456,t=2,p=1" in stored
    assert login(app).status_int == 200


def meanwhile(monkeypatch, act) -> None:
    """Have something happen while a password is compared, which takes a while."""

    def compare(password, password_hash):
        is_right = passwords.is_password(password, password_hash)
        act()
        return is_right

    monkeypatch.setattr(signing_in, "is_password", compare)


OTHER_HASH = passwords.hash_password("another good password")


@pytest.mark.parametrize(
    "act",
    [
        lambda key: users.update_user(key, password_hash=OTHER_HASH),
        lambda key: users.update_user(key, is_disabled=True),
        users.delete_user,
    ],
    ids=["another password", "disabled", "removed"],
)
@pytest.mark.parametrize("is_outdated", [False, True])
def test_a_change_of_the_account_ends_sign_ins_that_are_on_their_way(
    app, monkeypatch, act, is_outdated
):
    key = add_user(ADA)
    monkeypatch.setattr(signing_in, "is_outdated", lambda known: is_outdated)
    meanwhile(monkeypatch, lambda: act(key))
    check_refusal(login(app), 401, "UNAUTHORIZED")
    assert fetch_one("SELECT count(*) FROM sessions") == (0,)
    assert fetch_all("SELECT password_hash FROM users") in ([], [(OTHER_HASH,)]) or (
        users.get_user(key).is_disabled
    )


def test_who_changes_a_password_at_the_same_time_comes_too_late(app, monkeypatch):
    person = make_person(app)
    meanwhile(monkeypatch, lambda: users.update_user(person.id, password_hash=OTHER_HASH))
    answer = change_password(app, person, new="a password of a thief")
    check_refusal(answer, 401, "UNAUTHORIZED")
    assert fetch_all("SELECT password_hash FROM users") == [(OTHER_HASH,)]


# Tokens


def test_a_sign_in_gives_a_short_token_and_one_to_renew_it(app):
    add_user(ADA)
    data = login(app).json["data"]
    assert (data["token_type"], data["expires_in"]) == ("Bearer", 900)
    claims = jwt.decode(data["access_token"], options={"verify_signature": False})
    assert claims["exp"] - claims["iat"] == 900
    assert claims["email"] == ADA
    assert get_profile(app, data["access_token"]).status_int == 200


def test_no_secret_is_stored(app):
    add_user(ADA)
    data = login(app).json["data"]
    _, key = add_key(["admin"])
    dump = str(
        [fetch_all(f"SELECT * FROM {t}") for t in ("users", "sessions", "api_keys", "audit_log")]
    )
    secret = data["refresh_token"].rpartition(".")[2]
    for text in (PASSWORD, data["access_token"], secret, key):
        assert text not in dump


def test_a_refresh_token_is_good_once(app):
    add_user(ADA)
    first = login(app).json["data"]
    second = refresh(app, first["refresh_token"]).json["data"]
    assert second["refresh_token"] != first["refresh_token"]
    assert get_profile(app, second["access_token"]).status_int == 200
    third = refresh(app, second["refresh_token"]).json["data"]
    assert get_profile(app, third["access_token"]).status_int == 200


def test_a_refresh_token_that_was_used_ends_the_whole_line(app):
    person = make_person(app)
    stolen = person.refresh
    second = refresh(app, stolen).json["data"]
    other = sign_in(app, person.email)
    check_refusal(refresh(app, stolen), 401, "UNAUTHORIZED")
    check_refusal(refresh(app, second["refresh_token"]), 401, "UNAUTHORIZED")
    check_refusal(get_profile(app, second["access_token"]), 401, "UNAUTHORIZED")
    # Another sign-in of the same person is another line.
    assert get_profile(app, other.access).status_int == 200


@pytest.mark.parametrize(
    "token",
    ["", "x", "obr_", "obr_.", "obr_a.b", "obr_\ud83d", "obs_" + "a" * 43, "a" * 300, 5, None, {}],
)
def test_what_is_no_refresh_token_is_refused(app, token):
    make_person(app)
    answer = refresh(app, token)
    assert answer.status_int in (400, 401)


def test_a_line_of_refresh_tokens_ends_when_it_is_not_used(app):
    person = make_person(app)
    execute("UPDATE sessions SET expires_at = '2026-01-01T00:00:00.000Z'")
    check_refusal(refresh(app, person.refresh), 401, "UNAUTHORIZED")


def test_an_access_token_is_no_refresh_token_and_the_other_way_round(app):
    person = make_person(app)
    check_refusal(refresh(app, "obr_" + person.access[:80]), 401, "UNAUTHORIZED")
    check_refusal(get_profile(app, person.refresh), 401, "UNAUTHORIZED")


def test_signing_out_ends_the_tokens_at_once(app):
    person, other = make_person(app), make_person(app, email="eve@example.org")
    assert app.post("/api/auth/logout", headers=person.headers).json["data"] == {"ended": 1}
    check_refusal(get_profile(app, person.access), 401, "UNAUTHORIZED")
    check_refusal(refresh(app, person.refresh), 401, "UNAUTHORIZED")
    assert get_profile(app, other.access).status_int == 200


def test_signing_out_everywhere_ends_all_sign_ins_of_the_account(app):
    person = make_person(app)
    other = sign_in(app, person.email)
    body = {"everywhere": True}
    assert app.post_json("/api/auth/logout", body, headers=other.headers).json["data"]["ended"] == 2
    check_refusal(get_profile(app, person.access), 401, "UNAUTHORIZED")


# One's own account


def test_a_name_is_changed(app):
    person = make_person(app)
    answer = app.patch_json("/api/auth/profile", {"name": "Ada L."}, headers=person.headers)
    assert answer.json["data"]["user"]["name"] == "Ada L."


def test_another_address_takes_the_password(app):
    person = make_person(app)

    def change(**body):
        return app.patch_json(
            "/api/auth/profile", {"email": ADA, **body}, headers=person.headers, expect_errors=True
        )

    check_refusal(change(), 400, "VALIDATION_ERROR")
    check_refusal(change(current_password="wrong password"), 400, "VALIDATION_ERROR")
    assert change(current_password=PASSWORD).json["data"]["user"]["email"] == ADA
    assert login(app).status_int == 200
    add_user("eve@example.org")
    answer = app.patch_json(
        "/api/auth/profile",
        {"email": "eve@example.org", "current_password": PASSWORD},
        headers=person.headers,
        expect_errors=True,
    )
    check_refusal(answer, 409, "CONFLICT")


def change_password(app, person, current=PASSWORD, new="another good password", **options):
    body = {"current_password": current, "new_password": new}
    return app.post_json(
        "/api/auth/password", body, headers=person.headers, expect_errors=True, **options
    )


def test_another_password_ends_all_sign_ins_and_gives_a_new_one(app):
    person = make_person(app)
    other = sign_in(app, person.email)
    data = change_password(app, person).json["data"]
    for token in (person.access, other.access):
        check_refusal(get_profile(app, token), 401, "UNAUTHORIZED")
    check_refusal(refresh(app, other.refresh), 401, "UNAUTHORIZED")
    assert get_profile(app, data["access_token"]).status_int == 200
    check_refusal(login(app, person.email), 401, "UNAUTHORIZED")
    assert login(app, person.email, "another good password").status_int == 200


@pytest.mark.parametrize(
    ("current", "new", "field"),
    [
        ("wrong password", "another good one", "current_password"),
        (PASSWORD, "short", "new_password"),
    ],
)
def test_a_password_is_changed_by_who_knows_it_to_a_good_one(app, current, new, field):
    person = make_person(app)
    answer = change_password(app, person, current, new)
    assert list(check_refusal(answer, 400, "VALIDATION_ERROR")["details"]["fields"]) == [field]
    assert get_profile(app, person.access).status_int == 200


def test_who_has_a_token_can_not_try_passwords_for_long(app):
    person = make_person(app)
    statuses = [change_password(app, person, f"wrong {n} password").status_int for n in range(11)]
    assert statuses == [400] * 10 + [429]


def test_keys_have_no_profile(app):
    _, key = add_key(["admin"])
    check_refusal(get_profile(app, key), 403, "FORBIDDEN")


def test_who_is_disabled_is_out_at_once(app):
    person = make_person(app)
    assert get_profile(app, person.access).status_int == 200
    users.update_user(person.id, is_disabled=True)
    check_refusal(get_profile(app, person.access), 401, "UNAUTHORIZED")
    check_refusal(refresh(app, person.refresh), 401, "UNAUTHORIZED")
    check_refusal(login(app, person.email), 401, "UNAUTHORIZED")


def test_another_role_holds_at_once(app):
    person = make_person(app, "member")
    users.update_user(person.id, role="analyst")
    answer = app.get("/api/conversations", headers=person.headers, expect_errors=True)
    check_refusal(answer, 403, "FORBIDDEN")


def test_signing_in_moves_nothing_that_clients_have_cached(app):
    before = fetch_one("SELECT value FROM totals WHERE name = 'revision'")
    refresh(app, make_person(app).refresh)
    assert fetch_one("SELECT value FROM totals WHERE name = 'revision'") == before


def test_strangers_have_no_way_around_the_header(app, session):
    for headers in (
        {"Authorization": "Basic YWRtaW46YWRtaW4="}, {"Authorization": "Bearer"},
        {"Authorization": "Bearer "}, {"Authorization": "bearer null"}, {"Authorization": "x"},
        {"Authorization": "ApiKey abc"}, {"X-API-Key": ""}, {"X-API-Key": "obs_"},
        {"X-API-Key": "obs_%"}, {"Cookie": "observatory-80=x"}, {"X-User": "admin"},
        {"Authorization": "Bearer obs_' OR 1=1 --"}, {"X-Original-URL": "/health"},
        {"X-HTTP-Method-Override": "OPTIONS"}, {"X-API-Key": "obs_" + "a" * 7000},
    ):  # fmt: skip
        answer = bare(app).get("/api/conversations", headers=headers, expect_errors=True)
        check_refusal(answer, 401, "UNAUTHORIZED")


def test_of_very_many_sign_ins_the_oldest_end(app):
    person = make_person(app)
    accounts = Accounts(Signer("s" * 40), limits=Limits(), session_seconds=3600)
    for _ in range(100):
        accounts.begin_session(users.get_user(person.id), kind="token")
    assert fetch_one("SELECT count(*) FROM sessions") == (100,)
    check_refusal(refresh(app, person.refresh), 401, "UNAUTHORIZED")


def test_a_full_disk_is_told_and_nothing_is_half_done(app):
    add_user(ADA)
    pages = database.connection().execute("PRAGMA page_count").fetchone()[0]
    database.connection().execute(f"PRAGMA max_page_count = {pages}").fetchall()
    # What is free in the last pages is used up first.
    answers = [login(app) for _ in range(60)]
    full = [answer for answer in answers if answer.status_int != 200]
    assert full
    for answer in full:
        assert "Make room" in check_refusal(answer, 507, "DISK_FULL")["error"]
    database.connection().execute("PRAGMA max_page_count = 1000000").fetchall()
    assert login(app).status_int == 200
