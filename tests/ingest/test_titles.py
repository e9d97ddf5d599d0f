"""Where a conversation's title comes from."""

from __future__ import annotations

import pytest

from tests.transcripts_for_tests import Transcript

SESSION = "11111111-1111-4111-8111-111111111111"
OTHER = "22222222-2222-4222-8222-222222222222"


def title(client, session: str = SESSION) -> str:
    return client.get(f"/api/conversations/{session}").json["data"]["title"]


def test_the_first_prompt_in_one_line_of_at_most_200_characters(client, write, ingest):
    transcript = Transcript()
    transcript.prompt("  Fix\n the   bug " + "x" * 300)
    transcript.prompt("second")
    write(transcript)
    ingest()
    assert title(client).startswith("Fix the bug xxx")
    assert len(title(client)) == 200


def test_a_command_until_there_is_a_prompt(client, write, ingest):
    transcript = Transcript()
    transcript.prompt("<command-name>/review</command-name><command-args>PR 7</command-args>")
    path = write(transcript)
    ingest()
    assert title(client) == "/review PR 7"
    transcript.prompt("now this")
    path.write_bytes(transcript.bytes())
    ingest()
    assert title(client) == "now this"


def test_none(client, write, ingest):
    transcript = Transcript()
    transcript.answer("hello?")
    write(transcript)
    ingest()
    assert title(client) == "(no prompt)"


def test_better_sources_win_and_later_ones_among_equals(client, write, ingest):
    transcript = Transcript()
    path = write(transcript)
    steps = (
        (lambda: transcript.prompt("prompt"), "prompt"),
        (lambda: transcript.side("summary", summary="sum", leafUuid=transcript.uuid(1)), "sum"),
        (lambda: transcript.side("ai-title", aiTitle="ai"), "ai"),
        (lambda: transcript.side("ai-title", aiTitle="ai 2"), "ai 2"),
        (
            lambda: transcript.chain(
                "system",
                subtype="local_command",
                content="<command-name>/rename</command-name>\n<command-args>named</command-args>",
            ),
            "named",
        ),
        (lambda: transcript.side("custom-title", customTitle="mine"), "mine"),
        (lambda: transcript.side("custom-title", customTitle="mine 2"), "mine 2"),
        (lambda: transcript.side("ai-title", aiTitle="ai 3"), "mine 2"),
    )
    for add, expected in steps:
        add()
        path.write_bytes(transcript.bytes())
        ingest()
        assert title(client) == expected


@pytest.mark.parametrize("summary_first", [True, False])
def test_a_summary_in_another_file(summary_first: bool, client, write, ingest):
    transcript, other = Transcript(), Transcript(OTHER, prefix="b")
    transcript.prompt("prompt")
    other.side("summary", summary="What it was about", leafUuid=transcript.uuid(1))
    for part in (other, transcript) if summary_first else (transcript, other):
        write(part)
        ingest()
    assert title(client) == "What it was about"


def test_what_an_editor_puts_before_a_prompt_is_not_the_title(client, write, ingest):
    transcript = Transcript()
    transcript.prompt("<ide_opened_file>The user opened a.py</ide_opened_file>")
    transcript.prompt("<ide_opened_file>The user opened a.py</ide_opened_file>\nMend it")
    write(transcript)
    ingest()
    assert title(client) == "Mend it"
    messages = client.get(f"/api/conversations/{SESSION}/messages").json["data"]["messages"]
    assert [m["kind"] for m in messages] == ["context", "prompt"]
