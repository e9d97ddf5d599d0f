"""How work on a topic goes: looking into it, doing it, reviewing it, following up, asking."""

from collections.abc import Callable, Sequence

from tests.bench.tool_calls import ToolCall
from tests.demo import calls
from tests.demo.sessions import Session
from tests.demo.topics import Question, Topic

_LOOKING = (
    "I'll find where this happens first.",
    "Let me look at the code before I say anything.",
    "First the places that have to do with it.",
    "I'll start with a search and read from there.",
    "Let me see how it works today.",
)
_READING = (
    "`{file}` is the place. Reading it.",
    "That leads to `{file}`.",
    "Everything goes through `{file}`; let me read all of it.",
)
_TESTING = (
    "I'll write the failing test first.",
    "A test that shows the problem, before anything is changed:",
    "First the test. It should fail for the right reason.",
)
_FAILING = (
    "It fails, and for the reason that I expected. Now the change itself.",
    "Red, as it should be. Now to the code.",
    "Good: that is exactly the problem. The smallest change that mends it:",
)
_CHECKING = (
    "Now the same test again, and then everything else.",
    "Let me run it.",
    "And the test:",
)
_CLOSING = (
    "Tell me if you would rather have it in two commits.",
    "I left everything else as it was.",
    "Nothing is pushed yet.",
    "The commit message says why, in case somebody asks in a year.",
)
_SCHEDULE = (
    "Write a test that fails",
    "Change the code",
    "Run tests and linter",
    "Commit",
)
_SUBJECTS = {"ts": "TypeScript", "rust": "Rust", "go": "Go", "python": "Python"}


def look_into(session: Session, topic: Topic, number: int) -> None:
    """Find out why, and change nothing."""
    session.prompt(topic.ask, picture=topic.picture)
    session.do(_search(session, topic), say=_pick(session, _LOOKING), think=_restate(topic))
    session.title(topic.titles[0])
    say = _pick(session, _READING).format(file=topic.file)
    session.do(calls.read(_path(session, topic.file), topic.source), _log(session, topic), say=say)
    if number % 5 == 1:
        _ask_tracker(session, topic)
    if number % 5 == 3:
        _search_web(session, topic)
    text = f"{topic.cause}\n\nThe place is here:\n\n{_fence(session, topic.old)}\n\n"
    session.answer(f"{text}{_options(topic)}", think=topic.thinking)
    if number % 3 == 0:
        session.prompt("Thanks. Is anything else affected by it?")
        session.do(_search(session, topic), say="I'll look for other callers.")
        session.answer(
            f"Only what the search shows: `{topic.file}` and its test. I would still mention it in "
            f"the pull request. {topic.notes[0]}"
        )


def work_on(session: Session, topic: Topic, number: int) -> None:
    """Write a failing test, change the code, and commit."""
    session.prompt(topic.fix)
    session.do(_search(session, topic), say=_pick(session, _LOOKING), think=topic.thinking)
    session.title(topic.titles[1])
    path = _path(session, topic.file)
    session.do(
        calls.read(path, topic.source),
        calls.read(_path(session, topic.test_file), topic.test),
        say=_pick(session, _READING).format(file=topic.file),
    )
    session.do(calls.todos(list(_SCHEDULE), done=0))
    write_test(session, topic)
    if number % 4 == 2:
        _be_stopped(session, topic)
    change_code(session, topic, is_mistaken=number % 3 == 1)
    session.do(calls.todos(list(_SCHEDULE), done=3))
    _commit(session, topic, is_rejected=number % 6 == 5)
    session.answer(
        f"{topic.done}\n\n{_table_of_changes(topic)}\n\n{_fence(session, topic.new)}\n\n"
        f"{_pick(session, _CLOSING)}"
    )


def review(session: Session, topic: Topic, number: int) -> None:
    """Let a subagent read the change, look at what it found, and report."""
    session.prompt(topic.review)
    session.title(topic.titles[2])
    session.do(_diff(session, topic), say="I'll read the whole diff first.")
    task = (
        f"Review the change of `{topic.file}` on the branch {_branch(topic)}. Look for mistakes, "
        f"missing tests and anything that a later reader would stumble over. What it is about: "
        f"{topic.cause.splitlines()[0]}"
    )
    report = _list_notes(topic)
    session.delegate(
        "Review the change",
        task,
        calls=(
            calls.read(_path(session, topic.file), _changed(topic)),
            _search(session, topic),
            calls.read(_path(session, topic.test_file), topic.test),
        ),
        report=f"Two findings, none of them blocks the merge.\n\n{report}",
        kind="code-reviewer",
    )
    if number % 2:
        session.delegate(
            "Find callers",
            f"List all callers of `{topic.grep}` and say which of them rely on the old behaviour.",
            calls=(_search(session, topic), calls.read(_path(session, topic.file), topic.source)),
            report=f"One caller, the test in `{topic.test_file}`. It states the new behaviour.",
            kind="Explore",
        )
    session.answer(
        f"I read the change and had a second reader on it. **It does what it says.** Two remarks:"
        f"\n\n{report}\n\n| | |\n|---|---|\n| correctness | fine |\n| tests | one, and it fails "
        f"without the change |\n| documentation | see 2 |\n\nI would merge it after the first.",
        think="The subagent confirms what I saw in the diff. Neither finding is a reason to wait, "
        "but the first one is cheap to mend now.",
    )


