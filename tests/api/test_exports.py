"""A conversation as a file: all of it, in every format, escaped, whatever its size."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from observatory.api import exports
from observatory.api.export_markdown import fence, in_line
from observatory.api.exports import make_filename
from observatory.store import exports as store
from observatory.store.conversation_removal import delete_conversation
from observatory.store.scopes import WHOLE
from tests.api.asking import ask, check_refusal, refuse
from tests.api.sessions import SESSION, numbered
from tests.processes import Home, serving, wait_for
from tests.transcripts_for_tests import Transcript

EXPORT = f"/api/conversations/{SESSION}/export"
FORMATS = {
    "jsonl": ("application/x-ndjson", "jsonl"),
    "json": ("application/json", "json"),
    "markdown": ("text/markdown", "md"),
    "html": ("text/html", "html"),
}
ATTACKS = (
    "<script>alert(1)</script>", "</pre><img src=x onerror=alert(1)>", "\"'><svg/onload=alert(1)>",
    "</title><script>alert(1)</script>", "</style><script>alert(1)</script>", "<!--", "]]>",
    "&lt;b>",
    "</details></article><iframe src=javascript:alert(1)>", "```\n<script>alert(1)</script>\n```",
    "~~~\n# Heading\n<b>", "[x](javascript:alert(1))", "![x](http://evil.example/p.png)",
    "\u202egnp.exe",
)  # fmt: skip
# What our own pages consist of; anything else came from a text.
TAGS = {
    "html", "head", "meta", "title", "style", "body", "h1", "dl", "dt", "dd", "article", "header",
    "b", "pre", "details", "summary", "bdi", "p", "section",
}  # fmt: skip
ATTRIBUTES = {"lang", "charset", "http-equiv", "content", "name", "class", "dir"}


class Page(HTMLParser):
    """Gathers tags, attributes and texts of a page; checks that tags are closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.texts: list[str] = []
        self.open: list[str] = []
        self.comments: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_comment(self, data):
        self.comments.append(data)

    def handle_data(self, data):
        self.texts.append(data)


def export(client, form: str, **params: str):
    return client.get(EXPORT, {"format": form, **params})


@pytest.mark.parametrize("form", FORMATS)
def test_headers_of_a_file(client, session, form):
    answer = export(client, form)
    media_type, extension = FORMATS[form]
    assert answer.content_type == media_type
    name = f"count-the-files-{SESSION}.{extension}"
    assert answer.headers["Content-Disposition"] == f'attachment; filename="{name}"'
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_lines_are_messages_as_the_api_shows_them(client, session):
    lines = [json.loads(line) for line in client.get(EXPORT).body.splitlines()]
    assert lines == ask(client, f"/api/conversations/{SESSION}/messages")["messages"]


def test_one_document(client, session):
    document = export(client, "json").json
    assert list(document) == ["conversation", "messages", "complete"]
    assert document["conversation"] == ask(client, f"/api/conversations/{SESSION}")
    assert document["messages"] == ask(client, f"/api/conversations/{SESSION}/messages")["messages"]
    assert document["complete"] is True


@pytest.mark.parametrize("form", ["markdown", "html"])
def test_people_read_what_was_said_and_done_once(client, session, form):
    text = export(client, form).text
    for said in (
        "Count the files",
        "I will look.",
        "Bash input",
        "mcp",
        "File does not exist.",
        "Two.",
    ):
        assert said in text
    # The message that brings a result is left out, since the call shows it.
    assert text.count("File does not exist.") == 1


# Subagents


def test_subagents_follow_on_request(client, session, subagent):
    own = f"/api/conversations/{subagent}/messages"
    messages = ask(client, f"/api/conversations/{SESSION}/messages")["messages"]
    theirs = ask(client, own)["messages"]
    assert theirs
    lines = [
        json.loads(line)
        for line in export(client, "jsonl", include_subagents="true").body.splitlines()
    ]
    assert lines == messages + theirs
    document = export(client, "json", include_subagents="true").json
    assert document["messages"] == messages
    [found] = document["subagents"]
    assert found == {
        "conversation": ask(client, f"/api/conversations/{subagent}"), "messages": theirs,
    }  # fmt: skip
    for form in ("markdown", "html"):
        assert "Explored." in export(client, form, include_subagents="true").text
        assert "Explored." not in export(client, form).text
    assert "subagents" not in export(client, "json").json


def test_without_subagents_their_list_is_empty(client, session):
    assert export(client, "json", include_subagents="1").json["subagents"] == []


# Refusals


def test_what_can_not_be_exported(client, session):
    assert list(refuse(client, EXPORT, {"format": "pdf"})) == ["format"]
    assert list(refuse(client, EXPORT, {"include_subagents": "perhaps"})) == ["include_subagents"]
    missing = client.get("/api/conversations/nothing/export", expect_errors=True)
    check_refusal(missing, 404, "NOT_FOUND")


