"""The view of one conversation."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.hostile import SESSION_ID
from tests.browser.looks import LOOKS
from tests.browser.settling import settle
from tests.browser.talks import Talk
from tests.processes import wait_for

MOST_NODES = 3000


@pytest.fixture
def talk(site) -> Talk:
    """A conversation that may be written and gone on with."""
    return Talk(site)


def open_all(page: Page) -> None:
    """Open what is closed, and what comes into the document with it."""
    closed = "[data-fold][aria-expanded=false]"
    # By script: what is opened moves all that is below it.
    press = "folds => (folds.forEach((fold) => fold.click()), folds.length)"
    while page.locator(closed).evaluate_all(press):
        page.wait_for_timeout(0)


def is_at_end(page: Page) -> bool:
    """Tell whether the window shows the end."""
    script = "scrollY + innerHeight > document.documentElement.scrollHeight - 4"
    return bool(page.evaluate(script))


def test_a_conversation_is_usable_by_all(site, page_in_look, axe, assert_quiet):
    page_in_look.goto(f"/conversations/{site.find_conversation(sort_by='message_count')}")
    settle(page_in_look)
    axe(page_in_look)


def test_what_was_opened_is_usable_by_all(page_in_look, talk, axe, assert_quiet):
    talk.prompt("Do it")
    talk.say("# Title\n\n- [x] done\n\n| a | b |\n|--|--|\n| 1 | 2 |\n\n```python\nx = 1\n```")
    talk.use("Bash", {"command": "ls"}, "\x1b[31mred\x1b[0m plain", is_error=True)
    talk.use("Edit", {"file_path": "/x.py", "old_string": "a = 1", "new_string": "a = 2"}, "done")
    talk.use("Read", {"file_path": "/x.py"}, "     1→import os\n     2→x = 1")
    talk.use("TodoWrite", {"todos": [{"content": "sleep", "status": "pending"}]}, "ok")
    talk.use("mcp__tracker__get", {"id": {"deep": [1, "two", None]}}, '{"a": [1]}')
    page_in_look.goto(talk.write())
    settle(page_in_look)
    open_all(page_in_look)
    settle(page_in_look)
    axe(page_in_look)


def test_turns_tell_what_they_took(page, talk, assert_quiet):
    talk.prompt("first")
    talk.use("Bash", {"command": "make"}, "no", is_error=True)
    talk.say("It failed.")
    talk.prompt("second")
    page.goto(talk.write())
    first = page.locator(".turn").first
    for words in ("1 tool", "1 failed", "tokens", "$"):
        expect(first).to_contain_text(words)
    outline = page.get_by_role("navigation", name="Turns")
    expect(outline.get_by_role("button")).to_have_count(2)


def test_tools_are_shown_as_what_they_are(page, talk, assert_quiet):
    talk.prompt("Go")
    talk.use("Bash", {"command": "echo hi"}, "\x1b[32mhi\x1b[0m")
    old, new = "one\ntwo words here\nthree", "one\ntwo other here\nthree"
    edit = {"file_path": "/home/ada/engine/a.py", "old_string": old, "new_string": new}
    talk.use("Edit", edit, "Updated:\n     9→one\n    10→two other here\n    11→three")
    talk.use("Read", {"file_path": "/home/ada/engine/a.py"}, "     7→def f():\n     8→    pass")
    todos = [{"content": "walk", "status": "completed"}, {"content": "run", "status": "pending"}]
    talk.use("TodoWrite", {"todos": todos}, "ok")
    talk.use("Grep", {"pattern": "f", "path": "/home/ada/engine"}, "/home/ada/engine/a.py:7:def f")
    page.goto(talk.write())
    heads = page.locator(".said-tool .fold-head")
    expect(heads.nth(1)).to_contain_text("Edit")
    expect(heads.nth(1)).to_contain_text("a.py")
    expect(heads.nth(3)).to_contain_text("1 of 2 done")
    expect(heads.first).to_contain_text("succeeded")
    open_all(page)
    bodies = page.locator(".said-tool .fold-body")
    expect(bodies.nth(0).locator(".ansi-2")).to_have_text("hi")
    expect(bodies.nth(1).locator(".diff-old .diff-word")).to_have_text("words")
    expect(bodies.nth(1).locator(".diff-new .diff-number").last).to_have_text("10")
    expect(bodies.nth(2).locator(".line-numbers")).to_have_text("7\n8")
    expect(bodies.nth(2).locator(".hljs-keyword").first).to_have_text("def")
    expect(bodies.nth(3).locator(".todo-completed")).to_contain_text("walk")
    expect(bodies.nth(4).locator(".found li")).to_contain_text("a.py:7")


def test_long_results_are_begun_and_shown_on_demand(page, talk, assert_quiet):
    talk.prompt("Go")
    talk.use("Bash", {"command": "seq"}, "\n".join(map(str, range(20_000))))
    page.goto(talk.write())
    page.locator("[data-fold]").first.click()
    page.get_by_role("button", name="Show all of the result").click()
    page.get_by_role("button", name=re.compile("Show all 20,000 lines")).click()
    expect(page.locator(".output")).to_contain_text("19999")


def test_a_rewound_prompt_is_folded(page, talk, assert_quiet):
    talk.prompt("start")
    talk.say("yes")
    last = talk.last
    talk.prompt("left behind")
    talk.say("answer that is left behind")
    talk.last = last
    talk.prompt("written anew")
    talk.say("answer that counts")
    page.goto(talk.write())
    fold = page.get_by_role("button", name="2 messages on another branch")
    expect(fold).to_be_visible()
    expect(page.get_by_text("answer that is left behind")).to_have_count(0)
    fold.click()
    expect(page.get_by_text("answer that is left behind")).to_be_visible()


def test_a_link_leads_to_its_message(page, talk, assert_quiet):
    wanted = ""
    for turn in range(40):
        talk.prompt(f"prompt {turn}")
        for number in range(6):
            said = talk.use("Bash", {"command": f"run {turn} {number}"}, f"result {turn} {number}")
            wanted = said if (turn, number) == (30, 3) else wanted
    path = talk.write()
    page.goto(f"{path}?message={wanted}")
    expect(page.get_by_text("result 30 3", exact=True)).to_be_in_viewport()
    result = re.sub(r"\d{12}$", lambda found: f"{int(found[0]) + 1:012d}", wanted)
    page.goto(f"{path}?message={result}")
    expect(page.get_by_text("result 30 3", exact=True)).to_be_in_viewport()
    page.goto(f"{path}?message=none")
    expect(page.get_by_role("alert")).to_contain_text("not here")
    assert_quiet(but=["404"])


def test_words_are_found_where_nothing_of_them_is_drawn(page, talk, site, assert_quiet):
    for turn in range(30):
        talk.prompt(f"prompt {turn}")
        talk.say("Nothing here. " * 60)
    talk.use("Bash", {"command": "look"}, "\n" * 200 + "the needlework is here")
    page.goto(talk.write())
    searched = f"/api/search?q=needlework&conversation_id={talk.session_id}"
    wait_for(lambda: site.server.data(searched)["hits"], what="the index")
    page.locator(".said-prompt").first.wait_for()
    page.keyboard.press("f")
    expect(page.get_by_role("searchbox", name="Find in this conversation")).to_be_focused()
    page.keyboard.type("needlew")
    expect(page.locator(".find-count")).to_have_text("1 of 1")
    expect(page.get_by_text("the needlework is here").last).to_be_in_viewport()


def test_keys_go_from_turn_to_turn_and_open(page, talk, assert_quiet):
    for turn in range(12):
        talk.prompt(f"prompt {turn}")
        talk.use("Bash", {"command": "ls"}, "file")
        talk.say("Words. " * 300)
    page.goto(talk.write())
    page.locator(".said-prompt").first.wait_for()
    page.keyboard.press("j")
    expect(page.locator("#turn-2")).to_be_focused()
    page.keyboard.press("j")
    expect(page.locator("#turn-3")).to_be_focused()
    page.keyboard.press("e")
    expect(page.locator("[data-fold][aria-expanded=true]")).to_have_count(1)
    page.keyboard.press("k")
    expect(page.locator("#turn-2")).to_be_focused()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("Next turn")


def test_what_is_said_comes_by_itself_and_is_followed(page, talk, assert_quiet):
    talk.prompt("Start")
    for _ in range(10):
        talk.say("Words. " * 200)
    page.goto(talk.write())
    page.locator(".said-prompt").first.wait_for()
    talk.use("Bash", {"command": "sleep 9"}, None)
    talk.write()
    page.get_by_role("button", name="1 new").click()
    running = page.locator(".said-tool .fold-head")
    expect(running).to_contain_text("running")
    for number in range(3):
        talk.say(f"later {number}. " + "Words. " * 200)
        talk.write()
        expect(page.get_by_text(f"later {number}.")).to_be_attached()
        expect(page.locator(".said").last).to_be_in_viewport()
    wait_for(lambda: is_at_end(page), what="the end")
    follow = page.get_by_role("switch", name="Follow")
    expect(follow).to_be_checked()
    page.mouse.move(600, 500)
    page.mouse.wheel(0, -1500)
    expect(follow).not_to_be_checked()


def test_an_open_row_stays_where_it_is_while_others_come(page, talk, assert_quiet):
    talk.prompt("Start")
    for _ in range(30):
        talk.say("Words. " * 200)
    page.goto(talk.write())
    page.mouse.move(600, 500)
    page.mouse.wheel(0, 2000)
    settle(page)
    row = page.locator(".said-answer").nth(2)
    before = row.bounding_box()
    talk.say("more")
    talk.write()
    expect(page.get_by_role("button", name="1 new")).to_be_visible()
    assert row.bounding_box() == before


def test_only_what_is_in_sight_is_in_the_document(page, talk, assert_quiet):
    for turn in range(400):
        talk.prompt(f"prompt {turn}")
        talk.use("Bash", {"command": "ls"}, "file")
        talk.say("Some words.")
    page.goto(talk.write())
    page.locator(".said-prompt").first.wait_for()
    page.mouse.move(600, 500)
    for _ in range(10):
        page.mouse.wheel(0, 2500)
        assert page.evaluate("document.querySelectorAll('*').length") < MOST_NODES
    page.keyboard.press("Shift+G")
    expect(page.get_by_text("prompt 399", exact=True).last).to_be_in_viewport()
    assert page.evaluate("document.querySelectorAll('*').length") < MOST_NODES


def test_an_empty_conversation_and_a_missing_one_say_so(page, site, assert_quiet):
    status, _ = site.server.get("/api/conversations/none")
    assert status == 404
    page.goto("/conversations/none")
    expect(page.get_by_role("alert")).to_contain_text("no conversation")
    assert_quiet(but=["404"])


@pytest.mark.parametrize("look", LOOKS[:2], ids=lambda look: look.name)
def test_nothing_hostile_runs_in_a_conversation(
    hostile_site, hostile_cookies, make_page, look, assert_nothing_ran, assert_quiet
):
    page = make_page(origin=hostile_site.origin, cookies=hostile_cookies, look=look)
    page.goto(f"/conversations/{SESSION_ID}")
    page.locator(".said-prompt").first.wait_for()
    seen = 0
    # Some 60 steps on a narrow screen, more where texts are laid out late.
    for _ in range(400):
        settle(page)
        open_all(page)
        settle(page)
        seen += page.locator(".said", has_text="__executed").count()
        assert_nothing_ran(page)
        if is_at_end(page):
            break
        page.evaluate("window.scrollBy(0, innerHeight - 150)")
    assert seen > 50 and is_at_end(page)
