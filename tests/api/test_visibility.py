"""What is hidden from somebody is for them as if it did not exist."""

from __future__ import annotations

import base64
import json
import random
import re
from typing import Any
from urllib.parse import urlencode

import pytest

from observatory.api.operations import OPERATIONS
from observatory.store import search_matches
from observatory.store.database import execute, fetch_all, fetch_one
from observatory.store.scopes import WHOLE, Scope
from observatory.store.transcript_files import get_upload
from tests.api.asking import ask, check_refusal, ids
from tests.api.viewers import (
    FORK,
    HIDDEN,
    MARK,
    OTHER,
    SECRET_SESSION,
    SHARED_SESSION,
    SIDE,
    SOURCE,
    VISIBLE,
    build,
    hidden_conversations,
    hidden_words,
    project_key,
    scopes,
    sign_in,
    unchanged,
)
from tests.planted import PLANTS
from tests.transcripts_for_tests import Transcript

EACH_SCOPE = pytest.mark.parametrize("name", ["hidden", "only", "both", "nothing"])
UNKNOWN = {
    "conversation_id": "no-such-conversation", "message_id": "no-such-message",
    "project_id": "404404", "file_id": "404404", "budget_id": "404404",
}  # fmt: skip
BY_ID = sorted(
    key for key in OPERATIONS if re.search(r"{(conversation|message|project|file|budget)_", key[1])
)
READS = sorted(path for method, path in OPERATIONS if method == "GET")


@pytest.fixture
def archive(db, write, ingest) -> str:
    """An archive with a hidden part; returns a secret that stands in both."""
    planted = PLANTS[0](random.Random(1))
    build(write, ingest, secret=planted.text)
    return planted.secret


def hidden_ids() -> dict[str, list[str]]:
    """Return the ids of what is hidden, by the name of the parameter that takes them."""
    conversations = hidden_conversations()
    wanted = json.dumps(conversations)
    messages = fetch_all(
        "SELECT m.id FROM messages m JOIN conversations c ON c.key = m.conversation_key"
        " WHERE c.id IN (SELECT value FROM json_each(?))",
        (wanted,),
    )
    files = fetch_all(
        "SELECT f.key FROM transcript_files f LEFT JOIN conversations c"
        " ON c.key = f.conversation_key"
        " WHERE c.id IS NULL OR c.id IN (SELECT value FROM json_each(?))",
        (wanted,),
    )
    return {
        "conversation_id": conversations,
        "message_id": [row[0] for row in messages],
        "project_id": [str(project_key(HIDDEN))],
        "file_id": [str(row[0]) for row in files],
        "budget_id": [
            str(row[0]) for row in fetch_all("SELECT key FROM budgets WHERE name LIKE 'zq%'")
        ],
    }


def fill(path: str, name: str, value: str) -> str:
    return path.replace(f"{{{name}}}", value).replace("{tag}", "later")


def send(client: Any, method: str, path: str) -> Any:
    operation = OPERATIONS[method, path]
    found = re.search(r"{(\w+_id)}", path)
    assert found is not None
    name = found[1]

    def to(value: str) -> Any:
        address = fill(path, name, value)
        if operation.body is not None:
            return client.request(
                address, method=method, body=json.dumps(operation.example).encode(),
                headers={"Content-Type": "application/json"}, expect_errors=True,
            )  # fmt: skip
        return client.request(address, method=method, expect_errors=True)

    return name, to


def as_told(answer: Any, identifier: str) -> tuple[int, str, str, Any]:
    """Return what an answer says of the thing that was asked for."""
    told = answer.json
    headers = sorted({*answer.headers} - {"X-Response-Time", "X-Request-ID", "Content-Length"})
    error = told["error"].replace(repr(identifier), "ID")
    return answer.status_int, told["code"], error, (told["details"], headers)


