"""Each check of the fixtures fails when it should."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests.browser import chromium
from tests.browser.accessibility import assert_accessible
from tests.browser.chromium import NoChromium, find_chromium
from tests.browser.hostile import assert_harmless, payloads
from tests.browser.looks import LOOKS

ORIGIN = "http://127.0.0.1:9"
STRICT = {"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'"}


@pytest.fixture
def made(make_page, watches):
    """A page of an origin that does not exist: what it holds is given by each test."""
    return Made(make_page(origin=ORIGIN), watches)


class Made:
    """A page with a text as its body, below a policy or none."""

    def __init__(self, page: Page, watches) -> None:
        self.page, self.watches = page, watches
        self.watch = watches[-1]

    def show(self, body: str, *, script: str = "", headers: dict[str, str] | None = None) -> Page:
        html = f'<!doctype html><html lang="en"><title>t</title><body>{body}'
        tail = '<script src="/s.js"></script>' if script else ""
        self.page.route(
            f"{ORIGIN}/",
            lambda route: route.fulfill(
                body=html + tail, content_type="text/html", headers=headers or {}
            ),
        )
        self.page.route(
            f"{ORIGIN}/s.js",
            lambda route: route.fulfill(body=script, content_type="text/javascript"),
        )
        self.page.goto(f"{ORIGIN}/")
        return self.page


def test_quiet_page_is_quiet(made, assert_quiet):
    made.show("<p>fine</p>", script="console.log('a'); console.warn('b')", headers=STRICT)
    assert made.watch.problems() == []


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("console.error('mine')", "console: mine"),
        ("throw new Error('mine')", "error: mine"),
        ("Promise.reject(new Error('mine'))", "unhandled rejection: Error: mine"),
        ("document.body.innerHTML = '<i style=color:red>'", "policy violation: style-src-attr"),
        ("eval('1')", "policy violation: script-src blocked eval"),
        ("fetch('https://elsewhere.example/x').catch(() => 0)", "policy violation: connect-src"),
        ("window.__executed = 'mine'", "executed: mine"),
        ("alert('mine')", "dialog: alert mine"),
    ],
)
def test_what_goes_wrong_is_told(made, assert_quiet, script, told):
    made.show("", script=script, headers=STRICT)
    assert any(told in problem for problem in made.watch.problems()), made.watch.problems()
    with pytest.raises(AssertionError, match="(?s)" + told.split(":")[0]):
        assert_quiet()
    made.watch.forget()


@pytest.mark.parametrize(
    "script",
    [
        "fetch('https://elsewhere.example/x').catch(() => 0)",
        "new WebSocket('wss://elsewhere.example/x')",
        "document.body.innerHTML = '<img src=//elsewhere.example/x>'",
        "navigator.sendBeacon('https://elsewhere.example/x')",
    ],
)
def test_requests_to_other_origins_are_told(made, script):
    made.show("", script=script)
    made.page.wait_for_load_state("networkidle")
    assert any("to another origin" in problem for problem in made.watch.problems())


def test_what_is_expected_is_no_problem(made, assert_quiet):
    made.show("", script="console.error('mine')")
    assert_quiet(but=["mine"])


@pytest.mark.parametrize(
    "body",
    [
        "<img src='data:image/png;base64,' width=9 height=9>",
        "<input>",
        "<p style='color:#ccc;background:#fff'>pale</p>",
        "<button></button>",
    ],
)
def test_what_not_all_can_use_is_told(made, body):
    page = made.show(f"<main>{body}</main>")
    with pytest.raises(AssertionError, match=r"(serious|critical): "):
        assert_accessible(page)


def test_axe_runs_below_a_strict_policy(made, assert_quiet):
    page = made.show("<main><h1>fine</h1><input></main>", headers=STRICT)
    with pytest.raises(AssertionError, match="label"):
        assert_accessible(page)


# Those that are dangerous as HTML; the others are for Markdown, templates and terminals.
MARKUP = [text for text in payloads("x") if "data-hostile" in text]


@pytest.mark.parametrize("headers", [{}, STRICT], ids=["no policy", "policy"])
@pytest.mark.parametrize("text", MARKUP)
def test_hostile_text_that_becomes_markup_is_told(made, headers, text):
    made.show(f"<p>{text}", headers=headers)
    with pytest.raises(AssertionError):
        assert_harmless(made.page, made.watch)


@pytest.mark.parametrize("text", ["<script>", "<img", "<svg", "iframe"])
def test_hostile_text_really_runs_where_nothing_holds_it_back(made, text):
    [chosen, *_] = [each for each in MARKUP if text in each]
    made.show(f"<p>{chosen}")
    made.page.wait_for_load_state("load")
    assert any(problem.startswith("executed") for problem in made.watch.problems())


@pytest.mark.parametrize(
    "body",
    [
        "<a href=' java\tscript:alert(1)'>x</a>",
        "<a href='data:text/html,x'>x</a>",
        "<img alt='' src='data:image/svg+xml,x'>",
        "<p onclick=x()>x</p>",
        "<style>body{outline:9px solid red}</style>",
    ],
)
def test_addresses_listeners_and_styles_of_texts_are_told(made, body):
    page = made.show(body)
    with pytest.raises(AssertionError):
        assert_harmless(page, made.watch)


def test_hostile_text_that_is_shown_as_text_is_harmless(made):
    page = made.show("<pre></pre>")
    page.evaluate(
        "texts => { document.querySelector('pre').textContent = texts }", "\n".join(payloads("x"))
    )
    assert_harmless(page, made.watch)


def test_each_look_is_as_it_says(make_page, look):
    page = make_page(look=look, origin=ORIGIN)
    told = page.evaluate(
        "() => [matchMedia('(prefers-color-scheme: dark)').matches, innerWidth, innerHeight]"
    )
    assert told == [look.scheme == "dark", look.width, look.height]
    assert len({look.name for look in LOOKS}) == len(LOOKS) == 4


def test_chromium_is_where_it_is_said_to_be(monkeypatch, tmp_path):
    program = tmp_path / "chrome"
    program.touch(mode=0o755)
    monkeypatch.setenv("CHROMIUM", str(program))
    assert find_chromium() == str(program)


def test_missing_chromium_is_said_with_what_to_do(monkeypatch, tmp_path):
    monkeypatch.delenv("CHROMIUM", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoChromium, match="CHROMIUM"):
        find_chromium()
    monkeypatch.setenv("CHROMIUM", str(Path(chromium.__file__)))
    with pytest.raises(NoChromium, match=r"chromium\.py, which is no program"):
        find_chromium()
