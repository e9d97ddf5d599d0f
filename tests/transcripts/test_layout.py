"""What the path of a transcript says."""

from __future__ import annotations

import pytest

from observatory.transcripts.layout import (
    TranscriptPath,
    normalise_project_path,
    project_name,
    read_path,
)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/p/-w/abc.jsonl", TranscriptPath("session", "abc")),
        ("/p/-w/agent-1a2b3c4d.jsonl", TranscriptPath("subagent", None, "1a2b3c4d")),
        ("/p/-w/abc/subagents/agent-x.jsonl", TranscriptPath("subagent", "abc", "x")),
        (
            "/p/-w/abc/subagents/workflows/wf_1/agent-x.jsonl",
            TranscriptPath("workflow_subagent", "abc", "x", "wf_1"),
        ),
        (
            "/p/-w/abc/subagents/workflows/wf_1/journal.jsonl",
            TranscriptPath("workflow_journal", "abc", None, "wf_1"),
        ),
        ("/p/subagents/-w/abc/subagents/agent-x.jsonl", TranscriptPath("subagent", "abc", "x")),
        ("agent-x.jsonl", TranscriptPath("subagent", None, "x")),
        ("/srv/subagents/-w/abc.jsonl", TranscriptPath("session", "abc")),
        ("/srv/subagents/abc.jsonl", TranscriptPath("session", "abc")),
        ("/srv/subagents/workflows/abc.jsonl", TranscriptPath("session", "abc")),
        ("/srv/subagents/-w/agent-x.jsonl", TranscriptPath("subagent", None, "x")),
        ("subagents/agent-x.jsonl", TranscriptPath("subagent", None, "x")),
    ],
)
def test_places(path, expected):
    assert read_path(path) == expected


@pytest.mark.parametrize(
    ("cwd", "project"),
    [("c:\\w\\x", "C:\\w\\x"), ("C:\\w\\x\\", "C:\\w\\x"), ("/w/x/", "/w/x"), ("/", "/")],
)
def test_one_project_has_one_path(cwd, project):
    assert normalise_project_path(cwd) == project


def test_names():
    assert [project_name(p) for p in ("/a/b", "C:\\a\\b", "/")] == ["b", "b", "/"]