@EACH_SCOPE
@pytest.mark.parametrize("key", BY_ID, ids=" ".join)
def test_what_is_hidden_is_answered_as_what_is_not_there(archive, key, name):
    method, path = key
    permissions = ("admin",) if path.startswith(("/api/projects", "/api/budgets")) else ()
    client = sign_in(scopes()[name], permissions=permissions)
    parameter, to = send(client, method, path)
    nothing = as_told(to(UNKNOWN[parameter]), UNKNOWN[parameter])
    assert nothing[0] == 404
    wanted = hidden_ids()[parameter]
    assert wanted
    with unchanged():
        for identifier in wanted:
            assert as_told(to(identifier), identifier) == nothing


@EACH_SCOPE
@pytest.mark.parametrize("key", [k for k in BY_ID if "/conversations/" in k[1]], ids=" ".join)
def test_a_head_start_does_not_help(archive, key, name):
    """Neither a tag of one who sees all, nor a key under which one of them wrote."""
    method, path = key
    client = sign_in(scopes()[name])
    for identifier in hidden_conversations():
        address = fill(path, "conversation_id", identifier)
        headers = {"If-None-Match": "*", "Idempotency-Key": "k"}
        if method == "GET":
            whole = sign_in().get(address, expect_errors=True)
            headers["If-None-Match"] = whole.headers.get("ETag", "*")
        answer = client.request(
            address, method=method, headers={**headers, "Content-Type": "application/json"},
            body=json.dumps(OPERATIONS[key].example or {}).encode() if method != "GET" else None,
            expect_errors=True,
        )  # fmt: skip
        assert answer.status_int == 404


@EACH_SCOPE
def test_what_is_hidden_can_not_be_removed_for_good(archive, name):
    client = sign_in(scopes()[name])
    for query in ("?permanent=true", ""):
        nothing = client.delete(f"/api/conversations/x{query}", expect_errors=True)
        with unchanged():
            for identifier in hidden_conversations():
                path = f"/api/conversations/{identifier}{query}"
                answer = client.delete(path, expect_errors=True)
                assert as_told(answer, identifier) == as_told(nothing, "x")


def addresses(path: str) -> list[str]:
    """Return the addresses of a route: of all that is there, with what filters could find."""
    known = {
        "conversation_id": [row[0] for row in fetch_all("SELECT id FROM conversations")],
        "message_id": [row[0] for row in fetch_all("SELECT id FROM messages")],
        "project_id": [str(row[0]) for row in fetch_all("SELECT key FROM projects")],
        "file_id": [str(row[0]) for row in fetch_all("SELECT key FROM transcript_files")],
        "key_id": [str(row[0]) for row in fetch_all("SELECT key FROM api_keys")],
        "user_id": [str(row[0]) for row in fetch_all("SELECT key FROM users")],
        "budget_id": [str(row[0]) for row in fetch_all("SELECT key FROM budgets")],
        "webhook_id": [str(row[0]) for row in fetch_all("SELECT key FROM webhooks")],
    }
    parameter = next(iter(re.findall(r"{(\w+)}", path)), None)
    places = [path] if parameter is None else [fill(path, parameter, i) for i in known[parameter]]
    fields = OPERATIONS["GET", path].params().fields
    queries: list[dict[str, str]] = [] if path == "/api/search" else [{}]
    for field, values in VALUES.items():
        if field in fields:
            queries += [{field: value} for value in values]
    if path == "/api/search":
        queries = [{**query, "facets": "true"} for query in queries]
        queries += [{**query, "sort": "time"} for query in queries]
    return [f"{place}?{urlencode(query)}" for place in places for query in queries]


