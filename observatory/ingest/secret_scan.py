"""What the archive has already, looked through for secrets as if it were read now.

It goes in short transactions of a few hundred messages, notes how far it came, and goes on from
there. What it masks it takes out of the search index first, and of the file at the end.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace

import orjson
import zstandard

from observatory.ingest.running import Progress
from observatory.redaction import masking
from observatory.redaction.masking import Findings, listed, redact, redact_cut, redact_json_text
from observatory.store import erasing
from observatory.store import secret_rows as rows
from observatory.store.database import empty_log, writing
from observatory.store.label_names import forget_gone_names
from observatory.store.secret_rows import StoredMessage, StoredToolUse
from observatory.store.secrets import insert_found
from observatory.transcripts.content import mcp_server

BATCH_BYTES = 4 * 1024 * 1024
_compress = zstandard.ZstdCompressor(level=1).compress
_decompress = zstandard.ZstdDecompressor().decompress


@dataclass(slots=True)
class ScanSummary:
    """What one scan looked at and found.

    ``messages`` and ``conversations`` were looked at. ``found`` counts places of secrets by kind,
    and ``changed_messages`` and ``changed_conversations`` what was masked. Unless
    ``is_log_empty``, the write-ahead log may still have what was masked, for somebody who reads;
    and unless ``is_vacuumed``, so may space that was free before.
    """

    mode: str
    messages: int = 0
    conversations: int = 0
    changed_messages: int = 0
    changed_conversations: int = 0
    found: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    is_complete: bool = True
    is_log_empty: bool = True
    is_vacuumed: bool = False

    @property
    def has_masked(self) -> bool:
        """Whether anything was changed."""
        return bool(self.changed_messages or self.changed_conversations)

    def as_dict(self) -> dict[str, object]:
        """Return the fields by name, for JSON."""
        return {**asdict(self), "found": dict(sorted(self.found.items()))}


def scan_secrets(
    *,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    should_stop: Callable[[], bool] = lambda: False,
    batch_bytes: int = BATCH_BYTES,
) -> ScanSummary:
    """Mask or flag, as REDACT_SECRETS says, the secrets in all that is stored.

    The caller holds the lock ``ingest``. When ``should_stop`` turns true the scan ends after the
    batch at hand; another one goes on from there.
    """
    started = time.monotonic()
    scan = _Scan(on_progress, should_stop, batch_bytes)
    if scan.is_masking:
        erasing.overwrite_deleted(is_on=True)
    try:
        scan.run()
    finally:
        erasing.overwrite_deleted(is_on=False)
    scan.summary.seconds = round(time.monotonic() - started, 3)
    return scan.summary


class _Scan:
    def __init__(
        self,
        on_progress: Callable[[Progress], None],
        should_stop: Callable[[], bool],
        batch_bytes: int,
    ) -> None:
        self.on_progress = on_progress
        self.should_stop = should_stop
        self.batch_bytes = batch_bytes
        self.mode = masking.mode()
        self.is_masking = self.mode == "mask"
        self.summary = ScanSummary(self.mode)

    def run(self) -> None:
        """Look at everything, messages first."""
        for part in (self._scan_messages, self._scan_others, self._clean_up):
            part()
            if not self.summary.is_complete:
                return

    def _scan_messages(self) -> None:
        last = rows.read_scanned_key(self.mode)
        progress = Progress(0, rows.count_messages(after=last), "scanning")
        self.on_progress(progress)
        while True:
            with writing():
                keys = rows.list_message_keys(after=last, max_bytes=self.batch_bytes)
                if not keys:
                    return
                self._scan_batch(keys)
                last = keys[-1]
                rows.set_scanned_key(self.mode, last)
            self.summary.messages += len(keys)
            progress.done += len(keys)
            self.on_progress(progress)
            if self.should_stop():
                self.summary.is_complete = False
                return

    def _scan_batch(self, keys: list[int]) -> None:
        found: dict[int, Findings] = {}
        messages, uses = [], []
        for message in rows.read_messages(keys):
            masked = _redact_message(message, found.setdefault(message.key, Findings()))
            if masked != message:
                messages.append(masked)
        for use in rows.read_tool_uses(keys):
            if min(filter(None, (use.message_key, use.result_message_key))) < keys[0]:
                # It was looked at with the first of its two messages.
                continue
            masked_use = _redact_use(use, found)
            if masked_use != use:
                uses.append(masked_use)
        if messages or uses:
            rows.update_texts(messages, uses)
        for key, findings in found.items():
            self._note(findings, message_key=key or None)
        changed = {message.key for message in messages}
        changed.update(use.message_key for use in uses if use.message_key is not None)
        self.summary.changed_messages += len(changed)

    def _note(
        self,
        found: Findings,
        *,
        message_key: int | None = None,
        conversation_key: int | None = None,
    ) -> None:
        if message_key is not None or conversation_key is not None:
            insert_found(listed(found), message_key=message_key, conversation_key=conversation_key)
        self.summary.found.update({f.kind: times for f, times in found.items()})

    def _scan_others(self) -> None:
        """Look at what belongs to no message."""
        self._scan_conversations()
        self._scan_summaries()
        with writing():
            for use in rows.read_lost_tool_uses():
                masked = _redact_use(use, {})
                if masked != use:
                    rows.update_texts([], [masked])
            for key, path, name in rows.read_projects():
                masked_path = redact(path, "project_path", Findings())
                if masked_path != path:
                    rows.update_project(
                        key, path=masked_path, name=redact(name, "project_path", Findings())
                    )
            for identifier, path, data in rows.list_kept_answers():
                masked_data = redact_json_text(data, "answer", Findings())
                if masked_data != data:
                    rows.update_kept_answer(identifier, path, masked_data)

    def _scan_conversations(self) -> None:
        last = 0
        while True:
            with writing():
                conversations = rows.read_conversations(after=last)
                changed = []
                for conversation in conversations:
                    found = Findings()
                    masked = replace(
                        conversation,
                        title=redact_cut(conversation.title, "title", found),
                        metadata=redact_json_text(conversation.metadata, "metadata", found),
                        cwd=_redact_or_none(conversation.cwd, "cwd", found),
                        git_branch=_redact_or_none(conversation.git_branch, "git_branch", found),
                    )
                    self._note(found, conversation_key=conversation.key)
                    if masked != conversation:
                        changed.append(masked)
                rows.update_conversations(changed)
            self.summary.conversations += len(conversations)
            self.summary.changed_conversations += len(changed)
            if not conversations:
                return
            last = conversations[-1].key

    def _scan_summaries(self) -> None:
        last = ""
        while True:
            with writing():
                summaries = rows.read_summaries(after=last)
                changed = []
                for summary in summaries:
                    found = Findings()
                    text = redact(summary.summary, "summary", found)
                    self._note(found, conversation_key=summary.conversation_key)
                    if text != summary.summary:
                        changed.append(summary._replace(summary=text))
                rows.update_summaries(changed)
            if not summaries:
                return
            last = summaries[-1].leaf_id

    def _clean_up(self) -> None:
        """Leave nothing of what was masked in the index and in the file."""
        if self.is_masking:
            with writing():
                forget_gone_names()
            is_first = True
            while erasing.merge_index(is_first=is_first):
                is_first = False
                if self.should_stop():
                    self.summary.is_complete = False
                    return
            self.summary.is_log_empty = empty_log()
        with writing():
            rows.set_scanned_key(self.mode, 0)


def _redact_or_none(text: str | None, where: str, found: Findings) -> str | None:
    return text if text is None else redact(text, where, found)


def _redact_json_or_none(text: str | None, where: str, found: Findings) -> str | None:
    return text if text is None else redact_json_text(text, where, found)


def _redact_message(message: StoredMessage, found: Findings) -> StoredMessage:
    return replace(
        message,
        content=redact(message.content, "content", found),
        blocks=_redact_json_or_none(message.blocks, "blocks", found),
        notes=_redact_json_or_none(message.notes, "notes", found),
        cwd=_redact_or_none(message.cwd, "cwd", found),
        git_branch=_redact_or_none(message.git_branch, "git_branch", found),
    )


def _redact_use(use: StoredToolUse, found: dict[int, Findings]) -> StoredToolUse:
    """Return a tool use as it is stored; ``found`` has what is found by the messages' keys."""
    asked = found.setdefault(use.message_key or 0, Findings())
    answered = found.setdefault(use.result_message_key or use.message_key or 0, Findings())
    name = redact(use.name, "name", asked)
    return replace(
        use,
        name=name,
        server=use.server if name == use.name else mcp_server(name),
        parameters=_redact_json_or_none(use.parameters, "parameters", asked),
        result=_redact_or_none(use.result, "result", answered),
        details=None if use.details is None else _redact_details(use.details, answered),
    )


def _redact_details(details: bytes, found: Findings) -> bytes:
    text = _decompress(details)
    if not masking.may_hold_secrets(text):
        return details
    masked = redact_json_text(text.decode(), "details", found).encode()
    # Packed once more, the same may be packed otherwise.
    return details if orjson.loads(masked) == orjson.loads(text) else _compress(masked)