def follow_up(session: Session, topic: Topic, number: int) -> None:
    """Take care of what the review found."""
    note = topic.notes[number % 2]
    session.prompt(f"One remark of the review is still open:\n\n> {note}\n\nCan you do that now?")
    session.title(f"Follow up on {topic.name.replace('-', ' ')}")
    session.do(
        calls.read(_path(session, topic.file), _changed(topic)),
        _log(session, topic),
        say="I'll see how it looks after the merge.",
        think="A small change on top. The question is whether it belongs into the code or into "
        "the documentation; the remark says both, so I'll do the smaller one and say why.",
        sees_thinking=number % 3 != 2,
    )
    comment = _comment(topic, note)
    first = _changed(topic).splitlines()[0]
    session.do(
        calls.edit(
            _path(session, topic.file), _changed(topic), old=first, new=f"{comment}\n{first}"
        ),
        say="The place where the next reader will look for it:",
    )
    session.do(_run_check(session, topic, passes=True), _lint(session))
    session.answer(
        f"Done: it is written down at the top of `{topic.file}`, tests and linter are quiet. "
        f"I did not change what the code does; that would deserve a commit of its own."
    )


def answer_question(session: Session, question: Question) -> None:
    """Answer what was asked in passing."""
    session.prompt(question.prompt, picture=question.picture)
    session.answer(question.answer)
    session.title(question.title)


def write_test(session: Session, topic: Topic) -> None:
    """Write the topic's test, and see it fail."""
    path = _path(session, topic.test_file)
    session.do(calls.write(path, topic.test), say=_pick(session, _TESTING))
    session.do(_run_check(session, topic, passes=False))


def change_code(session: Session, topic: Topic, *, is_mistaken: bool = False) -> None:
    """Change the code until its test passes."""
    path = _path(session, topic.file)
    leftover = "\n" + _comment(topic, "TODO: take the old one out") if is_mistaken else ""
    new = topic.new + leftover
    session.do(
        calls.edit(path, topic.source, old=topic.old, new=new, duration_ms=7_400),
        say=_pick(session, _FAILING),
    )
    if is_mistaken:
        session.do(
            calls.bash(
                session.project.lint,
                f"{topic.file}: 1 problem\n  A TODO is left behind.",
                description="Run the linter",
                exit_code=1,
            ),
            say="The linter first, it is quicker.",
        )
        text = topic.source.replace(topic.old, new, 1)
        session.do(
            calls.edit(path, text, old=new, new=topic.new),
            say="A note to myself that I left there. Out with it.",
        )
    check = _run_check(session, topic, passes=True)
    session.do(check, _lint(session), say=_pick(session, _CHECKING))


def _be_stopped(session: Session, topic: Topic) -> None:
    command = session.project.check_command(topic).split(" ")[0]
    call = calls.bash(f"{command} --watch", "", description="Watch the tests")
    session.do(calls.interrupted(call), say="I'll keep the tests running beside.")
    session.write_user([{"type": "text", "text": "[Request interrupted by user for tool use]"}])
    session.prompt("No watcher please, it never ends. Just run them once.")
    session.do(_run_check(session, topic, passes=False))


def _commit(session: Session, topic: Topic, *, is_rejected: bool) -> None:
    subject = topic.titles[1]
    call = calls.bash(
        f'git switch -c {_branch(topic)} && git commit -am "{subject}"',
        f"Switched to a new branch '{_branch(topic)}'\n"
        f"[{_branch(topic)} {session.rng.getrandbits(28):07x}] {subject}\n"
        f" 2 files changed, {len(topic.new.splitlines()) + 9} insertions(+), "
        f"{len(topic.old.splitlines())} deletions(-)",
        description="Commit the change",
        duration_ms=600,
    )
    session.do(calls.rejected(call) if is_rejected else call)
    if is_rejected:
        session.prompt("I'll commit it myself, thanks.")