WORDS = (
    "zqanswer", "zqprompt", "zqtitle", "zqargument", "zqoutput", "zqresult", "zqinside",
    "zqnowhere", "zqsubagent", "zqgone", "zqcall", "zqgiven", "zq*", "start", "together",
    "ls", "begins", "tool", "prompt", "made", "written",
)  # fmt: skip
VALUES: dict[str, tuple[str, ...]] = {
    "q": (*WORDS, "project:zq", "tool:zqtool", "model:zq", f"in:{SECRET_SESSION}", "is:error"),
    "search": WORDS,
    "project": ("zqproject", "engine"),
    "project_path": (HIDDEN, VISIBLE),
    "model": ("zqmodel-1", "zqmodel-2", "model-2"),
    "tag": ("zqtag", "plaintag"),
    "parent_id": (SECRET_SESSION, SHARED_SESSION),
    "conversation_id": (SECRET_SESSION, FORK, SOURCE),
    "conversation": (SECRET_SESSION, FORK, SOURCE, SHARED_SESSION, f"{SHARED_SESSION}.plain"),
    "name": ("zqtool", "Bash", "Read"),
    "status": ("error", "success", "interrupted", "completed", "pending"),
    "tool": ("zqtool", "Bash"),
    "role": ("user", "assistant"),
    "has_errors": ("true", "false"),
    "deleted": ("true",),
    "sort_by": ("title", "message_count"),
    "limit": ("1",),
    "format": ("jsonl", "json", "markdown", "html"),
    "include_subagents": ("true",),
}


CURSOR = re.compile(r'"next_cursor":"([^"]+)"')


def decoded(found: re.Match[str]) -> str:
    """Return what a cursor says, in whose signs chance can write anything."""
    return base64.urlsafe_b64decode(found[1] + "==").decode()


# Who may read these sees no conversations there, or may see all.
OF_ACCOUNTS = ("/api/admin", "/api/api-keys", "/api/auth", "/api/users", "/api/webhooks")


def is_good(answer: Any, address: str) -> bool:
    """Tell whether an answer is a good one, and else check that it says what others say."""
    if answer.status_int == 200:
        return True
    assert answer.status_int in (400, 404, 426), address
    return False


@EACH_SCOPE
@pytest.mark.parametrize("path", READS)
def test_no_answer_holds_anything_that_is_hidden(archive, path, name):
    permissions = ("admin",) if path.endswith("/retention") else ()
    client = sign_in(scopes()[name], permissions=permissions)
    later = {row[0] for row in fetch_all("SELECT id FROM messages WHERE id LIKE 'q%'")}
    # Those that the fork has copies of are part of its own transcript.
    copied = fetch_all(
        "SELECT o.id FROM messages m JOIN messages o ON o.key = m.copy_of_key"
        " JOIN conversations c ON c.key = m.conversation_key WHERE c.id = ?",
        (FORK,),
    )
    later -= {row[0] for row in copied}
    assert later
    if path in ("/metrics", "/openapi.json") or path.startswith(OF_ACCOUNTS):
        return
    for address in addresses(path):
        answer = client.get(address, expect_errors=True)
        if not is_good(answer, address):
            continue
        body = CURSOR.sub(decoded, answer.text).lower()
        assert MARK not in body, f"{address}: {body[max(0, body.index(MARK) - 200) :][:400]}"
        assert not [identifier for identifier in later if identifier in answer.text], address


@EACH_SCOPE
@pytest.mark.parametrize("word", WORDS)
def test_no_conversation_that_is_found_holds_anything_that_is_hidden(archive, word, name):
    client = sign_in(scopes()[name])
    for extra in ({}, {"sort": "time"}, {"conversation_id": SECRET_SESSION}):
        body = {"q": word, "facets": True, **extra}
        found = client.post_json("/api/conversations/search", body)
        assert MARK not in found.text.lower()
        if word.startswith(MARK):
            data = found.json["data"]
            assert (data["conversations"], data["titles"]) == ([], [])
            assert data["pagination"]["total"] == 0
            assert not any(data["facets"].values())


def test_who_sees_all_finds_what_is_hidden_from_others(archive):
    """Without this the tests above would pass on an empty archive."""
    client = sign_in()
    for word in (w for w in WORDS if w.startswith(MARK)):
        body = {"q": word}
        data = client.post_json("/api/conversations/search", body).json["data"]
        # Names of tools are no text.
        assert data["conversations"] or data["titles"] or word in ("zqgone", "zqcall")
    assert len(hidden_conversations()) == 7
    told = client.get(f"/api/conversations/{FORK}").json["data"]
    assert told["copied_from"] == SECRET_SESSION
    [use] = ask(client, f"/api/conversations/{SOURCE}/tool-uses")["tool_uses"]
    assert (use["result"], use["status"]) == ("zqresult in the copy", "success")


