"""Sessions in which something happens that seldom does."""

import random
from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple

from tests.bench.subagents import NewFile
from tests.bench.tool_calls import ToolCall
from tests.bench.transcripts import make_uuid
from tests.demo import calls
from tests.demo.sessions import Session
from tests.demo.shapes import change_code, write_test
from tests.demo.topics import Project
from tests.planted import drawn

BAD_LINES = 2
_ALPHABET = "abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"
_SUMMARY = """This session is being continued from a previous conversation that ran out of context.

**What was asked.** Everything that should be mended in the shop before the sale in December, one
thing after the other, each with a test.

**What is done.** {done}

**What is left.** {left}

**Rules.** A failing test first; one commit for each; nothing is pushed."""


class Special(NamedTuple):
    """A session that is written by hand: in which project, on which branch, how."""

    project: str
    write: Callable[[Session], None]
    branch: str = "main"
    days_ago: float = 0.0


def write_long(session: Session) -> None:
    """Many turns, a compaction in the middle, and a prompt that was typed while a tool ran."""
    topics = session.project.topics
    session.prompt(
        "The sale starts on the first of December. Let's mend what has been annoying us for "
        "months, one thing after the other: a failing test, the change, a commit. I'll tell you "
        "what is next each time."
    )
    names = [topic.titles[1] for topic in topics]
    session.do(calls.todos(names, done=0), say="Gladly. This is what I have on the list:")
    session.title("Mend the shop before the sale", is_custom=True)
    session.answer("Which one first?")
    for number, topic in enumerate(topics):
        if number == len(topics) // 2:
            _compact(session, names[:number], names[number:])
        session.prompt(topic.fix if number else f"The money first. {topic.fix}")
        write_test(session, topic)
        if number == 1:
            _queue(session, "And please do not touch the mobile client in this branch.")
        change_code(session, topic, is_mistaken=number == 2)
        session.do(calls.todos(names, done=min(number + 1, len(names) - 1)))
        session.answer(f"{topic.done}\n\nStill open, for later: {topic.notes[0]}")
        if number % 2:
            session.prompt("Run everything again, please, not only that one file.")
            _run_everything(session, fails=number == 3)
    session.prompt("That was the last one. Write me the summary for the team, five lines.")
    session.answer("\n".join(f"- **{topic.titles[1]}.** {topic.done}" for topic in topics[:5]))


def _run_everything(session: Session, *, fails: bool) -> None:
    if fails:
        output = "FAIL src/cart/reminders.test.ts > sends one reminder\nError: Timed out in 5000ms"
        call = calls.bash(
            "pnpm test", output, description="Run all tests", exit_code=1, duration_ms=94_000
        )
        session.do(call)
        session.do(
            calls.bash(
                "pnpm vitest run src/cart/reminders.test.ts",
                "Test Files  1 passed (1)",
                description="Run it alone",
            ),
            say="One timed out. It has nothing to do with the change; I'll see whether it is alone "
            "with that.",
        )
    call = calls.bash(
        "pnpm test",
        "Test Files  112 passed (112)\n     Tests  934 passed (934)\n  Duration  71.80s",
        description="Run all tests",
        duration_ms=72_000,
    )
    session.do(call)
    session.answer("934 tests pass in 72 seconds.")


def _queue(session: Session, text: str) -> None:
    attachment = {"type": "queued_command", "prompt": text, "commandMode": "prompt"}
    session.transcript.add({"type": "attachment", "attachment": attachment})


def _compact(session: Session, done: list[str], left: list[str]) -> None:
    transcript = session.transcript
    transcript.wait(41_000)
    body = {
        "logicalParentUuid": transcript.parent,
        "type": "system",
        "subtype": "compact_boundary",
        "content": "Conversation compacted",
        "level": "info",
        "compactMetadata": {"trigger": "auto", "preTokens": 148_210},
    }
    transcript.add(body, parent=None)
    text = _SUMMARY.format(done="; ".join(done), left="; ".join(left))
    session.write_user(text, isVisibleInTranscriptOnly=True, isCompactSummary=True)


def write_rewound(session: Session) -> None:
    """A prompt that was taken back and typed anew, so that there are two branches."""
    topic = session.project.topics[0]
    session.prompt("Which columns of events do we never read? I want to drop some.")
    session.title("Drop columns that nobody reads")
    session.do(calls.grep("SELECT", session.project.cwd, hits=[f"{topic.file}:5:SELECT kind"]))
    session.answer("Three are never read: `ua_raw`, `referrer_raw` and `debug`.")
    fork = session.transcript.parent
    session.prompt("Drop all three right away.")
    session.do(
        calls.rejected(
            calls.bash(
                "duckdb tide.db 'ALTER TABLE events DROP COLUMN ua_raw'",
                "",
                description="Drop the column",
            )
        ),
        say="I'll begin with `ua_raw`.",
    )
    session.transcript.parent = fork
    session.prompt("Write a migration for the three, with a way back. Do not run it.")
    session.do(
        calls.write(
            f"{session.project.cwd}/migrations/0042_drop_raw_columns.sql",
            "ALTER TABLE events RENAME TO events_with_raw;\n"
            "CREATE TABLE events AS SELECT * EXCLUDE (ua_raw, referrer_raw, debug)\n"
            "FROM events_with_raw;\n",
        ),
        think="They changed their mind about dropping at once. A copy without the columns keeps "
        "the old table as the way back.",
    )
    session.answer("The old table stays as `events_with_raw` until you drop it. Nothing was run.")


