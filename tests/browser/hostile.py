"""A transcript that tries to run in the browser of who reads it, in every field that is shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from playwright.sync_api import Page

from tests.browser.watching import Watch
from tests.transcripts_for_tests import Transcript

SESSION_ID = "0badc0de-0000-4000-8000-000000000001"
# Set by whatever runs; ``Watch`` hears of it.
# It has no quotes and no spaces, so that it runs in any attribute.
_RUN = "window.__executed=/{}/,alert(/{}/)"
_HOST = "//hostile.example"
# Elements made of a text have this attribute, whether they run anything or not.
MARK = "data-hostile"


def payloads(field: str) -> list[str]:
    """Return texts for a field that would run, load or draw something if they were markup."""
    run = _RUN.format(field, field)
    # A character of each: quotes, slashes and backticks are what fields break differently at.
    return [
        f"<script {MARK}>{run}</script>",
        f'<img {MARK} src=x onerror="{run}">',
        f"'\"><svg {MARK} onload=\"{run}\"><animate onbegin=\"{run}\" attributeName=x dur=1s>",
        f"</title></textarea></style><iframe {MARK} srcdoc='<script>parent.{run}</script>'>",
        f'<a {MARK} href="javascript:{run}">press</a>',
        f"[press](javascript:{run}) [data](data:text/html,<script>{run}</script>)",
        f"[tab](java\tscript:{run}) [case](JaVaScRiPt:{run}) <javascript:{run}>",
        f"![picture](https:{_HOST}/{field}.png) [ref][1]\n\n[1]: vbscript:{run}",
        f'![x](x"onerror="{run}) [x](https://a"onmouseover="{run})',
        f"`</code><b {MARK}>` ```html\n<script {MARK}>{run}</script>\n```",
        f"<style {MARK}>@import '{_HOST}/{field}.css';body{{outline:9px solid red}}</style>",
        f'<p {MARK} style="position:fixed;inset:0;background:url({_HOST}/{field})">over all</p>',
        f"{{{{constructor.constructor(\"{run}\")()}}}} ${{{run}}} <%= {run} %> #{{{run}}}",
        f"<math {MARK}><mtext><table><mglyph><style><img src=x onerror=\"{run}\"></style></math>",
        f"<form {MARK} action=javascript:{run}><input type=submit></form>",
        f"<base {MARK} href='{_HOST}/'><meta {MARK} http-equiv=refresh content='0;url={_HOST}/'>",
        f"<object {MARK} data='{_HOST}/x.swf'></object><embed {MARK} src='{_HOST}/x'>",
        f"<details {MARK} open ontoggle=\"{run}\"><input autofocus onfocus=\"{run}\">",
        f"<x-hostile {MARK} id=location name=cookie></x-hostile><form {MARK} name=querySelector>",
        "\u202egnp.exe\u202c \u2066right\u2069 \u200f \u200b\ufeff zero\u0000 \ud83d half",
        "| a | b |\n|---|---|\n" + f"| <img {MARK} src=x onerror={run}> | ~~{run}~~ |",
        "\x1b]8;;javascript:alert(1)\x1b\\press\x1b]8;;\x1b\\ \x1b[31mred\x1b[0m",
        "__proto__", "constructor", "</", "<!--", "]]>", "&lt;b&gt; &#60;b&#62; &amp;lt;",
    ]  # fmt: skip


def _all(field: str) -> str:
    return "\n\n".join(payloads(field))


def _short(field: str) -> str:
    run = _RUN.format(field, field)
    return f'\'"><img {MARK} src=x onerror="{run}"><script {MARK}>{run}</script>'


def make_hostile() -> list[Transcript]:
    """Return sessions with a payload in each field: the first has many, others one in the title."""
    return [_make_one(), *map(_make_titled, range(2, 2 + len(payloads("title"))))]


def _make_one() -> Transcript:
    said = Transcript(SESSION_ID, cwd=f"/home/{_short('cwd')}", version=_short("version"))
    said.common["gitBranch"] = _short("branch")
    said.common["slug"] = said.common["entrypoint"] = _short("slug")
    said.side("summary", summary=_short("summary"), leafUuid=said.uuid(1))
    said.side("custom-title", customTitle=_short("title"), sessionId=SESSION_ID)
    said.side("tag", tag=_short("tag"), sessionId=SESSION_ID)
    for text in payloads("prompt"):
        said.prompt(text)
    said.prompt([{"type": "text", "text": _all("text")}, *_make_pictures()])
    said.prompt(f"<command-name>/{_short('command')}</command-name><command-args>{_all('args')}")
    said.prompt(f"<local-command-stdout>{_all('stdout')}</local-command-stdout>")
    for text in payloads("answer"):
        said.answer(text, model=_short("model"))
    said.answer(blocks=[{"type": "thinking", "thinking": _all("thinking"), "signature": "s"}])
    said.answer(blocks=[{"type": _short("block"), "text": _all("block")}])
    for number, (name, parameters, result, details) in enumerate(_list_tools()):
        tool_use_id = f"toolu_{number}{_short('id')}"
        said.tool_use(name, parameters, tool_use_id=tool_use_id, model=_short("model"))
        said.tool_result(
            result, tool_use_id=tool_use_id, is_error=number % 2 == 1, toolUseResult=details
        )
    said.chain("system", subtype=_short("subtype"), level="info", content=_all("system"))
    said.chain("system", subtype="local_command", content=_all("local"))
    said.prompt(_all("compaction"), isCompactSummary=True)
    said.chain(
        "assistant",
        message={
            "id": "msg_error",
            "model": "<synthetic>",
            "role": "assistant",
            "content": [{"type": "text", "text": _all("error")}],
        },
        isApiErrorMessage=True,
        error=_short("error"),
    )
    said.raw(b'{"type":"user","<script>window.__executed=1</script>')
    return said


def _make_titled(number: int) -> Transcript:
    session_id = f"0badc0de-0000-4000-8000-{number:012d}"
    said = Transcript(
        session_id, cwd=f"/home/{number}/{_short('project')}", prefix=f"{number:x}"[-1]
    )
    said.uuid = lambda count: f"{number:08x}-0000-4000-8000-{count:012d}"  # type: ignore[method-assign]
    title = payloads("title")[number - 2].replace("\ud83d", "")
    said.side("custom-title", customTitle=title, sessionId=session_id)
    said.prompt(title)
    said.answer(title, message_id=f"msg_titled_{number}")
    return said


def _make_pictures() -> list[dict[str, Any]]:
    svg = f"<svg xmlns='http://www.w3.org/2000/svg' onload=\"{_RUN.format('svg', 'svg')}\"/>"
    sources = (
        ("image/svg+xml", svg.encode().hex()),
        (f'image/png"{_short("media")}', "iVBORw0KGgo="),
        ("text/html", "PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg=="),
    )
    return [
        {"type": "image", "source": {"type": "base64", "media_type": kind, "data": data}}
        for kind, data in sources
    ]


def _list_tools() -> list[tuple[str, Any, Any, Any]]:
    """Return name, input, result and the client's record of each tool."""
    path, text = f"/home/ada/{_short('path')}", _all("tool")
    patch = {"oldStart": 1, "oldLines": 1, "newStart": 1, "newLines": 1}
    hunk = {**patch, "lines": [f"-{_short('old')}", f"+{_short('new')}"]}
    edited = {"filePath": path, "structuredPatch": [hunk], "originalFile": text}
    todo = {"content": text, "status": _short("status"), "activeForm": text}
    strings = {"file_path": path, "old_string": text, "new_string": text[::-1] + text}
    block = {"type": "text", "text": text}
    question = {"question": text, "header": text, "options": [{"label": text}]}
    return [
        ("Bash", {"command": text, "description": _short("description")}, text, {"stdout": text}),
        ("Edit", strings, text, edited),
        ("MultiEdit", {"file_path": path, "edits": [strings]}, text, edited),
        ("Write", {"file_path": path, "content": text}, text, {**edited, "content": text}),
        ("Read", {"file_path": path}, text, {"file": {"filePath": path, "content": text}}),
        ("Grep", {"pattern": text, "path": path}, text, {"filenames": [path], "content": text}),
        ("Glob", {"pattern": text}, text, {"filenames": [path]}),
        ("TodoWrite", {"todos": [todo]}, text, {"newTodos": [todo]}),
        ("WebFetch", {"url": "javascript:alert(1)", "prompt": text}, text, {"url": text}),
        ("WebSearch", {"query": text}, text, {"results": [text]}),
        ("Task", {"description": text, "prompt": text, "subagent_type": text}, text, text),
        ("AskUserQuestion", {"questions": [question]}, text, {"answers": {text: text}}),
        ("ExitPlanMode", {"plan": text}, text, {"plan": text}),
        (f"mcp__{_short('server')}__{_short('tool')}", {_short("key"): text}, [text], [text]),
        (_short("name"), {_short("key"): {_short("deep"): [text]}}, [block], {_short("k"): text}),
        ("__proto__", {"__proto__": text, "constructor": text}, text, {"__proto__": {"a": text}}),
    ]  # fmt: skip


def write_hostile(projects: Path) -> None:
    """Write the sessions to a folder whose name is hostile, too."""
    folder = projects / "-home-'\"&<img src=x onerror=alert(1)>"
    folder.mkdir()
    for said in make_hostile():
        (folder / f"{said.session_id}.jsonl").write_bytes(said.bytes())


_FIND = (Path(__file__).parent / "find_hostile.js").read_text().replace("MARK", MARK)


def assert_harmless(page: Page, watch: Watch) -> None:
    """Fail if a hostile text ran, asked for something, or became markup, an address or a style."""
    found = watch.problems() + page.evaluate(_FIND)
    assert not found, "\n".join(found[:20])