def test_rows_are_those_that_are_there_and_so_are_totals(archive):
    whole, viewers = sign_in(), {name: sign_in(scope) for name, scope in scopes().items()}
    hidden = set(hidden_conversations())
    expected = [i for i in ids(whole, "/api/conversations", limit=100) if i not in hidden]
    expected = [i for i in expected if i != f"{SHARED_SESSION}.zqelsewhere"]
    found = {name: ids(client, "/api/conversations", limit=100) for name, client in viewers.items()}
    assert found["hidden"] == found["only"] == expected
    assert set(expected) >= {FORK, SOURCE, SHARED_SESSION, SIDE, f"{SHARED_SESSION}.plain"}
    assert found["both"] == [i for i in expected if i != SIDE]
    assert found["nothing"] == []
    projects = {name: ask(client, "/api/projects") for name, client in viewers.items()}
    paths = {name: [p["path"] for p in data["projects"]] for name, data in projects.items()}
    assert sorted(paths["hidden"]) == sorted(paths["only"]) == [VISIBLE, OTHER]
    assert (paths["both"], paths["nothing"]) == ([VISIBLE], [])
    totals = {name: data["pagination"]["total"] for name, data in projects.items()}
    assert totals == {"hidden": 2, "only": 2, "both": 1, "nothing": 0}
    [engine] = projects["both"]["projects"]
    assert engine["conversation_count"] == len(found["both"])
    one = ask(viewers["both"], f"/api/projects/{engine['id']}")
    assert engine.items() <= one.items()
    assert one["statistics"]["last_30_days"]["active_conversations"] <= len(found["both"])
    deleted = [ids(c, "/api/conversations", deleted="true") for c in (whole, viewers["hidden"])]
    assert [len(rows) for rows in deleted] == [1, 0]


@EACH_SCOPE
@pytest.mark.parametrize("size", [1, 2])
def test_pages_end_where_the_total_says(archive, name, size):
    client = sign_in(scopes()[name])
    total = ask(client, "/api/conversations")["pagination"]["total"]
    found, query = [], {"limit": size}
    while True:
        data = ask(client, "/api/conversations", **query)
        found += [row["id"] for row in data["conversations"]]
        if not data["pagination"]["has_more"]:
            break
        query = {"limit": size, "cursor": data["pagination"]["next_cursor"]}
    assert len(found) == len(set(found)) == total


def test_a_fork_keeps_what_it_has_copied_and_tells_not_from_where(archive):
    client = sign_in(scopes()["hidden"])
    told = ask(client, f"/api/conversations/{FORK}")
    assert (told["copied_from"], told["copied_message_count"]) == (None, 2)
    messages = ask(client, f"/api/conversations/{FORK}/messages")["messages"]
    assert [m["content"] for m in messages[:2]] == ["start together", ""]
    assert [m["copied_from"] for m in messages] == [None] * 4
    [call] = messages[1]["tool_calls"]
    assert (call["function"]["arguments"], call["result"]) == ({"command": "ls"}, None)
    assert (call["status"], call["execution_time_ms"]) == ("interrupted", None)
    one = ask(client, f"/api/messages/{messages[1]['id']}")
    assert (one["copied_from"], one["tool_calls"][0]["result"]) == (None, None)
    data = ask(client, "/api/search", q="together")
    assert [hit["conversation_id"] for hit in data["hits"]] == [FORK]


@pytest.mark.parametrize("name", ["hidden", "only"])
def test_a_list_finds_what_a_fork_has_copied_from_where_one_may_not_see(archive, name):
    execute("UPDATE conversations SET title = 'another' WHERE id = ?", (FORK,))
    client = sign_in(scopes()[name])
    assert ids(client, "/api/conversations", search="together") == [FORK]
    assert ids(client, "/api/conversations", search="zqanswer") == []
    assert ids(sign_in(), "/api/conversations", search="together") == [SECRET_SESSION]