# Escaping


@pytest.fixture
def attacked(write, ingest) -> str:
    """A conversation with every attack in every place that a transcript fills."""
    transcript = Transcript(SESSION, cwd="/home/<b>ada</b>&\"'")
    transcript.common["gitBranch"] = "<i>main</i>"
    for number, attack in enumerate(ATTACKS):
        name = f"Ba{attack}sh"
        call = {"type": "tool_use", "id": f"t{number}", "name": name, "input": {attack: [attack]}}
        transcript.prompt(attack)
        transcript.answer(blocks=[{"type": "thinking", "thinking": attack}])
        transcript.answer(attack, model=f"<u>model{number}</u>")
        transcript.answer(blocks=[{"type": "text", "text": attack}, call], stop_reason="tool_use")
        transcript.tool_result(attack, tool_use_id=f"t{number}", is_error=number % 2 == 0)
        transcript.prompt([{"type": "text", "text": attack}, {"type": attack, "x": attack}])
        transcript.chain("system", subtype="local_command", content=attack, level="info")
    transcript.side("custom-title", customTitle=ATTACKS[3], sessionId=SESSION)
    write(transcript)
    ingest()
    return SESSION


def test_no_text_becomes_a_part_of_the_page(client, attacked):
    answer = export(client, "html")
    page = Page(answer.text)
    assert page.tags <= TAGS
    assert page.attributes <= ATTRIBUTES
    assert (page.open, page.comments) == ([], [])
    for attack in ATTACKS:
        # Opening and closing tags of one text element arrive as one text.
        assert any(attack in text for text in page.texts), attack
    assert ATTACKS[3] in page.texts


def test_the_page_runs_nothing_and_loads_nothing(client, session):
    answer = export(client, "html")
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "script" not in policy
    assert "unsafe" not in policy
    for directive in ("base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'", "sandbox"):
        assert directive in policy
    assert answer.text.count("<style>") == 1
    assert not re.search(r"https?:|src=|href=|url\(|@import|<script", answer.text)
    [inside] = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', answer.text)
    assert policy.startswith(inside.replace("&#x27;", "'"))


def test_the_policy_allows_the_style_of_the_page(client, session):
    answer = export(client, "html")
    [style] = re.findall(r"<style>(.*?)</style>", answer.text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"'sha256-{digest}'" in answer.headers["Content-Security-Policy"]


def test_no_text_becomes_markup_in_markdown(client, attacked):
    tokens = MarkdownIt("commonmark").parse(export(client, "markdown").text)
    blocks = {token.type for token in tokens}
    assert "html_block" not in blocks
    inner = {child.type for token in tokens for child in token.children or ()}
    assert inner <= {"text", "softbreak", "strong_open", "strong_close", "text_special"}
    fences = [token.content for token in tokens if token.type == "fence"]
    for attack in ATTACKS:
        assert any(attack in content for content in fences), attack
    [title] = [
        t
        for t, before in zip(tokens[1:], tokens, strict=False)
        if before.tag == "h1" and before.nesting == 1
    ]
    assert "".join(child.content for child in title.children or ()) == ATTACKS[3]


@pytest.mark.parametrize("text", ["", "`", "```", "``````x", "a\n````\nb\n`````", "~~~", "\n"])
def test_a_fence_holds_any_text(text):
    tokens = MarkdownIt("commonmark").parse(fence(text))
    assert [token.type for token in tokens] == ["fence"]
    assert tokens[0].content.rstrip("\n") == text.rstrip("\n")


def test_one_line_stays_one():
    assert in_line("a\n# b\r\n<c> *d*") == r"a \# b \<c\> \*d\*"


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("Count the files", "count-the-files-x.md"), ("../../etc/passwd", "etc-passwd-x.md"),
        ('a"; filename="b.exe', "a-filename-b-exe-x.md"), ("日本語", "x.md"),
        ("a\r\nSet-Cookie: b", "a-set-cookie-b-x.md"),
        ("CON", "con-x.md"), ("é" * 300, "x.md"), ("a" * 300, "a" * 60 + "-x.md"), ("...", "x.md"),
    ],
)  # fmt: skip
def test_names_of_files_are_safe(title, name):
    assert make_filename({"title": title, "id": "x"}, ".md") == name


def test_an_id_is_made_safe_too():
    assert make_filename({"title": "", "id": 'a/../"b'}, ".md") == "a-b.md"


# Size


