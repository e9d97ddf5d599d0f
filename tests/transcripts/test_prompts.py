"""Whose words a user record holds."""

from __future__ import annotations

import pytest

from observatory.transcripts.prompts import command_of, text_kind, title_of, typed_text


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Fix it", "prompt"),
        ("<b>html</b> is broken", "prompt"),
        ("  <command-name>/x</command-name>", "command"),
        ("<command-message>x</command-message>", "command"),
        ("<local-command-stdout>ok</local-command-stdout>", "command_output"),
        ("<bash-input>ls</bash-input>", "command"),
        ("<bash-stdout>a</bash-stdout>", "command_output"),
        ("<task-notification>done</task-notification>", "notification"),
        ("<system-reminder>x</system-reminder>", "context"),
        ("<ide_selection>x</ide_selection>", "context"),
        ("<ide_selection>x</ide_selection>\nmend this", "prompt"),
        ("Caveat: The messages below were", "context"),
        ("[Request interrupted by user]", "interruption"),
        ("Warmup", "prompt"),
        ("", "prompt"),
    ],
)
def test_kinds(text, kind):
    assert text_kind(text) == kind


def test_titles_are_one_short_line():
    assert title_of("a\n b\t c") == "a b c"
    assert title_of("word " * 100)[-1] == "…"


def test_commands_with_and_without_arguments():
    assert command_of("<command-name>/a</command-name><command-args></command-args>") == "/a"
    assert command_of("<command-name>/a</command-name><command-args> b </command-args>") == "/a b"
    assert command_of("nothing") is None


def test_typed_text_lacks_what_the_editor_added():
    assert typed_text("<ide_a>x</ide_a> hello <ide_b>y</ide_b>") == "hello"