def test_a_result_from_a_hidden_copy_is_not_there(archive):
    client = sign_in(scopes()["hidden"])
    path = f"/api/conversations/{SOURCE}/tool-uses"
    [use] = ask(client, path)["tool_uses"]
    assert (use["status"], use["result"], use["result_message_id"]) == ("interrupted", None, None)
    assert (use["finished_at"], use["execution_time_ms"]) == (None, None)
    assert ask(client, path, status="success")["pagination"]["total"] == 0
    assert len(ask(client, path, status="interrupted")["tool_uses"]) == 1
    [_, message] = ask(client, f"/api/conversations/{SOURCE}/messages")["messages"]
    assert message["tool_calls"][0]["result"] is None


def test_subagents_are_hidden_with_what_started_them(archive):
    client = sign_in(scopes()["hidden"])
    told = ask(client, f"/api/conversations/{SHARED_SESSION}")
    assert [child["agent_id"] for child in told["subagents"]] == ["plain"]
    assert ids(client, "/api/conversations", parent_id=SECRET_SESSION) == []
    assert ids(client, "/api/conversations", parent_id=SHARED_SESSION) == [
        f"{SHARED_SESSION}.plain"
    ]


def test_a_grandchild_is_hidden_with_its_grandparent(archive):
    child, parent = f"{SHARED_SESSION}.plain", f"{SECRET_SESSION}.inside"
    execute(
        "UPDATE conversations SET parent_key = (SELECT key FROM conversations WHERE id = ?)"
        " WHERE id = ?",
        (parent, child),
    )
    sign_in(scopes()["hidden"]).get(f"/api/conversations/{child}", status=404)
    sign_in().get(f"/api/conversations/{child}", status=200)


def test_secrets_are_told_and_counted_where_they_are_there(archive):
    whole = ask(sign_in(), "/api/secrets")["secrets"]
    assert {row["message_count"] for row in whole} == {2}
    told = ask(sign_in(scopes()["hidden"]), "/api/secrets")
    assert [(r["conversation_id"], r["message_count"]) for r in told["secrets"]] == [(FORK, 1)]
    assert told["pagination"]["total"] == 1


def test_files_are_there_with_their_conversations(archive):
    whole = ask(sign_in(), "/api/files")
    told = ask(sign_in(scopes()["hidden"]), "/api/files")
    names = {row["filename"] for row in told["files"]}
    assert {row["filename"] for row in whole["files"]} - names == {
        "zqlost.jsonl", "zqsession-1.jsonl", "zqcopy-1.jsonl", "agent-zqelsewhere.jsonl",
        "agent-inside.jsonl", "agent-nowhere.jsonl",
    }  # fmt: skip
    assert told["pagination"]["total"] == len(told["files"]) == 6 - 1


def test_an_etag_of_one_viewer_is_none_for_another(archive):
    path = f"/api/conversations/{SHARED_SESSION}"
    narrow = Scope(hidden=frozenset({project_key(HIDDEN)}))
    clients = [
        sign_in(), sign_in(narrow), sign_in(narrow, name="user:8"),
        sign_in(Scope(only=frozenset({project_key(VISIBLE)}))),
    ]  # fmt: skip
    tags = [client.get(path).headers["ETag"] for client in clients]
    assert len(set(tags)) == len(tags)
    for client, own in zip(clients, tags, strict=True):
        assert client.get(path, headers={"If-None-Match": own}).status_int == 304
        others = ", ".join(tag for tag in tags if tag != own)
        assert client.get(path, headers={"If-None-Match": others}).status_int == 200


def test_an_idempotency_key_is_its_senders_own(archive):
    headers, body = {"Idempotency-Key": "same"}, {"title": "x", "project_path": VISIBLE}
    clients = [sign_in(name=name) for name in ("user:1", "user:2", "key:1")]
    made = [c.post_json("/api/conversations", body, headers=headers) for c in clients]
    assert len({answer.json["data"]["id"] for answer in made}) == 3
    again = clients[0].post_json("/api/conversations", body, headers=headers)
    assert again.json["data"]["id"] == made[0].json["data"]["id"]
    assert again.headers["Idempotency-Replayed"] == "true"
    other = {"title": "y", "project_path": VISIBLE}
    clients[0].post_json("/api/conversations", other, headers=headers, status=409)