def _ask_tracker(session: Session, topic: Topic) -> None:
    number = session.rng.randint(120, 980)
    text = f"LAN-{number}: {topic.titles[0]}\nState: open\nPriority: normal\n\n{topic.ask}"
    call = calls.mcp("linear", "get_issue", {"id": f"LAN-{number}"}, text)
    session.do(call, say="There may be a ticket with more about it.")


def _search_web(session: Session, topic: Topic) -> None:
    query = f"{_SUBJECTS.get(session.project.language, 'docs')} {topic.name.replace('-', ' ')}"
    found = (
        f"1. {topic.titles[1]} - a discussion (https://example.org/questions/"
        f"{session.rng.randint(10_000, 99_999)})\n2. The manual, section “{topic.grep.strip('<(')}”"
    )
    session.do(calls.web_search(query, found), say="I want to be sure about one detail.")


def _search(session: Session, topic: Topic) -> ToolCall:
    hits = [
        f"{topic.file}:{number}:{line}"
        for number, line in enumerate(topic.source.splitlines(), 1)
        if topic.grep.lower() in line.lower()
    ]
    hits.append(f"{topic.test_file}:{session.rng.randint(3, 60)}:  {topic.grep}")
    return calls.grep(topic.grep, session.project.cwd, hits=hits)


def _log(session: Session, topic: Topic) -> ToolCall:
    lines = [
        f"{session.rng.getrandbits(28):07x} {text}"
        for text in (topic.titles[1], "Update dependencies", f"Add {topic.file.split('/')[-1]}")
    ]
    return calls.bash(
        f"git log --oneline -3 -- {topic.file}",
        "\n".join(lines[session.rng.randint(0, 1) :]),
        description="Show who changed the file",
        duration_ms=90,
    )


def _diff(session: Session, topic: Topic) -> ToolCall:
    removed = [f"-{line}" for line in topic.old.splitlines()]
    added = [f"+{line}" for line in topic.new.splitlines()]
    head = [f"diff --git a/{topic.file} b/{topic.file}", f"@@ -1,{len(removed)} +1,{len(added)} @@"]
    return calls.bash(
        "git diff main...HEAD",
        "\n".join((*head, *removed, *added)),
        description="Show the change",
        duration_ms=120,
    )


def _run_check(session: Session, topic: Topic, *, passes: bool) -> ToolCall:
    project = session.project
    return calls.bash(
        project.check_command(topic),
        project.check_output(topic, session.rng, passes=passes),
        description="Run the test",
        exit_code=0 if passes else 1,
        duration_ms=session.rng.randint(900, 14_000),
    )


def _lint(session: Session) -> ToolCall:
    duration_ms = session.rng.randint(1_500, 9_000)
    return calls.bash(
        session.project.lint, "", description="Run the linter", duration_ms=duration_ms
    )


def _changed(topic: Topic) -> str:
    return topic.source.replace(topic.old, topic.new, 1)


def _path(session: Session, name: str) -> str:
    return f"{session.project.cwd}/{name}"


def _branch(topic: Topic) -> str:
    return f"work/{topic.name}"


def _restate(topic: Topic) -> str:
    return f"They want to know why, not a change. I'll look for `{topic.grep}` first."


def _options(topic: Topic) -> str:
    return (
        f"Two ways out of it:\n\n1. **{topic.titles[1]}.** {topic.done.split('. ')[0].rstrip('.')}."
        f"\n2. Leave it and write it down. {topic.notes[1]}\n\nI would do the first; it is small."
    )


def _list_notes(topic: Topic) -> str:
    return "\n".join(f"{number}. {note}" for number, note in enumerate(topic.notes, 1))


def _table_of_changes(topic: Topic) -> str:
    return (
        "| file | lines |\n|---|---:|\n"
        f"| `{topic.file}` | +{len(topic.new.splitlines())} -{len(topic.old.splitlines())} |\n"
        f"| `{topic.test_file}` | +{len(topic.test.splitlines())} |"
    )


def _fence(session: Session, code: str) -> str:
    return f"```{session.project.language}\n{code.strip(chr(10))}\n```"


def _comment(topic: Topic, text: str) -> str:
    suffix = topic.file.rpartition(".")[2]
    sign = {"py": "#", "sql": "--", "md": "<!--"}.get(suffix, "//")
    return f"{sign} {text}{' -->' if suffix == 'md' else ''}"


def _pick(session: Session, texts: Sequence[str]) -> str:
    return session.rng.choice(texts)


SHAPES: tuple[Callable[[Session, Topic, int], None], ...] = (look_into, work_on, review, follow_up)
