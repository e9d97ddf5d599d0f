"""Records around the conversation: attachments, system lines, snapshots, state lines.

Each type comes as often, per assistant line, as the era's table says.
"""

from typing import Any

from tests.bench.shape import ATTACHMENT_CHARS, Weighted
from tests.bench.tool_calls import Workspace
from tests.bench.transcripts import Transcript, format_ms, make_uuid

_ATTACHMENTS = Weighted(
    {
        "queued_command": 0.32,
        "total_tokens_reminder": 0.26,
        "hook_success": 0.15,
        "task_reminder": 0.14,
        "skill_listing": 0.08,
        "edited_text_file": 0.05,
    }
)
_SYSTEM_SUBTYPES = Weighted(
    {
        "stop_hook_summary": 0.46,
        "turn_duration": 0.3,
        "api_error": 0.12,
        "away_summary": 0.07,
        "local_command": 0.05,
    }
)


class SideRecords:
    """What one session owes of each type, and the writing of it."""

    def __init__(self, transcript: Transcript, space: Workspace) -> None:
        self.last_prompt = ""
        self._transcript = transcript
        self._space = space
        self._rng = transcript.rng
        self._owed = {kind: self._rng.random() for kind in transcript.era.side_records}

    def earn(self, assistant_lines: int) -> None:
        """Make due what so many more assistant lines bring along."""
        for kind, rate in self._transcript.era.side_records.items():
            self._owed[kind] += rate * assistant_lines

    def take(self, kind: str, *, most: int) -> int:
        """Return how many records of a type are due, and count them as written."""
        count = min(most, int(self._owed.get(kind, 0)))
        if count:
            self._owed[kind] -= count
        return count

    def write(self, kind: str, *, most: int, turn_ms: int = 0) -> None:
        """Write what is due of a type."""
        for _ in range(self.take(kind, most=most)):
            if kind == "attachment":
                self._write_attachment()
            elif kind == "system":
                self._write_system(turn_ms)
            else:
                self._transcript.add_side(self._make(kind))

    def _write_attachment(self) -> None:
        kind = _ATTACHMENTS.draw(self._rng)
        text = self._draw_text()
        attachment: dict[str, Any] = {"type": kind}
        if kind == "queued_command":
            attachment |= {"prompt": text, "commandMode": "prompt", "origin": {"kind": "human"}}
        elif kind == "total_tokens_reminder":
            attachment["text"] = "<total_tokens>1500000 tokens left</total_tokens>"
        elif kind == "hook_success":
            attachment |= {"hookName": "PostToolUse", "stdout": text, "stderr": "", "exitCode": 0}
        elif kind == "task_reminder":
            attachment |= {"content": [], "itemCount": 0}
        elif kind == "edited_text_file":
            attachment |= {"filename": self._space.make_path(), "snippet": text}
        else:
            attachment |= {"content": text, "skillCount": 1 + text.count("\n"), "isInitial": True}
        self._transcript.add({"attachment": attachment, "type": "attachment"})

    def _write_system(self, turn_ms: int) -> None:
        kind = _SYSTEM_SUBTYPES.draw(self._rng)
        body: dict[str, Any] = {"type": "system", "subtype": kind, "level": "info"}
        if kind == "turn_duration":
            body |= {"durationMs": turn_ms, "isMeta": False}
        elif kind == "stop_hook_summary":
            body |= {"hookCount": 1, "hookInfos": [{"command": "callback"}], "hookErrors": []}
            body |= {"preventedContinuation": False, "stopReason": "", "hasOutput": False}
        elif kind == "api_error":
            body |= {"error": {"status": 529}, "retryInMs": 527, "retryAttempt": 1}
            body |= {"maxRetries": 10, "level": "error"}
        elif kind == "away_summary":
            body["content"] = self._space.pools.prose(280)
        else:
            body["content"] = f"<command-name>/{self._space.pools.name()}</command-name>"
        self._transcript.add(body)

    def _make(self, kind: str) -> dict[str, Any]:
        now = format_ms(self._transcript.clock_ms)
        session_id = self._transcript.setting.session_id
        if kind == "file-history-snapshot":
            return self._make_snapshot(now)
        if kind == "queue-operation":
            return self._make_queue_operation(now, session_id)
        if kind == "file-history-delta":
            backup = {"backupFileName": "5ce12dd1de14b384@v1", "version": 1, "backupTime": now}
            path = self._space.make_path()
            return {"type": kind, "messageId": self._last_uuid(), "trackingPath": path} | {
                "backup": backup,
                "timestamp": now,
            }
        if kind == "summary":
            text = self._space.pools.prose(38)
            return {"type": kind, "summary": text, "leafUuid": self._last_uuid()}
        return {"type": kind, **self._make_state(kind, now), "sessionId": session_id}

    def _make_state(self, kind: str, now: str) -> dict[str, Any]:
        if kind == "mode":
            return {"mode": "normal"}
        if kind == "permission-mode":
            return {"permissionMode": "default"}
        if kind == "ai-title":
            return {"aiTitle": self._space.pools.prose(40)}
        if kind == "last-prompt":
            return {"lastPrompt": self.last_prompt[:300], "leafUuid": self._last_uuid()}
        if kind == "pr-link":
            url = "https://example.com/dev/project/pull/136"
            return {"prNumber": 136, "prUrl": url, "prRepository": "dev/project", "timestamp": now}
        return {"atis": ""}

    def _make_queue_operation(self, now: str, session_id: str) -> dict[str, Any]:
        record = {"type": "queue-operation", "operation": "dequeue", "timestamp": now}
        record["sessionId"] = session_id
        if self._rng.random() < 0.3:
            record |= {"operation": "enqueue", "content": self._draw_text()}
        return record

    def _make_snapshot(self, now: str) -> dict[str, Any]:
        message_id = self._last_uuid()
        backups = {
            self._space.make_path(): {
                "backupFileName": f"{self._rng.getrandbits(64):016x}@v2",
                "version": 2,
                "backupTime": now,
            }
            for _ in range(int(self._rng.random() ** 2 * 9))
        }
        snapshot = {"messageId": message_id, "trackedFileBackups": backups, "timestamp": now}
        return {
            "type": "file-history-snapshot",
            "messageId": message_id,
            "snapshot": snapshot,
            "isSnapshotUpdate": self._rng.random() < 0.5,
        }

    def _draw_text(self) -> str:
        return self._space.pools.prose(ATTACHMENT_CHARS.draw(self._rng))

    def _last_uuid(self) -> str:
        return self._transcript.parent or make_uuid(self._rng)