@pytest.mark.parametrize(
    ("name", "path", "is_taken"),
    [
        ("hidden", HIDDEN, False),
        ("hidden", HIDDEN + "/", False),
        ("hidden", VISIBLE, True),
        ("hidden", "/home/ada/new", True),
        ("hidden", None, True),
        ("only", VISIBLE, True),
        ("only", HIDDEN, False),
        ("only", "/home/ada/new", False),
        ("only", None, False),
    ],
)
def test_one_writes_only_where_one_may_read(archive, name, path, is_taken):
    client = sign_in(scopes()[name])
    body = {"title": "x", "project_path": path}
    before = fetch_all("SELECT path FROM projects")
    headers = {"Idempotency-Key": "k"}
    answer = client.post_json("/api/conversations", body, headers=headers, expect_errors=True)
    if is_taken:
        identifier = answer.json["data"]["id"]
        message = {"role": "user", "content": "hello"}
        client.post_json(f"/api/conversations/{identifier}/messages", message, status=201)
        return
    told = check_refusal(answer, 403, "FORBIDDEN")["error"]
    assert "/api/projects" in told
    assert fetch_all("SELECT path FROM projects") == before


def test_files_of_the_server_are_read_for_who_sees_all(archive):
    for scope in scopes().values():
        answer = sign_in(scope).post_json(
            "/api/files/process-jsonl", {"file_path": "/x/y.jsonl"}, expect_errors=True
        )
        assert "/api/files/upload" in check_refusal(answer, 403, "FORBIDDEN")["error"]


def upload(client: Any, transcript: Transcript, **query: str) -> Any:
    query = {"filename": f"{transcript.session_id}.jsonl", **query}
    return client.post(
        f"/api/files/upload?{urlencode(query)}", transcript.bytes(),
        headers={"Content-Type": "application/x-ndjson"}, expect_errors=True,
    )  # fmt: skip


def of(session: str = "up-1", *, cwd: str = VISIBLE, prefix: str = "u") -> Transcript:
    transcript = Transcript(session, cwd=cwd, prefix=prefix)
    transcript.prompt("uploaded")
    transcript.answer("and answered")
    return transcript


@pytest.mark.parametrize("name", ["hidden", "only"])
def test_an_upload_is_taken_and_told_to_who_sent_it(archive, name):
    client = sign_in(scopes()[name])
    answer = upload(client, of())
    assert (answer.status_int, answer.json["data"]["conversations"]) == (201, ["up-1"])
    told = ask(client, f"/api/files/{answer.json['data']['id']}")
    assert told["conversation_id"] == "up-1"
    assert upload(client, of()).status_int == 200


def test_of_an_upload_only_what_is_there_is_told(archive):
    [(key,)] = fetch_all("SELECT key FROM transcript_files WHERE filename = 'zqsession-1.jsonl'")
    whole, told = (get_upload(key, scope=scope) for scope in (WHOLE, scopes()["hidden"]))
    assert (whole["conversations"], whole["message_count"]) == ([SECRET_SESSION], 8)
    assert (told["conversations"], told["message_count"]) == ([], 0)
    assert told["conversation_id"] is None


def known_message() -> Transcript:
    transcript = of()
    last = fetch_one("SELECT id FROM messages WHERE content = 'zqlast'")
    assert last is not None
    transcript.prompt("give it to me", uuid=last[0])
    return transcript


def known_call() -> Transcript:
    transcript = of()
    row = fetch_one("SELECT id FROM api_calls WHERE model = 'zqmodel-1'")
    assert row is not None
    transcript.answer("count this", message_id=row[0], usage={"output_tokens": 10**6})
    return transcript