def write_planned(session: Session) -> None:
    """A plan that is refused, a question, and a plan that is taken."""
    session.prompt("Plan the move from npm scripts to a justfile. Plan only, please.")
    session.title("Plan: a justfile for the handbook")
    session.do(calls.bash("cat package.json", '{"scripts": {"check": "…"}}', description="Look"))
    first = "1. Write the justfile\n2. Delete all npm scripts\n3. Change CI"
    session.do(calls.plan(first, is_accepted=False))
    session.prompt("Do not delete the npm scripts at once, people are used to them.")
    question = {
        "question": "How long should both work?",
        "header": "Overlap",
        "options": [{"label": "one month"}, {"label": "until the next release"}],
        "multiSelect": False,
    }
    answers = {"How long should both work?": "one month"}
    session.do(
        ToolCall(
            "AskUserQuestion",
            {"questions": [question]},
            'User has answered your questions: "How long should both work?"="one month".',
            {"questions": [question], "answers": answers},
            False,
            31_000,
        )
    )
    second = "1. Write the justfile\n2. Let npm scripts call it, for one month\n3. Change CI last"
    session.do(calls.plan(second, is_accepted=True))
    session.answer("I'll begin with step 1 whenever you say so.")


def write_overloaded(session: Session) -> None:
    """Tries that the API refuses, until the client gives up."""
    session.prompt("Bump all dependencies that have no breaking change, and tell me which have.")
    session.title("Update dependencies")
    session.do(
        calls.bash(
            "go list -m -u all | grep '\\['",
            "github.com/jackc/pgx/v5 v5.7.1 [v5.8.0]\ngo.uber.org/goleak v1.3.0 [v1.4.0]",
            description="List updates",
        )
    )
    for attempt in (1, 2, 3):
        session.transcript.wait(2_000 * attempt)
        session.write_system(
            "api_error",
            error={"status": 529},
            retryInMs=2_000 * attempt,
            retryAttempt=attempt,
            maxRetries=3,
        )
    message = {
        "id": make_uuid(session.rng),
        "model": "<synthetic>",
        "type": "message",
        "role": "assistant",
        "content": [{"type": "text", "text": "API Error: 529 Overloaded"}],
        "stop_reason": "stop_sequence",
        "usage": {"input_tokens": 0, "output_tokens": 0},
    }
    session.transcript.add({"type": "assistant", "message": message, "isApiErrorMessage": True})
    session.prompt("go on")
    session.do(
        calls.bash("go get -u=patch ./... && go test ./...", "ok  \t0.41s", description="Update")
    )
    session.answer(
        "Two updates, none of them breaking:\n\n| module | from | to |\n|---|---|---|\n"
        "| pgx | 5.7.1 | 5.8.0 |\n| goleak | 1.3.0 | 1.4.0 |"
    )


def write_damaged(session: Session) -> None:
    """A file in which the power went, with a key of which nothing is true."""
    session.prompt("Payments fail on staging since this morning. Is it the configuration?")
    session.title("Payments fail on staging")
    key = "_".join(("sk", "live", drawn(session.rng, 24, _ALPHABET)))
    session.do(
        calls.bash(
            "cat .env.staging",
            f"SHOP_URL=https://staging.example.org\nSTRIPE_SECRET={key}\nSTRIPE_MODE=test",
            description="Show the configuration",
        ),
        say="Let me look at the configuration.",
    )
    session.transcript.lines.append(b'{"parentUuid":"6a1c0f3e-77d2-4b0e-a0c1","isSidecha\n')
    session.answer(
        "The mode is `test` while the key is a **live** key; the provider refuses that. Put the "
        "test key there, and make a new live key: this one has been printed to a terminal."
    )
    session.transcript.lines.append(b"npm warn deprecated inflight@1.0.6: leaks memory\n")


def write_live(session: Session) -> None:
    """A session that is at work: its last tool has not answered."""
    topic = session.project.topics[4]
    session.prompt("Orders from Finland show 24 % in the preview. Should be 25.5 from January on.")
    session.title("The preview shows the old tax rate")
    session.do(
        calls.grep("taxRate(", session.project.cwd, hits=[f"{topic.file}:10:{topic.grep}"]),
        say="I'll look where the preview gets its rate from.",
        think="The preview probably uses the rate of today instead of that of the order's day.",
    )
    session.do(calls.read(f"{session.project.cwd}/{topic.file}", topic.source))
    session.ask_without_result(
        calls.bash("pnpm vitest run src/tax", "", description="Run the tests of taxes")
    )


def fork(session: Session, rng: random.Random) -> NewFile:
    """Return the file of a session that repeats the beginning of another and ends there."""
    old, new = session.session_id, make_uuid(rng)
    lines = session.transcript.lines
    kept = lines[: len(lines) * 2 // 3]
    copied = [line.replace(old.encode(), new.encode()) for line in kept]
    return NewFile(f"{new}.jsonl", copied, session.transcript.clock_ms + 60_000)


SPECIALS = (
    Special("lantern-shop", write_long, "work/december", days_ago=2.4),
    Special("tidewater", write_rewound, days_ago=5.3),
    Special("handbook", write_planned, days_ago=8.2),
    Special("beacon", write_overloaded, days_ago=3.1),
    Special("lantern-shop", write_damaged, days_ago=1.2),
)


def find_project(projects: list[Project], name: str) -> Project:
    """Return the project of a name."""
    return next(project for project in projects if project.name == name)


def at_work(start: datetime) -> datetime:
    """Return the start of a special session, moved into the day."""
    return start.replace(hour=10, minute=12)