def test_pieces_are_small_and_nothing_is_lost(client, write, ingest, monkeypatch):
    monkeypatch.setattr(store, "PIECE_CHARACTERS", 1000)
    monkeypatch.setattr(store, "_MESSAGES_AT_ONCE", 7)
    transcript = Transcript(SESSION)
    for number in range(40):
        transcript.prompt("x" * (number * 97 % 2300))
        transcript.tool_use(
            "Bash", {"command": "y" * (number * 31 % 900)}, tool_use_id=f"t{number}"
        )
        transcript.tool_result("z" * (number * 53 % 1700), tool_use_id=f"t{number}")
    write(transcript)
    ingest()
    asked: list[int] = []
    original = store.list_messages

    def counted(*args, **kwargs):
        asked.append(kwargs["limit"])
        return original(*args, **kwargs)

    monkeypatch.setattr(store, "list_messages", counted)
    lines = [json.loads(line) for line in client.get(EXPORT).body.splitlines()]
    assert lines == ask(client, f"/api/conversations/{SESSION}/messages", limit=500)["messages"]
    assert len(asked) > 20
    assert max(asked) <= 7


def test_messages_that_come_meanwhile_are_exported(db, session, write, ingest, monkeypatch):
    monkeypatch.setattr(store, "PIECE_CHARACTERS", 1)
    messages = store.read_messages(SESSION, scope=WHOLE)
    first = next(messages)
    transcript = Transcript(SESSION, prefix="z")
    transcript.prompt("one more", timestamp="2026-03-05T00:00:00.000Z")
    write(transcript, f"-other/{SESSION}.jsonl")
    ingest()
    contents = [first["content"], *[message["content"] for message in messages]]
    assert len(contents) == 8
    assert "one more" in contents


@pytest.mark.parametrize("form", FORMATS)
def test_a_conversation_that_goes_meanwhile_ends_its_file(client, session, form, monkeypatch):
    monkeypatch.setattr(store, "PIECE_CHARACTERS", 1)
    monkeypatch.setattr(store, "_MESSAGES_AT_ONCE", 1)
    writer = exports.FORMATS[form]()
    pieces = exports.write(
        writer, store.read_conversation(SESSION, scope=WHOLE), scope=WHOLE, include_subagents=True
    )
    text = [next(pieces), next(pieces)]
    delete_conversation(SESSION, scope=WHOLE)
    text += list(pieces)
    whole = b"".join(p if isinstance(p, bytes) else p.encode() for p in text).decode()
    if form == "json":
        assert json.loads(whole)["complete"] is False
    elif form == "jsonl":
        assert [json.loads(line)["content"] for line in whole.splitlines()] == ["Count the files"]
    else:
        assert "something is missing" in whole
    if form == "html":
        assert Page(whole).open == []


def test_a_subagent_that_goes_meanwhile_leaves_the_document_whole(client, session, subagent):
    pieces = exports.write(
        exports.JsonDocument(),
        store.read_conversation(SESSION, scope=WHOLE),
        scope=WHOLE,
        include_subagents=True,
    )
    text = [next(pieces)]
    delete_conversation(subagent, scope=WHOLE)
    document = json.loads(b"".join([*text, *pieces]))  # type: ignore[list-item]
    assert (document["complete"], document["subagents"]) == (False, [])


def peak_memory_kb(pid: int) -> int:
    [line] = [
        x for x in Path(f"/proc/{pid}/status").read_text().splitlines() if x.startswith("VmHWM")
    ]
    return int(line.split()[1])


def children_of(pid: int) -> list[int]:
    return [int(c) for c in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
def test_a_large_conversation_needs_no_memory(tmp_path):
    """Export 28 MB in every format, and packed: the worker grows by a small part of it."""
    home = Home(tmp_path)
    transcript = numbered(1)
    transcript.prompt("begin")
    path = home.projects / "-work" / f"{transcript.session_id}.jsonl"
    path.parent.mkdir(parents=True)
    with path.open("wb") as file:
        for number in range(300):
            transcript.answer(f"{number} " + "<word> ``` " * 9000)
            file.write(transcript.bytes())
            transcript.records.clear()
    size = path.stat().st_size
    assert size > 27_000_000
    assert home.run("migrate").returncode == 0
    assert home.run("ingest").returncode == 0
    with serving(home, "--no-ingest", WEB_WORKERS="1") as server:
        [worker] = wait_for(lambda: children_of(server.process.pid), what="a worker")
        address = f"/api/conversations/{transcript.session_id}/export?format="
        assert server.get(address + "jsonl&include_subagents=perhaps")[0] == 400
        before = peak_memory_kb(worker)
        for form in FORMATS:
            for coding in ("identity", "gzip", "zstd") if form == "html" else ("identity",):
                connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
                headers = {"Accept-Encoding": coding, **server.credentials()}
                connection.request("GET", address + form, headers=headers)
                answer = connection.getresponse()
                assert answer.status == 200
                received = 0
                while piece := answer.read(1 << 16):
                    received += len(piece)
                connection.close()
                assert coding != "identity" or received > size * 0.95
        assert peak_memory_kb(worker) - before < 16_000