def known_title() -> Transcript:
    transcript = of()
    row = fetch_one("SELECT id FROM messages WHERE content = 'zqlast'")
    assert row is not None
    transcript.side("summary", summary="mine now", leafUuid=row[0])
    return transcript


def moving() -> Transcript:
    """Return a session whose sidechain, which comes first, is where one may write."""
    transcript = Transcript("up-1", cwd=HIDDEN, prefix="u")
    transcript.prompt("beside", isSidechain=True, cwd=VISIBLE)
    transcript.prompt("main")
    return transcript


def beginning_elsewhere() -> Transcript:
    """Return a session of which the archive has the beginning, which named no folder then."""
    begun = Transcript("up-1", cwd="", prefix="u")
    begun.prompt("where am I")
    assert upload(sign_in(), begun).status_int == 201
    transcript = Transcript("up-1", cwd=VISIBLE, prefix="u")
    transcript.prompt("where am I")
    transcript.prompt("there", cwd=HIDDEN)
    return transcript


def named_alike() -> Transcript:
    """Return a session that starts ``a.b``; a hidden one with ``.a`` in its name has ``b``."""
    hidden = hidden_words(session="up-1.a")
    hidden.prefix = "uq"
    hidden.common |= {"isSidechain": True, "agentId": "b"}
    hidden.prompt("zq")
    assert upload(sign_in(), hidden, filename="agent-b.jsonl").status_int == 201
    transcript = of("up-0")
    transcript.prompt("beside", isSidechain=True, agentId="a.b")
    transcript.session_id = "up-1"
    return transcript


@pytest.mark.parametrize("name", ["hidden", "only"])
@pytest.mark.parametrize(
    "make",
    [
        lambda: of(cwd=HIDDEN),
        lambda: of(SECRET_SESSION),
        lambda: of(f"{SECRET_SESSION}.inside"),
        known_message,
        known_call,
        known_title,
        moving,
        beginning_elsewhere,
        named_alike,
    ],
)
def test_an_upload_into_what_is_hidden_is_refused_and_leaves_nothing(archive, db, name, make):
    client, transcript = sign_in(scopes()[name]), make()
    before = sorted((db.parent / "uploads").rglob("*.jsonl"))
    with unchanged():
        told = check_refusal(upload(client, transcript), 403, "FORBIDDEN")
    assert "administrator" in told["error"]
    assert sorted((db.parent / "uploads").rglob("*.jsonl")) == before
    assert upload(sign_in(), transcript).status_int == 201


def test_an_upload_of_a_subagent_of_what_is_hidden_is_refused(archive):
    transcript = of(SECRET_SESSION)
    transcript.common["isSidechain"] = True
    client = sign_in(scopes()["hidden"])
    with unchanged():
        answer = upload(client, transcript, filename="agent-new.jsonl")
    check_refusal(answer, 403, "FORBIDDEN")


def test_an_upload_that_belongs_nowhere_is_not_for_a_limited_key(archive):
    transcript = of(cwd="")
    check_refusal(upload(sign_in(scopes()["only"]), transcript), 403, "FORBIDDEN")
    assert upload(sign_in(scopes()["hidden"]), transcript).status_int == 201


def test_an_upload_that_waits_is_there_for_all_and_one_that_was_lost_is_not(archive, db):
    folder = f"{db.parent}/uploads/abc"
    insert = (
        "INSERT INTO transcript_files (path, filename, role, created_at, status, line_count)"
        " VALUES (?, 'x.jsonl', 'session', '2026-01-01T00:00:00.000Z', ?, ?) RETURNING key"
    )
    [(waiting,)] = fetch_all(insert, (f"{folder}/x.jsonl", "pending", 0))
    [(lost,)] = fetch_all(insert, (f"{folder}d/x.jsonl", "completed", 5))
    for scope in scopes().values():
        client = sign_in(scope)
        assert ask(client, f"/api/files/{waiting}")["status"] == "pending"
        client.get(f"/api/files/{lost}", status=404)


