"""Chunks of records into the archive: one batch is one transaction.

Rows and the offset up to which a file was read are committed together, so that reading a file
twice changes nothing and an interrupted run goes on where the last commit was.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from hashlib import blake2b
from typing import NamedTuple

from observatory.ingest.discover import locate, modified_at
from observatory.ingest.preparing import prepare
from observatory.ingest.pricing import price_call, read_book
from observatory.ingest.reading import Chunk
from observatory.ingest.sidecars import read_agent_type
from observatory.redaction.masking import Findings, is_same_text, listed, without_hashes
from observatory.store import archive, search
from observatory.store import conversation_states as states
from observatory.store import transcript_files as files
from observatory.store.archive import ApiCallRow, KnownMessage, MessageRow, ToolUseRow
from observatory.store.conversation_removal import is_deleted
from observatory.store.conversation_states import ConversationState
from observatory.store.counters import refresh_conversations
from observatory.store.database import writing
from observatory.store.event_notes import (
    CONVERSATION_STARTED,
    note_conversations,
    note_file,
    note_messages,
    note_tool_uses,
)
from observatory.store.projects import ensure_project
from observatory.store.rollups import begin_quarter
from observatory.store.secrets import FindingRow, insert_findings
from observatory.store.totals import add_to_total, set_total
from observatory.timestamps import FIRST, milliseconds_between, now, present
from observatory.transcripts.content import ToolResult, ToolUse
from observatory.transcripts.layout import (
    TranscriptPath,
    normalise_project_path,
    path_part,
    project_name,
    read_path,
)
from observatory.transcripts.prompts import command_of, title_of, typed_text
from observatory.transcripts.records import (
    ApiCall,
    Message,
    SubagentLink,
    Summary,
    Title,
    renamed_title,
)
from observatory.transcripts.usage import TokenUsage

_TITLE_RANKS = {"custom": states.CUSTOM, "ai": states.AI}


def apply_chunks(chunks: Sequence[Chunk]) -> set[str]:
    """Write chunks, in order, in one transaction; return the ids of the conversations touched."""
    for chunk in chunks:
        prepare(chunk)
    with writing():
        batch = _Batch(chunks)
        for chunk in chunks:
            _FileReading(batch, chunk).apply()
        batch.write()
        return set(batch.conversations)


class _Root(NamedTuple):
    """The beginning of a sidechain inside a session's file: its first words are its task's."""

    agent_id: str
    prompt: str
    line: int


class _Removed(Exception):
    """A record belongs to a subagent that a user removed for good."""

    def __init__(self, conversation_id: str) -> None:
        self.conversation_id = conversation_id


class _Batch:
    """What one transaction knows and will write."""

    def __init__(self, chunks: Sequence[Chunk]) -> None:
        messages = [item for chunk in chunks for _, _, item in chunk.items if type(item) is Message]
        wanted = {m.uuid for m in messages if m.uuid}
        wanted.update(m.parent_uuid for m in messages if m.is_sidechain and m.parent_uuid)
        self.known: dict[str, KnownMessage] = archive.find_messages(wanted)
        self.removed: dict[str, set[str]] = archive.find_deleted_messages(wanted)
        self.calls: dict[str, ApiCallRow] = archive.find_api_calls(
            {m.api_call.id for m in messages if m.api_call}
        )
        self.book = read_book()
        self.conversations: dict[str, ConversationState] = {}
        self.new_conversations: set[int] = set()
        # Those that were known without messages of their own.
        self.unbegun: set[int] = set()
        self.touched: set[int] = set()
        self.messages: list[MessageRow] = []
        self.changed_calls: dict[str, ApiCallRow] = {}
        self.tool_uses: dict[tuple[int, str], ToolUseRow] = {}
        # Those of them that had a result before.
        self.ended_uses: set[tuple[int, str]] = set()
        self.cjk: list[tuple[int, str]] = []
        self.findings: list[FindingRow] = []
        # Messages that are in the index without their tool uses, which were lost.
        self.restored: set[int] = set()
        self.seen: list[tuple[int, int, int, int | None, int]] = []
        self.links: list[tuple[int, SubagentLink | _Root]] = []
        self.tasks: dict[int, archive.UnlinkedTasks] = {}
        self.forks: set[tuple[int, str]] = set()
        # Conversations whose messages got another place, or went.
        self.reread: set[int] = set()
        self.last_prompts: dict[int, int] = {}
        self.summarised: set[int] = set()
        self.projects: dict[str, int] = {}
        self.superseding: list[tuple[int, int]] = []
        # The last sidechain inside each session file, by the file's key.
        self.sidechains: dict[int, ConversationState] = {}
        self.next_message_key = archive.next_message_key()
        self.next_call_key = archive.next_api_call_key()

    def ensure_conversation(
        self, conversation_id: str, *, kind: str, timestamp: str
    ) -> ConversationState:
        """Return the state of a conversation, which is inserted when it is new.

        A session ``S.a`` and the subagent ``a`` of session ``S`` would share an id: whichever
        comes second gets its kind added to it.
        """
        state = self.conversations.get(conversation_id)
        if state is None:
            state = states.find_state(conversation_id)
            if state is None:
                state = states.insert_conversation(conversation_id, kind=kind, timestamp=timestamp)
                self.new_conversations.add(state.key)
            self._take_state(state)
        if state.kind != kind:
            return self.ensure_conversation(
                f"{conversation_id}.{kind}", kind=kind, timestamp=timestamp
            )
        return state

    def find_by_key(self, key: int) -> ConversationState:
        """Return the state of a conversation that exists."""
        for state in self.conversations.values():
            if state.key == key:
                return state
        return self._take_state(states.get_state(key))

    def _take_state(self, state: ConversationState) -> ConversationState:
        self.conversations[state.id] = state
        self.touched.add(state.key)
        if not state.message_count and state.key not in self.new_conversations:
            self.unbegun.add(state.key)
        return state

    def project_key(self, cwd: str) -> int:
        """Return the key of the project of a working directory."""
        path = normalise_project_path(cwd)
        if path not in self.projects:
            self.projects[path] = ensure_project(path, name=project_name(path))
        return self.projects[path]

    def write(self) -> None:
        """Write what was gathered, then what follows from it."""
        if self.restored:
            search.forget(self.restored)
        note_conversations(CONVERSATION_STARTED, sorted(self.new_conversations))
        archive.insert_messages(self.messages)
        archive.mark_messages_seen(self.seen)
        for call in self.changed_calls.values():
            price_call(call, self.book)
        archive.upsert_api_calls(self.changed_calls.values())
        archive.upsert_tool_uses(self.tool_uses.values())
        archive.insert_cjk(self.cjk)
        insert_findings(self.findings)
        if self.restored:
            search.index_again(self.restored)
        completed = archive.move_results_to_originals(self.touched)
        self.touched |= completed
        for file_key, generation in self.superseding:
            self.reread |= archive.mark_messages_superseded(file_key, generation=generation)
        started = [(key, self._link(key, link), link.agent_id) for key, link in self.links]
        for conversation_key in self.reread:
            archive.mark_rewound_branches(conversation_key)
        for conversation_key, parent_id in self.forks:
            if conversation_key not in self.reread:
                archive.mark_rewound_branch(conversation_key, parent_id)
        note_messages((row.conversation_key, row.key) for row in self.messages)
        note_tool_uses(
            key
            for key, row in self.tool_uses.items()
            if _has_ended(row) and key not in self.ended_uses
        )
        for conversation_key, position in self.last_prompts.items():
            interrupted = archive.interrupt_tool_uses(conversation_key, before=position)
            note_tool_uses((conversation_key, tool_use_id) for tool_use_id in interrupted)
            completed.update([conversation_key] if interrupted else [])
        self._name_subagents({(key, agent_id) for key, is_known, agent_id in started if is_known})
        self._take_summaries()
        for state in self.conversations.values():
            states.update_conversation(state)
        states.follow_into_trash(self.new_conversations)
        states.take_times_of_subagents(
            state.key for state in self.conversations.values() if not state.message_count
        )
        refresh_conversations(
            self.touched,
            started=self.new_conversations,
            since=0 if completed else self._find_first_change(),
        )

    def _find_first_change(self) -> int:
        """Return when the first quarter of an hour began in which something was added or changed.

        In Unix seconds; 0 when it may be any: where lines were read again, or a conversation may
        have begun at another time than it did before.
        """
        states = self.conversations.values()
        if self.seen or self.reread or self.restored or self.unbegun:
            return 0
        if not all(state.message_count for state in states):
            return 0
        moments = {row.created_at for row in self.messages}
        moments.update(call.created_at for call in self.changed_calls.values())
        moments.update(use.started_at or FIRST for use in self.tool_uses.values())
        moments.update(s.created_at for s in states if s.key in self.new_conversations)
        return begin_quarter(min(moments)) if moments else 0

    def _link(self, conversation_key: int, link: SubagentLink | _Root) -> bool:
        """Note which tool use started a subagent, if one did."""
        tasks = self.tasks.get(conversation_key)
        if tasks is None:
            tasks = self.tasks[conversation_key] = archive.UnlinkedTasks(conversation_key)
        if isinstance(link, SubagentLink):
            tasks.link(link.tool_use_id, subagent_id=link.agent_id)
            return True
        return tasks.link_first(link.prompt, subagent_id=link.agent_id, before=link.line)

    def _name_subagents(self, started: set[tuple[int, str]]) -> None:
        """Give subagents the description of their task, whichever of the two came first."""
        started.update(
            (row.conversation_key, row.subagent_id)
            for row in self.tool_uses.values()
            if row.subagent_id
        )
        by_key = {state.key: state for state in self.conversations.values()}
        for parent_key, subagent_id in started:
            parent = by_key.get(parent_key) or self.find_by_key(parent_key)
            child_id = f"{parent.id}.{path_part(subagent_id)}"
            if child_id not in self.conversations:
                child = states.find_state(child_id)
                if child is not None:
                    self._take_state(child)
        for state in self.conversations.values():
            if state.kind != "subagent" or state.parent_key is None or state.agent_id is None:
                continue
            task = archive.find_task_of(state.agent_id, parent_key=state.parent_key)
            if task is not None:
                description, agent_type = task
                state.agent_type = state.agent_type or agent_type
                if description:
                    state.offer_title(states.AI, title_of(description))

    def _take_summaries(self) -> None:
        """Give titles to conversations whose message, or whose summary, is new."""
        self.summarised |= archive.find_summarised(row.id for row in self.messages)
        for state in list(self.conversations.values()):
            if state.key in self.summarised and state.title_rank >= states.SUMMARY:
                summary = archive.find_summary(state.key)
                if summary:
                    state.offer_title(states.SUMMARY, title_of(summary))


class _FileReading:
    """One chunk of one file on its way into a batch."""

    def __init__(self, batch: _Batch, chunk: Chunk) -> None:
        self.batch = batch
        self.chunk = chunk
        self.path: TranscriptPath = read_path(chunk.file.path)
        self.modified_at = modified_at(chunk.file.modified_ns)
        state = files.find_state(chunk.file.path)
        self.was_read = state is not None and state.generation < chunk.generation
        self.status = state.status if state is not None else "pending"
        self.was_waiting = state is not None and state.is_reread
        self.file_key = (
            state.key
            if state is not None
            else files.insert_file(
                chunk.file.path,
                filename=chunk.file.path.rsplit("/", 1)[-1],
                role=self.path.role,
                created_at=now(),
            )
        )
        self.main: ConversationState | None = (
            batch.find_by_key(state.conversation_key)
            if state is not None and state.conversation_key is not None
            else None
        )
        if self.main is not None and chunk.items:
            self._adopt_moved(self.main)
        self.known_tool_uses: dict[int, set[str]] = {}
        # A last line without its newline is read again, and may be another by now.
        self.reopened: set[int] = set()
        if state is not None and state.has_open_line and state.generation == chunk.generation:
            files.forget_errors(self.file_key, after=state.line_count)
            reopened = archive.reopen_messages(self.file_key, after=state.line_count)
            self.reopened = set(reopened)
            batch.reread.update(reopened.values())

    def apply(self) -> None:
        """Add everything that the chunk says to the batch, and move the file's offset."""
        chunk = self.chunk
        if self.was_read and chunk.is_first:
            files.forget_lines(self.file_key)
        if self.path.role != "workflow_journal" and not self._is_deleted():
            for line, index, item in chunk.items:
                if isinstance(item, Message):
                    self._take_message(line, index, item)
                elif isinstance(item, Title):
                    main = self._ensure_main(None)
                    self._note_secrets(line, index, conversation_key=main.key)
                    main.offer_title(_TITLE_RANKS[item.source], title_of(item.title))
                elif isinstance(item, Summary):
                    self._take_summary(line, index, item)
                elif self.main is not None:
                    self.batch.links.append((self.main.key, item))
        self._write_file()

    def _is_deleted(self) -> bool:
        """Tell whether a user has removed this file's conversation, or its session's, for good."""
        names = {(self._main_id, "session" if self.path.agent_id is None else "subagent")}
        if self._session_id is not None:
            names.add((self._session_id, "session"))
        said = {item.session_id for *_, item in self.chunk.items if isinstance(item, Message)}
        if len(said) == 1:
            # Under another name it is the same; one that goes on with a session says its own, too.
            names.update((name, "session") for name in said if name is not None)
        return any(is_deleted(name, kind=kind) for name, kind in names)

    @property
    def _first_message(self) -> Message | None:
        return next((item for *_, item in self.chunk.items if isinstance(item, Message)), None)

    @property
    def _session_id(self) -> str | None:
        """The session that the file belongs to, by its path or else by its first record."""
        first = self._first_message
        return self.path.session_id or (first.session_id if first else None)

    @property
    def _main_id(self) -> str:
        """The id of this file's conversation, but for what tells apart two of the same."""
        agent_id, session_id = self.path.agent_id, self._session_id
        if agent_id is None:
            return self.path.session_id or "unknown"
        return f"{session_id}.{agent_id}" if session_id else f"agent-{agent_id}"

    def _note_secrets(
        self,
        line: int,
        index: int,
        *,
        message_key: int | None = None,
        conversation_key: int | None = None,
    ) -> None:
        """Keep what secrets were found in a record, with its message or else its conversation."""
        found: Findings | None = self.chunk.findings.get((line, index))
        if found:
            self.batch.findings += [
                FindingRow(message_key, conversation_key, *finding) for finding in listed(found)
            ]

    def _take_summary(self, line: int, index: int, item: Summary) -> None:
        known = self._find_known(item.leaf_uuid)
        if known is None and archive.find_deleted_messages([item.leaf_uuid]):
            return
        archive.upsert_summary(item.leaf_uuid, item.summary)
        if known is not None:
            self.batch.find_by_key(known.conversation_key)
            self._note_secrets(line, index, conversation_key=known.conversation_key)
            self.batch.summarised.add(known.conversation_key)

    def _ensure_main(self, message: Message | None) -> ConversationState:
        """Return the conversation of this file, made with its first record."""
        if self.main is not None:
            return self.main
        path, batch, session_id = self.path, self.batch, self._session_id
        message = message or self._first_message
        timestamp = (message.timestamp if message else None) or self.modified_at
        if path.agent_id is None:
            main = batch.ensure_conversation(self._main_id, kind="session", timestamp=timestamp)
        else:
            main = batch.ensure_conversation(self._main_id, kind="subagent", timestamp=timestamp)
            main.agent_id = path.agent_id
            main.workflow_run_id = path.workflow_run_id
            main.agent_type = main.agent_type or read_agent_type(self.chunk.file.location)
            if session_id and session_id != self._main_id:
                parent = batch.ensure_conversation(session_id, kind="session", timestamp=timestamp)
                main.parent_key = parent.key
        self.main = main
        self._adopt_moved(main)
        return main

    def _adopt_moved(self, main: ConversationState) -> None:
        """Take over what was read of this conversation from a file that was moved or renamed."""
        for key, path in files.find_files_of(main.key):
            if key == self.file_key or os.path.lexists(locate(path)):
                continue
            # What is not read again now counts as being there still.
            generation = 0 if self.chunk.is_first else self.chunk.generation
            archive.adopt_rows(key, file_key=self.file_key, generation=generation)
            # Should it come back, it is read from its start.
            files.forget_place(key)
            known = self.batch.known
            for identifier, message in known.items():
                if message.file_key == key:
                    known[identifier] = message._replace(
                        file_key=self.file_key, generation=generation
                    )
            for call in self.batch.calls.values():
                if call.file_key == key:
                    call.file_key = self.file_key
                if call.usage_file_key == key:
                    call.usage_file_key = self.file_key

    def _conversation_of(self, line: int, index: int, message: Message) -> ConversationState:
        """Return the conversation of a message: an inline sidechain is one of its own.

        Raises:
            _Removed: It was removed for good.
        """
        main = self._ensure_main(message)
        if not message.is_sidechain or self.path.role != "session":
            return main
        for uuid in (message.uuid, message.parent_uuid):
            for removed in self.batch.removed.get(uuid or "", ()):
                if removed.startswith(f"{main.id}."):
                    raise _Removed(removed)
        child = self._find_sidechain(main, message)
        if child is None and message.uuid is None and index == 0:
            # Earlier versions gave it another name.
            key = archive.find_sidechain_at(self.file_key, line, main_key=main.key)
            child = None if key is None else self.batch.find_by_key(key)
        if child is None:
            name = message.uuid or _place(line, index)
            child = self._ensure_sidechain(main, name, message)
            self.batch.links.append((main.key, _Root(name, message.text.strip(), line)))
        return child

    def _find_sidechain(
        self, main: ConversationState, message: Message
    ) -> ConversationState | None:
        """Return the sidechain that a message goes on with, or ``None`` when it begins one."""
        if message.agent_id is not None:
            return self._ensure_sidechain(main, message.agent_id, message)
        return (
            self._sidechain_of(message.uuid, main, message)
            or self._sidechain_of(message.parent_uuid, main, message)
            or (self._last_sidechain(main) if message.parent_uuid is not None else None)
        )

    def _sidechain_of(
        self, uuid: str | None, main: ConversationState, message: Message
    ) -> ConversationState | None:
        """Return this session's sidechain that holds a known message, or a copy of it."""
        known = self.batch.known.get(uuid) if uuid else None
        if known is None or known.conversation_key == main.key:
            return None
        state = self.batch.find_by_key(known.conversation_key)
        if state.parent_key == main.key:
            return state
        # In a copy of a session its sidechains are copied, too.
        return self._ensure_sidechain(main, state.agent_id, message) if state.agent_id else None

    def _note_sidechain(self, state: ConversationState) -> None:
        """Remember the sidechain in which a message was put, for those that name no other."""
        if state is not self.main and self.path.role == "session":
            self.batch.sidechains[self.file_key] = state

    def _last_sidechain(self, main: ConversationState) -> ConversationState | None:
        """Return the sidechain that lies before this place of the file, wherever readings ended."""
        last = self.batch.sidechains.get(self.file_key)
        if last is None and not self.chunk.is_first:
            key = archive.find_last_sidechain(
                self.file_key, generation=self.chunk.generation, main_key=main.key
            )
            last = None if key is None else self.batch.find_by_key(key)
        return last

    def _ensure_sidechain(
        self, main: ConversationState, agent_id: str, message: Message
    ) -> ConversationState:
        name = f"{main.id}.{path_part(agent_id)}"
        if name not in self.batch.conversations and is_deleted(name, kind="subagent"):
            raise _Removed(name)
        child = self.batch.ensure_conversation(
            name, kind="subagent", timestamp=message.timestamp or main.updated_at
        )
        child.agent_id, child.parent_key = agent_id, main.key
        return child

    def _find_known(self, identifier: str) -> KnownMessage | None:
        """Return where a message is that the batch did not ask for at its beginning."""
        return self.batch.known.get(identifier) or archive.find_messages([identifier]).get(
            identifier
        )

    def _is_same(self, known: KnownMessage, message: Message) -> bool:
        """Tell whether a record without an id is the one that was read at its place before."""
        new = self.batch.messages
        if new and known.key >= new[0].key:
            # They are numbered in their order.
            row = new[known.key - new[0].key]
            stored: tuple[str, str] | None = (row.role, row.content)
        else:
            stored = archive.find_text(known.key)
        return (
            stored is not None
            and stored[0] == message.role
            and is_same_text(stored[1], message.text)
        )

    def _take_message(self, line: int, index: int, message: Message) -> None:
        batch = self.batch
        try:
            state = self._conversation_of(line, index, message)
        except _Removed as removed:
            # What answers it belongs there, too.
            if message.uuid is not None:
                batch.removed.setdefault(message.uuid, set()).add(removed.conversation_id)
                archive.insert_deleted_message(message.uuid, removed.conversation_id)
            return
        batch.touched.add(state.key)
        identifier = message.uuid or f"{state.id}.{_place(line, index)}"
        known = batch.known.get(identifier) if message.uuid else self._find_known(identifier)
        copied: KnownMessage | None = None
        if known is not None and known.conversation_key != state.key:
            if message.uuid:
                copied = known
                identifier = f"{state.id}.{message.uuid}"
                if state.copied_from_key is None:
                    state.copied_from_key = copied.conversation_key
            else:
                # Another record without an id has this place in a conversation of this name.
                identifier = f"{state.kind}.{identifier}"
            known = self._find_known(identifier)
        if known is not None and message.uuid is None and not self._is_same(known, message):
            # A rewritten file holds another record at this place.
            digest = blake2b(without_hashes(message.text).encode(), digest_size=8).hexdigest()
            identifier = f"{identifier}.{digest}"
            known = self._find_known(identifier)
        call = None
        key = known.key if known else batch.next_message_key
        timestamp = message.timestamp or (
            state.updated_at if state.message_count else self.modified_at
        )
        if message.api_call is not None:
            call = self._count_call(line, message, message.api_call, state, key, timestamp)
        if known is not None:
            is_seen_again = known.file_key == self.file_key and (
                known.generation < self.chunk.generation
                or known.is_superseded
                or known.key in self.reopened
            )
            # The file that it came from may have been forgotten, or hold it no more.
            is_left = known.file_key is None or known.is_superseded
            if is_seen_again or (is_left and known.conversation_key == state.key):
                call_key = call.key if call else None
                batch.seen.append((line, self.chunk.generation, self.file_key, call_key, known.key))
                batch.reread.add(state.key)
                batch.known[identifier] = KnownMessage(
                    known.key, known.conversation_key, self.file_key, self.chunk.generation
                )
                self.reopened.discard(known.key)
                self._note_sidechain(state)
                if copied is None and self._lacks_tools(state, message, known.key):
                    batch.restored.add(known.key)
                    self._take_tools(state, message, known.key, timestamp)
                    self._take_cjk(line, index, known.key)
                    self._note_secrets(line, index, message_key=known.key)
            return
        self._note_sidechain(state)
        batch.next_message_key += 1
        batch.known[identifier] = KnownMessage(key, state.key, self.file_key, self.chunk.generation)
        self._describe(state, message, timestamp)
        batch.messages.append(
            MessageRow(
                key=key,
                id=identifier,
                conversation_key=state.key,
                position=line,
                file_key=self.file_key,
                generation=self.chunk.generation,
                role=message.role,
                kind=message.kind,
                parent_id=message.parent_uuid,
                copy_of_key=copied.key if copied else None,
                api_call_key=call.key if call else None,
                created_at=timestamp,
                model=message.model,
                cwd=message.cwd if message.cwd != state.cwd else None,
                git_branch=message.git_branch if message.git_branch != state.git_branch else None,
                client_version=message.client_version
                if message.client_version != state.client_version
                else None,
                notes=message.notes,
                blocks=None if copied else message.blocks,
                content="" if copied else message.text,
            )
        )
        if copied is None:
            self._take_tools(state, message, key, timestamp)
            self._take_cjk(line, index, key)
            self._note_secrets(line, index, message_key=key)
        if message.kind in ("prompt", "queued_prompt"):
            batch.last_prompts[state.key] = line
            if message.parent_uuid:
                batch.forks.add((state.key, message.parent_uuid))

    def _describe(self, state: ConversationState, message: Message, timestamp: str) -> None:
        """Let a conversation learn from a new message: times, project, client, title."""
        state.include_message(timestamp)
        if state.parent_key is not None and state is self.main:
            # Until it has messages of its own, the session's times are its subagents'.
            self.batch.find_by_key(state.parent_key)
        if state.cwd is None and message.cwd:
            state.cwd = message.cwd
            state.project_key = self.batch.project_key(message.cwd)
        state.git_branch = state.git_branch or message.git_branch
        state.client_version = state.client_version or message.client_version
        state.entrypoint = state.entrypoint or message.entrypoint
        if state.title_rank > states.PROMPT:
            if message.kind == "prompt" and message.text.strip():
                state.offer_title(states.PROMPT, title_of(typed_text(message.text)))
            elif message.kind == "command" and message.role == "user":
                command = command_of(message.text)
                if command:
                    state.offer_title(states.COMMAND, title_of(command))
            elif message.kind == "warmup":
                state.offer_title(states.COMMAND, title_of(message.text))
        renamed = renamed_title(message)
        if renamed:
            state.offer_title(states.RENAMED, title_of(renamed))

    def _count_call(
        self,
        line: int,
        message: Message,
        call: ApiCall,
        state: ConversationState,
        message_key: int,
        timestamp: str,
    ) -> ApiCallRow:
        """Count the tokens of a response once, however often its lines repeat it.

        In one file the last line of a response has its final numbers. Over several files the copy
        with the most output counts, whichever is read first; the response belongs to the first
        file that is not a subagent's.
        """
        batch, usage = self.batch, call.usage
        row = batch.calls.get(call.id)
        if row is None:
            row = ApiCallRow(
                key=batch.next_call_key,
                id=call.id,
                conversation_key=state.key,
                file_key=self.file_key,
                position=line,
                message_key=message_key,
                is_sidechain=int(message.is_sidechain),
                usage_file_key=self.file_key,
                request_id=call.request_id,
                model=call.model,
                created_at=timestamp,
                stop_reason=None,
                input_tokens=0,
                output_tokens=-1,
                cache_creation_input_tokens=0,
                cache_read_input_tokens=0,
                cache_creation_5m_input_tokens=0,
                cache_creation_1h_input_tokens=0,
                web_search_requests=0,
                is_fast=0,
                cost_nanodollars=None,
                usage_quality="exact",
            )
            batch.next_call_key += 1
            batch.calls[call.id] = row
        is_moved = bool(row.is_sidechain) and not message.is_sidechain
        is_later_line = row.file_key == self.file_key and line >= row.position
        if is_moved:
            batch.touched.add(row.conversation_key)
            row.conversation_key, row.file_key, row.is_sidechain = state.key, self.file_key, 0
        if is_moved or is_later_line:
            row.position, row.message_key = line, message_key
            batch.changed_calls[call.id] = row
            batch.touched.add(row.conversation_key)
        is_from_here = row.usage_file_key == self.file_key and (
            is_later_line
            or (row.file_key != self.file_key and usage.output_tokens >= row.output_tokens)
        )
        if is_from_here or _size(usage) > _size(row):
            row.usage_file_key = self.file_key
            row.model, row.stop_reason = call.model, call.stop_reason
            row.request_id = call.request_id or row.request_id
            row.input_tokens, row.output_tokens = usage.input_tokens, usage.output_tokens
            row.cache_creation_input_tokens = usage.cache_creation_input_tokens
            row.cache_read_input_tokens = usage.cache_read_input_tokens
            row.cache_creation_5m_input_tokens = usage.cache_creation_5m_input_tokens
            row.cache_creation_1h_input_tokens = usage.cache_creation_1h_input_tokens
            row.web_search_requests = usage.web_search_requests
            row.is_fast = int(usage.is_fast)
            # Others get their cost when the batch is written.
            row.cost_nanodollars = call.reported_nanodollars
            row.is_cost_reported = int(call.reported_nanodollars is not None)
            row.usage_quality = call.usage_quality
            batch.changed_calls[call.id] = row
            batch.touched.add(row.conversation_key)
        return row

    def _take_cjk(self, line: int, index: int, key: int) -> None:
        """Keep what the search index can not tell apart by itself."""
        spaced = self.chunk.cjk.get((line, index))
        if spaced is not None:
            self.batch.cjk.append((key, spaced))

    def _lacks_tools(self, state: ConversationState, message: Message, key: int) -> bool:
        """Tell whether tool uses or results of a message that is known were lost."""
        if any(self._find_tool_use(state.key, use.id) is None for use in message.tool_uses):
            return True
        uses = (self._find_tool_use(state.key, each.tool_use_id) for each in message.tool_results)
        # It may be another conversation's tool use that has the result.
        return any(
            use is None or use.result_message_key is None for use in uses
        ) and not archive.has_result(key)

    def _find_tool_use(self, conversation_key: int, tool_use_id: str) -> ToolUseRow | None:
        """Return the row of a tool use that is known, or ``None``."""
        row = self.batch.tool_uses.get((conversation_key, tool_use_id))
        if row is None and tool_use_id in self._known_tool_uses(conversation_key):
            row = archive.find_tool_use(conversation_key, tool_use_id)
            if row is not None and _has_ended(row):
                self.batch.ended_uses.add((conversation_key, tool_use_id))
        return row

    def _take_tools(
        self, state: ConversationState, message: Message, key: int, timestamp: str
    ) -> None:
        for use in message.tool_uses:
            self._take_tool_use(state, use, key, timestamp)
        is_alone = len(message.tool_results) == 1 and message.tool_results[0].text == message.text
        for result in message.tool_results:
            self._take_tool_result(state, result, key, timestamp, is_alone=is_alone)

    def _take_tool_use(
        self, state: ConversationState, use: ToolUse, key: int, timestamp: str
    ) -> None:
        row = self._tool_use(state.key, use.id)
        if row.message_key is not None:
            return
        row.message_key, row.name, row.server = key, use.name, use.server
        row.parameters = use.parameters
        row.started_at = timestamp
        _measure(row)

    def _take_tool_result(
        self,
        state: ConversationState,
        result: ToolResult,
        key: int,
        timestamp: str,
        *,
        is_alone: bool,
    ) -> None:
        row = self._tool_use(state.key, result.tool_use_id)
        if row.message_key is not None and row.result_message_key is not None:
            self._give_back_result(row)
        row.result_message_key = key
        row.result = None if is_alone else result.text
        row.status, row.is_error = result.status, int(result.is_error)
        row.error_category = result.error_category
        row.finished_at = timestamp
        row.reported_duration_ms = result.reported_duration_ms
        row.subagent_id = result.subagent_id or row.subagent_id
        row.details = result.details or row.details
        _measure(row)

    def _give_back_result(self, row: ToolUseRow) -> None:
        """Return the result that a tool use had from a copy: it gets one of its own now."""
        assert row.result_message_key is not None
        owner = archive.find_conversation_of(row.result_message_key)
        if owner is not None and owner != row.conversation_key:
            self.batch.tool_uses[owner, row.tool_use_id] = replace(
                row,
                conversation_key=owner,
                message_key=None,
                name="",
                server=None,
                started_at=None,
                parameters=None,
                execution_time_ms=None,
                # Its task may have been known to the tool use alone.
                subagent_id=None,
            )
            self.batch.touched.add(owner)

    def _tool_use(self, conversation_key: int, tool_use_id: str) -> ToolUseRow:
        """Return the row of a tool use: of this batch, of the archive, or a new one."""
        row = self._find_tool_use(conversation_key, tool_use_id)
        row = row or ToolUseRow(conversation_key, tool_use_id)
        self.batch.tool_uses[conversation_key, tool_use_id] = row
        return row

    def _known_tool_uses(self, conversation_key: int) -> set[str]:
        """Return which of the tool uses of this chunk a conversation has in the archive."""
        known = self.known_tool_uses.get(conversation_key)
        if known is None:
            # One that this transaction has made has none there.
            is_new = conversation_key in self.batch.new_conversations
            known = (
                set()
                if is_new
                else archive.find_tool_use_ids(conversation_key, self._tool_use_ids())
            )
            self.known_tool_uses[conversation_key] = known
        return known

    def _tool_use_ids(self) -> set[str]:
        """Return the tool uses that this chunk speaks of."""
        found: set[str] = set()
        for *_, item in self.chunk.items:
            if isinstance(item, Message):
                found.update(use.id for use in item.tool_uses)
                found.update(result.tool_use_id for result in item.tool_results)
        return found

    def _write_file(self) -> None:
        chunk = self.chunk
        status = "completed" if chunk.is_last else "processing"
        files.insert_errors(
            [(self.file_key, b.line, b.start, b.end, b.reason) for b in chunk.bad_lines]
        )
        if chunk.record_counts or chunk.bad_lines:
            files.count_records(self.file_key, chunk.record_counts)
        files.update_file(
            self.file_key,
            {
                "conversation_key": self.main.key if self.main else None,
                "device": chunk.file.device,
                "inode": chunk.file.inode,
                "size": chunk.file.size,
                "modified_ns": chunk.file.modified_ns,
                "changed_ns": chunk.file.changed_ns,
                "byte_offset": chunk.byte_offset,
                "tail_hash": chunk.tail_hash,
                "line_count": chunk.line_count,
                "has_open_line": int(chunk.has_open_line),
                "generation": chunk.generation,
                "status": status,
                **({"is_reread": int(chunk.is_torn)} if chunk.is_first or chunk.is_torn else {}),
                "error_message": None,
                "last_modified": self.modified_at,
                "processed_at": now(),
            },
        )
        if status != self.status or self.was_waiting or chunk.bad_lines:
            # That a file which was read to its end grew is told by what it says.
            note_file(self.file_key, status)
        if chunk.is_last and not chunk.is_torn:
            self.batch.superseding.append((self.file_key, chunk.generation))
        add_to_total("ingest_files", int(chunk.is_last))
        add_to_total("ingest_lines", chunk.lines_read)
        add_to_total("ingest_bytes", chunk.bytes_read)
        add_to_total("ingest_bad_lines", len(chunk.bad_lines))
        set_total("ingest_last_success_at", present())


def _size(usage: TokenUsage | ApiCallRow) -> tuple[int, ...]:
    """Return what tells which of two copies of a response's numbers is the more complete."""
    return (
        usage.output_tokens,
        usage.input_tokens,
        usage.cache_creation_input_tokens,
        usage.cache_read_input_tokens,
    )


def _place(line: int, index: int) -> str:
    """Name a record without an id by its place: its line, and its number on a shared one."""
    return f"{line}.{index}" if index else str(line)


def _has_ended(row: ToolUseRow) -> bool:
    """Tell whether a tool use is known with its result."""
    return row.message_key is not None and row.result_message_key is not None


def _measure(row: ToolUseRow) -> None:
    """Set how long a tool took, once both its ends are known."""
    if row.started_at is not None and row.finished_at is not None:
        row.execution_time_ms = milliseconds_between(row.started_at, row.finished_at)


def batches(chunks: Iterable[Chunk], *, batch_bytes: int) -> Iterable[list[Chunk]]:
    """Group chunks into batches of about so many bytes, without reordering them."""
    batch: list[Chunk] = []
    size = 0
    for chunk in chunks:
        batch.append(chunk)
        size += chunk.bytes_read
        if size >= batch_bytes:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