def test_an_export_goes_on_with_the_scope_that_it_began_with(archive):
    client = sign_in(scopes()["hidden"])
    path = f"/api/conversations/{SHARED_SESSION}/export?include_subagents=true&format=json"
    told = json.loads(client.get(path).body)
    assert told["complete"]
    assert [s["conversation"]["agent_id"] for s in told["subagents"]] == ["plain"]
    assert len(json.loads(sign_in().get(path).body)["subagents"]) == 2


def test_a_session_goes_with_all_that_it_started(archive):
    client = sign_in(scopes()["hidden"])
    client.delete(f"/api/conversations/{SHARED_SESSION}")
    whole = sign_in()
    whole.get(f"/api/conversations/{SHARED_SESSION}.zqelsewhere", status=404)
    client.post(f"/api/conversations/{SHARED_SESSION}/restore")
    whole.get(f"/api/conversations/{SHARED_SESSION}.zqelsewhere", status=200)


def test_an_archive_looks_as_if_the_hidden_part_had_never_been(db, write, ingest):
    for number in range(6):
        session = Transcript(f"s-{number}", cwd=f"/p/{number % 3}", prefix=f"{number}x")
        session.prompt(f"common words {number}")
        session.tool_use("Bash", {"command": "ls"}, tool_use_id=f"t{number}")
        session.tool_result("a b", tool_use_id=f"t{number}", is_error=number % 2 == 0)
        if number % 3 != 1:
            write(session)
    ingest()
    paths = (
        "/api/conversations?sort_by=title", "/api/conversations?has_errors=true",
        "/api/conversations?search=common", "/api/projects", "/api/secrets",
        "/api/search?q=common&facets=true", "/api/search?q=common&sort=time&facets=true",
        "/api/search?tool=bash&sort=time", "/api/search?is_error=true&sort=time",
    )  # fmt: skip
    without = [comparable(ask(sign_in(), path)) for path in paths]
    for number in (1, 4):
        session = Transcript(f"s-{number}", cwd="/p/1", prefix=f"{number}x")
        session.prompt(f"common words {number}")
        session.tool_use("Bash", {"command": "ls"}, tool_use_id=f"t{number}")
        session.tool_result("a b", tool_use_id=f"t{number}", is_error=number % 2 == 0)
        write(session)
    ingest()
    narrow = sign_in(Scope(hidden=frozenset({project_key("/p/1")})))
    assert [comparable(ask(narrow, path)) for path in paths] == without
    assert [comparable(ask(sign_in(), path)) for path in paths] != without


@pytest.mark.parametrize(
    "query", [{"q": "common"}, {"q": "common", "sort": "time"}, {"tool": "Bash"}]
)
@pytest.mark.parametrize("few", [7, 8])
def test_where_little_is_there_all_of_it_is_found(db, write, ingest, monkeypatch, query, few):
    monkeypatch.setattr(search_matches, "EXAMINED", 12)
    monkeypatch.setattr(search_matches, "FEW", few)
    for number, path in enumerate(("/p/old", "/p/old", "/p/new", "/p/new", "/p/new")):
        session = Transcript(f"s-{number}", cwd=path, prefix=f"{number}x")
        for use in ("toolu_1", "toolu_2"):
            session.prompt("common words")
            session.tool_use("Bash", {"command": "common"}, tool_use_id=use)
        write(session)
        ingest()
    client = sign_in(Scope(only=frozenset({project_key("/p/old")})))
    data = ask(client, "/api/search", **query)
    assert {hit["conversation_id"] for hit in data["hits"]} == (
        {"s-0", "s-1"} if few == 8 else set()
    )
    assert data["pagination"]["total_relation"] == ("exact" if few == 8 else "at_least")


def comparable(data: dict[str, Any]) -> dict[str, Any]:
    """Return an answer without weights of words, which are those of the whole archive."""
    for hit in data.get("hits", ()):
        hit.pop("rank")
    if "hits" in data:
        data["hits"].sort(key=lambda hit: hit["message_id"])
    return data


def test_a_viewer_without_a_scope_sees_all(archive):
    assert WHOLE.is_whole
    assert ids(sign_in(), "/api/conversations", parent_id=SECRET_SESSION)
