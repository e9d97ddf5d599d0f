"""Records of an exported archive into this one: what is here already is left as it is.

Each function takes records of one type and is called inside a transaction, which is complete by
itself: what names something waits for it, and what is counted or shown of a conversation is made
anew. So an import that was interrupted leaves a sound archive, and goes on when it is repeated.

No events are noted: what is imported happened before, and those who are told of events are not to
be told of years at once. That something changed is known by the archive's revision, as always.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson
import zstandard

from observatory.store import archive, search
from observatory.store import conversation_states as states
from observatory.store import transcript_files as files
from observatory.store.archive import ApiCallRow, ToolUseRow
from observatory.store.budgets import MAX_BUDGETS
from observatory.store.conversation_removal import is_deleted
from observatory.store.counters import refresh_conversations
from observatory.store.database import execute, execute_many, fetch_all, fetch_one
from observatory.store.prices import OwnPrice, read_pricing_state, set_priced
from observatory.store.rollups import begin_quarter
from observatory.store.search_language import spaced_message, spaced_title
from observatory.timestamps import FIRST

_compress = zstandard.ZstdCompressor(level=1).compress


class Record(NamedTuple):
    """A record that is right by itself, and the line that it stands on."""

    line: int
    values: dict[str, Any]


@dataclass(slots=True)
class Written:
    """What became of some records.

    ``new`` are here now and were not before, ``known`` were here, ``passed_over`` belong to what
    was removed here for good; ``copies_passed_over`` of them are of conversations that are here,
    which lack them. ``bad`` are lines that can not be kept, with the reason. ``listed``
    are paths of projects that are not for everyone any more.
    """

    new: int = 0
    known: int = 0
    passed_over: int = 0
    copies_passed_over: int = 0
    bad: list[tuple[int, str]] = field(default_factory=list)
    listed: list[str] = field(default_factory=list)
    has_changed: bool = False

    def refuse(self, record: Record, reason: str) -> None:
        """Note a record that can not be kept."""
        self.bad.append((record.line, reason))


class ArchiveWriter:
    """Writes records batch by batch, and knows between them what waits for what."""

    def __init__(self) -> None:
        # A conversation whose id has another kind here, and the id that it has instead.
        self._renamed: dict[str, str] = {}
        # What an id that is not here yet is to be of which conversations: column, key and line.
        self._waiting: dict[str, list[tuple[str, int, int]]] = {}
        self._writers: dict[str, Callable[[Sequence[Record], Written], None]] = {
            "price": self._write_prices,
            "project": self._write_projects,
            "deleted_conversation": self._write_deleted_conversations,
            "deleted_message": self._write_deleted_messages,
            "conversation": self._write_conversations,
            "transcript_file": self._write_transcript_files,
            "api_call": self._write_api_calls,
            "message": self._write_messages,
            "tool_use": self._write_tool_uses,
            "summary": self._write_summaries,
            "secret_finding": self._write_secret_findings,
            "budget": self._write_budgets,
            "transcript_error": self._write_transcript_errors,
            "transcript_state": self._write_transcript_states,
        }

    def write(self, record_type: str, records: Sequence[Record]) -> Written:
        """Write records of one type, inside a transaction, and return what became of them."""
        done = Written()
        self._writers[record_type](records, done)
        done.has_changed |= bool(done.new)
        return done

    def list_missing(self) -> Iterator[tuple[int, str]]:
        """Yield the lines of conversations that name others which never came, and which."""
        for name, waiting in self._waiting.items():
            for column, _, line in waiting:
                what = "parent" if column == "parent_key" else "copied_from"
                yield line, f"{what}: there is no conversation {name!r}; it stays without"

    # Prices, budgets, projects, and marks of what was removed

    def _write_prices(self, records: Sequence[Record], done: Written) -> None:
        names = OwnPrice._fields
        sql = (
            f"INSERT INTO prices ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"
            " ON CONFLICT DO NOTHING"
        )
        _count_inserts(sql, ([each.values[name] for name in names] for each in records), done)

    def _write_budgets(self, records: Sequence[Record], done: Written) -> None:
        """Write budgets; one of the same name that was made at the same time is the same."""
        names = (
            "name", "period", "timezone", "project_path", "model", "limit_nanodollars",
            "limit_tokens", "created_at", "updated_at", "noted_period", "noted_percent",
        )  # fmt: skip
        for record in records:
            values = {**record.values, "project_path": record.values["project"]}
            if fetch_one(
                "SELECT 1 FROM budgets WHERE name = ? AND created_at = ?",
                (values["name"], values["created_at"]),
            ):
                done.known += 1
            elif _number("SELECT count(*) FROM budgets") >= MAX_BUDGETS:
                done.refuse(record, f"there are {MAX_BUDGETS} budgets already; delete one first")
            else:
                _insert("budgets", {name: values[name] for name in names})
                done.new += 1

    def _write_projects(self, records: Sequence[Record], done: Written) -> None:
        """Write projects: one that is not for everyone there is not for everyone here."""
        for record in records:
            values = record.values
            known = fetch_one(
                "SELECT key, visibility FROM projects WHERE path = ?", (values["path"],)
            )
            if known is None:
                _insert("projects", {name: values[name] for name in ("path", "name", "visibility")})
                self._write_retention(values)
                done.new += 1
            else:
                done.known += 1
            if values["visibility"] == "listed" and (known is None or known[1] != "listed"):
                if known is not None:
                    execute("UPDATE projects SET visibility = 'listed' WHERE key = ?", known[:1])
                execute("UPDATE totals SET value = value + 1 WHERE name = 'auth_revision'")
                done.listed.append(values["path"])
                done.has_changed = True

    def _write_retention(self, values: dict[str, Any]) -> None:
        """Give a new project its rule; it must not let go of what is here already."""
        if values["retention_updated_at"] is None:
            return
        execute(
            "INSERT INTO project_retention (project_key, days, action, updated_at)"
            " SELECT key, ?, ?, ? FROM projects WHERE path = ?",
            (
                values["retention_days"],
                values["retention_action"] or "trash",
                values["retention_updated_at"],
                values["path"],
            ),
        )

    def _write_deleted_conversations(self, records: Sequence[Record], done: Written) -> None:
        """Mark what was removed, unless it is here."""
        sql = (
            "INSERT INTO deleted_conversations (id, deleted_at, kind) SELECT ?1, ?2, ?3"
            " WHERE NOT EXISTS (SELECT 1 FROM conversations WHERE id = ?1) ON CONFLICT DO NOTHING"
        )
        rows = ([each.values[name] for name in ("id", "deleted_at", "kind")] for each in records)
        _count_inserts(sql, rows, done)

    def _write_deleted_messages(self, records: Sequence[Record], done: Written) -> None:
        sql = (
            "INSERT INTO deleted_messages (id, conversation_id) SELECT ?1, ?2"
            " WHERE NOT EXISTS (SELECT 1 FROM messages m JOIN conversations c"
            " ON c.key = m.conversation_key WHERE m.id = ?1 AND c.id = ?2) ON CONFLICT DO NOTHING"
        )
        rows = ([each.values[name] for name in ("id", "conversation")] for each in records)
        _count_inserts(sql, rows, done)

    # Conversations

    def _write_conversations(self, records: Sequence[Record], done: Written) -> None:
        new: list[int] = []
        changed: set[int] = set()
        links: list[tuple[str, int, str, int]] = []
        for record in records:
            values = record.values
            if is_deleted(values["id"], kind=values["kind"]) or self._goes_with_parent(values):
                done.passed_over += 1
                continue
            key = self._find_same(values)
            if key is not None:
                done.known += 1
            else:
                project_key = _find_key("projects", "path", values["project"])
                if values["project"] is not None and project_key is None:
                    done.refuse(record, f"there is no project {values['project']!r} before it")
                    continue
                key = self._insert_conversation(values, project_key)
                new.append(key)
                done.new += 1
            for column, name in (
                ("parent_key", values["parent"]),
                ("copied_from_key", values["copied_from"]),
            ):
                if name is not None:
                    links.append((column, key, name, record.line))
        for column, key, name, line in links:
            changed |= self._link(column, key, name, line, done)
        for key in new:
            changed |= self._link_waiting(key, done)
        states.follow_into_trash(
            key
            for (key,) in fetch_all(
                "SELECT key FROM conversations WHERE deleted_at IS NULL"
                " AND key IN (SELECT value FROM json_each(?))",
                (json.dumps(new),),
            )
        )
        _refresh({*new, *changed})
        done.has_changed |= bool(changed)

    def _goes_with_parent(self, values: dict[str, Any]) -> bool:
        """Tell whether a subagent that is not here is of what was removed here for good.

        It is marked as removed, too: so its messages are known to be of that.
        """
        parent = values["parent"]
        if parent is None or self._find_same(values) is not None:
            return False
        if self._find_conversation(parent) is not None or not _is_removed(parent):
            return False
        marked = execute(
            "INSERT INTO deleted_conversations (id, deleted_at, kind) SELECT ?, deleted_at, ?"
            " FROM deleted_conversations WHERE id = ? ON CONFLICT DO NOTHING",
            (values["id"], values["kind"], parent),
        )
        return marked > 0

    def _find_same(self, values: dict[str, Any]) -> int | None:
        """Return the key of a conversation that is here, or ``None``.

        Where another kind has its id, it gets its kind added to it, as an ingest does.
        """
        known = fetch_one("SELECT key, kind FROM conversations WHERE id = ?", (values["id"],))
        if known is not None and known[1] != values["kind"]:
            renamed = f"{values['id']}.{values['kind']}"
            self._renamed[values["id"]] = renamed
            known = fetch_one("SELECT key, kind FROM conversations WHERE id = ?", (renamed,))
        return None if known is None else int(known[0])

    def _insert_conversation(self, values: dict[str, Any], project_key: int | None) -> int:
        names = (
            "kind", "agent_id", "agent_type", "workflow_run_id", "title", "title_rank",
            "created_at", "updated_at", "cwd", "git_branch", "client_version", "entrypoint",
            "deleted_at", "source",
        )  # fmt: skip
        key = _insert(
            "conversations",
            {
                **{name: values[name] for name in names},
                "id": self._renamed.get(values["id"], values["id"]),
                "project_key": project_key,
                "metadata": _encode(values["metadata"]),
                "cjk": spaced_title(values["title"]),
            },
        )
        execute_many(
            "INSERT INTO conversation_tags (tag, conversation_key) VALUES (?, ?)"
            " ON CONFLICT DO NOTHING",
            [(tag, key) for tag in values["tags"]],
        )
        if values["restored_at"] is not None:
            _insert(
                "restored_conversations",
                {"conversation_key": key, "restored_at": values["restored_at"]},
            )
        return key

    def _link(self, column: str, key: int, name: str, line: int, done: Written) -> set[int]:
        """Let a conversation know its parent, or what it was copied from, unless it does.

        Returns:
            What is shown otherwise by that.
        """
        [(known,)] = fetch_all(f"SELECT {column} FROM conversations WHERE key = ?", (key,))
        if known is not None:
            return set()
        other = self._find_conversation(name)
        if other is None:
            # What was removed here for good does not come.
            if not _is_removed(name):
                self._waiting.setdefault(name, []).append((column, key, line))
            return set()
        if column == "parent_key" and _is_above(key, other):
            done.bad.append((line, f"parent: {name!r} is below it, or itself; it stays without"))
            return set()
        execute(f"UPDATE conversations SET {column} = ? WHERE key = ?", (other, key))
        return {key, other}

    def _link_waiting(self, key: int, done: Written) -> set[int]:
        [(name,)] = fetch_all("SELECT id FROM conversations WHERE key = ?", (key,))
        changed: set[int] = set()
        for column, waiting, line in self._waiting.pop(name, ()):
            changed |= self._link(column, waiting, name, line, done)
        return changed

    def _find_conversation(self, name: str) -> int | None:
        return _find_key("conversations", "id", self._renamed.get(name, name))

    def _find_conversations(
        self, records: Sequence[Record], done: Written
    ) -> Iterator[tuple[Record, int, str]]:
        """Yield the records whose conversations are here, with their keys and ids here."""
        names = {each.values["conversation"] for each in records}
        keys = _find_keys("conversations", "id", {self._renamed.get(n, n) for n in names})
        for record in records:
            name = record.values["conversation"]
            here = self._renamed.get(name, name)
            if here in keys:
                yield record, keys[here], here
            elif _is_removed(name):
                done.passed_over += 1
            else:
                done.refuse(record, f"there is no conversation {name!r}")

    # Transcripts

    def _write_transcript_files(self, records: Sequence[Record], done: Written) -> None:
        """Write files as not read yet: how far they were read comes when all is here."""
        for record in records:
            values = record.values
            if files.find_state(values["path"]) is not None:
                done.known += 1
                continue
            name = values["conversation"]
            key = None if name is None else self._find_conversation(name)
            if name is not None and key is None:
                if _is_removed(name):
                    done.passed_over += 1
                else:
                    done.refuse(record, f"there is no conversation {name!r}")
                continue
            file_key = files.insert_file(
                values["path"],
                filename=values["filename"],
                role=values["role"],
                created_at=values["created_at"],
            )
            files.update_file(file_key, {"conversation_key": key})
            done.new += 1

    def _write_transcript_errors(self, records: Sequence[Record], done: Written) -> None:
        for record in records:
            values = record.values
            key = _find_key("transcript_files", "path", values["file"])
            if key is None or not _is_unread(key):
                done.known += 1
                continue
            sql = (
                "INSERT INTO transcript_errors (file_key, line, byte_start, byte_end, reason)"
                " VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
            )
            names = ("line", "byte_start", "byte_end", "reason")
            _count_inserts(sql, [[key, *(values[name] for name in names)]], done)

    def _write_transcript_states(self, records: Sequence[Record], done: Written) -> None:
        names = (
            "device", "inode", "size", "modified_ns", "changed_ns", "byte_offset", "line_count",
            "has_open_line", "generation", "status", "is_reread", "error_message",
            "last_modified", "processed_at",
        )  # fmt: skip
        for record in records:
            values = record.values
            key = _find_key("transcript_files", "path", values["file"])
            if key is None:
                done.passed_over += 1
            elif not _is_unread(key):
                done.known += 1
            else:
                tail = values["tail_hash"]
                files.update_file(
                    key,
                    {
                        **{name: values[name] for name in names},
                        "tail_hash": None if tail is None else bytes.fromhex(tail),
                    },
                )
                files.count_records(key, values["record_counts"])
                done.new += 1

    # Model calls

    def _write_api_calls(self, records: Sequence[Record], done: Written) -> None:
        known = set(archive.find_api_calls({each.values["id"] for each in records}))
        paths = _find_files(records, "file", "usage_file")
        key = archive.next_api_call_key()
        rows: list[ApiCallRow] = []
        for record, conversation_key, _ in self._find_conversations(records, done):
            values = record.values
            if values["id"] in known:
                done.known += 1
                continue
            known.add(values["id"])
            names = set(archive.API_CALL_COLUMNS) & set(values)
            rows.append(
                ApiCallRow(
                    **{
                        **{name: values[name] for name in names},
                        "key": key + len(rows),
                        "conversation_key": conversation_key,
                        "file_key": paths.get(values["file"]),
                        "usage_file_key": paths.get(values["usage_file"]),
                        "message_key": None,
                    }
                )
            )
        if not rows:
            return
        archive.upsert_api_calls(rows)
        done.new += len(rows)
        touched = {row.conversation_key for row in rows}
        # Elsewhere other prices may hold than here: they are priced by these at the end.
        priced = read_pricing_state()
        set_priced(
            priced_with=priced.priced_with, priced_key=min(priced.priced_key, min(touched) - 1)
        )
        _refresh(touched, since=begin_quarter(min(row.created_at for row in rows)))

    # Messages

    def _write_messages(self, records: Sequence[Record], done: Written) -> None:
        batch = _Messages(records)
        for record, conversation_key, name in self._find_conversations(records, done):
            batch.take(record, conversation_key, name, done)
        batch.write()

    # Tool uses

    def _write_tool_uses(self, records: Sequence[Record], done: Written) -> None:
        rows: dict[tuple[int, str], ToolUseRow] = {}
        for record, conversation_key, name in self._find_conversations(records, done):
            values = record.values
            use = (conversation_key, values["id"])
            if use in rows or archive.find_tool_use(*use) is not None:
                done.known += 1
                continue
            message_key = None
            if values["message"] is not None:
                found = _find_own_message(values["message"], conversation_key, name)
                if found is None:
                    self._judge_stray(record, done)
                    continue
                message_key = found
            names = set(archive.TOOL_USE_COLUMNS) & set(values)
            parameters, details = values["parameters"], values["details"]
            rows[use] = ToolUseRow(
                **{
                    **{each: values[each] for each in names},
                    "conversation_key": conversation_key,
                    "tool_use_id": values["id"],
                    "message_key": message_key,
                    "result_message_key": _find_key("messages", "id", values["result_message"]),
                    "parameters": None if parameters is None else _encode(parameters),
                    "details": None if details is None else _compress(_encode(details).encode()),
                }
            )
        if not rows:
            return
        done.new += len(rows)
        messages = {row.message_key for row in rows.values() if row.message_key is not None}
        # What is in the index already, without its tools, has to be read there as it is first.
        search.forget(messages)
        archive.upsert_tool_uses(rows.values())
        _take_apart(messages)
        search.index_again(messages)
        moment = min(row.started_at or FIRST for row in rows.values())
        _refresh({row.conversation_key for row in rows.values()}, since=begin_quarter(moment))

    def _judge_stray(self, record: Record, done: Written) -> None:
        """Say what becomes of a tool use whose message its conversation does not have here."""
        name = record.values["message"]
        known = archive.find_messages([name]).get(name)
        if known is not None and archive.find_tool_use(known.conversation_key, record.values["id"]):
            # Here it was another conversation that was read first.
            done.known += 1
        elif archive.find_deleted_messages([name]):
            done.passed_over += 1
        else:
            done.refuse(record, f"its conversation has no message {name!r}")

    # Titles, findings

    def _write_summaries(self, records: Sequence[Record], done: Written) -> None:
        removed = archive.find_deleted_messages({each.values["message"] for each in records})
        kept = [each.values for each in records if each.values["message"] not in removed]
        done.passed_over += len(records) - len(kept)
        _count_inserts(
            "INSERT INTO summaries (leaf_id, summary) VALUES (?, ?) ON CONFLICT DO NOTHING",
            ([values["message"], values["summary"]] for values in kept),
            done,
        )

    def _write_secret_findings(self, records: Sequence[Record], done: Written) -> None:
        for record in records:
            values = record.values
            message, conversation = values["message"], values["conversation"]
            if message is not None:
                owner, key = "message_key", _find_key("messages", "id", message)
                is_removed = bool(archive.find_deleted_messages([message]))
            else:
                owner, key = "conversation_key", self._find_conversation(conversation)
                is_removed = _is_removed(conversation)
            if key is None and is_removed:
                done.passed_over += 1
            elif key is None:
                done.refuse(record, f"there is no {owner[:-4]} {message or conversation!r}")
            else:
                names = ("kind", "place", "hash", "count", "created_at")
                _count_inserts(
                    f"INSERT INTO secret_findings ({owner}, {', '.join(names)})"
                    " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                    [[key, *(values[name] for name in names)]],
                    done,
                )


class _Messages:
    """Messages of one batch on their way into the archive."""

    def __init__(self, records: Sequence[Record]) -> None:
        values = [each.values for each in records]
        wanted = {each["id"] for each in values}
        wanted.update(each["copy_of"] for each in values if each["copy_of"] is not None)
        # By id: key and conversation here.
        self.known = {
            name: (known.key, known.conversation_key)
            for name, known in archive.find_messages(wanted).items()
        }
        self.removed = archive.find_deleted_messages(wanted)
        self.calls = {
            name: call.key
            for name, call in archive.find_api_calls(
                {each["api_call"] for each in values if each["api_call"] is not None}
            ).items()
        }
        self.files = _find_files(records, "file")
        self.next_key = archive.next_message_key()
        self.rows: list[dict[str, Any]] = []
        self.texts: dict[int, tuple[str, str]] = {}
        self.ends: list[tuple[int, int, int]] = []
        self.copied: dict[int, int] = {}

    def take(self, record: Record, conversation_key: int, name: str, done: Written) -> None:
        """Take a message of a conversation that is here."""
        values = record.values
        if name in self.removed.get(values["id"], ()):
            done.passed_over += 1
            return
        identifier, known = values["id"], self._find(values["id"])
        original: tuple[int, int] | None = None
        if values["copy_of"] is not None:
            original = self._find(values["copy_of"])
            if original is None:
                if values["copy_of"] in self.removed:
                    done.passed_over += 1
                    done.copies_passed_over += 1
                else:
                    done.refuse(
                        record, f"there is no message {values['copy_of']!r} to be a copy of"
                    )
                return
            if original[1] == conversation_key:
                # Here this conversation was read first, and has the message itself.
                done.known += 1
                return
        if known is not None and known[1] != conversation_key:
            # Here another conversation has it, which was read first.
            identifier = f"{name}.{identifier}"
            if original is None and self._is_same(known[0], values):
                original = known
            known = self._find(identifier)
        if known is not None:
            done.known += 1
            return
        self._add(values, identifier, conversation_key, original)
        done.new += 1

    def _find(self, identifier: str) -> tuple[int, int] | None:
        known = self.known.get(identifier)
        if known is None and identifier not in self.known:
            found = archive.find_messages([identifier]).get(identifier)
            known = None if found is None else (found.key, found.conversation_key)
        return known

    def _is_same(self, key: int, values: dict[str, Any]) -> bool:
        stored = self.texts.get(key) or archive.find_text(key)
        return stored == (values["role"], values["content"])

    def _add(
        self,
        values: dict[str, Any],
        identifier: str,
        conversation_key: int,
        original: tuple[int, int] | None,
    ) -> None:
        key = self.next_key + len(self.rows)
        self.known[identifier] = (key, conversation_key)
        call_key = self.calls.get(values["api_call"])
        if call_key is not None and values["ends_api_call"]:
            self.ends.append((key, call_key, conversation_key))
        names = (
            "position", "generation", "role", "kind", "parent_id", "created_at", "model",
            "is_on_main_branch", "is_superseded", "cwd", "git_branch", "client_version",
        )  # fmt: skip
        if original is None:
            self.texts[key] = (values["role"], values["content"])
        else:
            self.copied.setdefault(conversation_key, original[0])
        is_own = original is None
        self.rows.append(
            {
                "key": key,
                "id": identifier,
                "conversation_key": conversation_key,
                "file_key": self.files.get(values["file"]),
                "copy_of_key": None if original is None else original[0],
                "api_call_key": call_key,
                **{name: values[name] for name in names},
                "notes": None if values["notes"] is None else _encode(values["notes"]),
                "blocks": _encode(values["blocks"]) if values["blocks"] and is_own else None,
                "content": values["content"] if is_own else "",
            }
        )

    def write(self) -> None:
        """Write them, and what follows from them."""
        if not self.rows:
            return
        columns = tuple(self.rows[0])
        # A copy of a copy is one of what that is a copy of.
        places = ", ".join(
            "coalesce((SELECT copy_of_key FROM messages WHERE key = :copy_of_key), :copy_of_key)"
            if column == "copy_of_key"
            else f":{column}"
            for column in columns
        )
        for row in self.rows:
            execute(f"INSERT INTO messages ({', '.join(columns)}) VALUES ({places})", row)
        execute_many(
            "UPDATE api_calls SET message_key = ? WHERE key = ? AND conversation_key = ?"
            " AND message_key IS NULL",
            self.ends,
        )
        spaced = [
            (key, found)
            for key, (_, content) in self.texts.items()
            if (found := spaced_message((content,), parameters=()))
        ]
        archive.insert_cjk(spaced)
        execute_many(
            "UPDATE conversations SET copied_from_key ="
            " (SELECT conversation_key FROM messages WHERE key = ?2)"
            " WHERE key = ?1 AND copied_from_key IS NULL",
            list(self.copied.items()),
        )
        touched = {row["conversation_key"] for row in self.rows}
        moment = min(row["created_at"] for row in self.rows)
        is_stretched = _stretch(self.rows)
        _refresh(touched, since=0 if is_stretched else begin_quarter(moment))


def _stretch(rows: Iterable[dict[str, Any]]) -> bool:
    """Let the times of conversations include those of messages; tell whether that changed any."""
    times: dict[int, tuple[str, str]] = {}
    for row in rows:
        key, moment = row["conversation_key"], row["created_at"]
        first, last = times.get(key, (moment, moment))
        times[key] = (min(first, moment), max(last, moment))
    changed = 0
    for key, (first, last) in times.items():
        changed += execute(
            "UPDATE conversations SET created_at = min(created_at, ?1),"
            " updated_at = max(updated_at, ?2) WHERE key = ?3"
            " AND (created_at > ?1 OR updated_at < ?2)",
            (first, last, key),
        )
    return bool(changed)


_SAID = """
    SELECT m.key, m.content,
        (SELECT json_group_array(parameters) FROM (SELECT parameters FROM tool_uses
         WHERE message_key = m.key AND parameters IS NOT NULL ORDER BY key)),
        (SELECT json_group_array(result) FROM (SELECT t.result FROM tool_uses t
         WHERE t.message_key = m.key AND t.result_message_key IS NULL AND t.result IS NOT NULL
         AND c.source = 'api' ORDER BY t.key))
    FROM messages m JOIN conversations c ON c.key = m.conversation_key
    WHERE m.copy_of_key IS NULL AND m.key IN (SELECT value FROM json_each(?))
"""


def _take_apart(keys: Iterable[int]) -> None:
    """Keep the words with Chinese, Japanese or Korean of messages and of their tools."""
    rows = []
    for key, content, parameters, results in fetch_all(_SAID, (json.dumps(list(keys)),)):
        found = spaced_message(
            (content, *orjson.loads(results)), parameters=orjson.loads(parameters)
        )
        if found:
            rows.append((key, found))
    archive.insert_cjk(rows)


def _refresh(keys: Iterable[int], *, since: int = 0) -> None:
    """Count conversations again and make their JSON anew, without an event."""
    changed = set(keys)
    if changed:
        refresh_conversations(changed, started=changed, since=since)


def _find_own_message(identifier: str, conversation_key: int, name: str) -> int | None:
    """Return the key of a message of a conversation by the id that it has elsewhere."""
    for each in (identifier, f"{name}.{identifier}"):
        row = fetch_one(
            "SELECT key FROM messages WHERE id = ? AND conversation_key = ?"
            " AND copy_of_key IS NULL",
            (each, conversation_key),
        )
        if row is not None:
            return int(row[0])
    return None


def _find_files(records: Sequence[Record], *names: str) -> dict[str | None, int]:
    wanted = {each.values[name] for each in records for name in names}
    found: dict[str | None, int] = {}
    found.update(_find_keys("transcript_files", "path", wanted - {None}))
    return found


def _is_removed(conversation_id: str) -> bool:
    """Tell whether a conversation, of whichever kind, was removed here for good."""
    return any(is_deleted(conversation_id, kind=kind) for kind in ("session", "subagent"))


def _is_unread(file_key: int) -> bool:
    """Tell whether nothing was read of a file here, and nothing imported of how far it was."""
    row = fetch_one(
        "SELECT 1 FROM transcript_files WHERE key = ? AND byte_offset = 0 AND tail_hash IS NULL"
        " AND device = 0 AND processed_at IS NULL AND size = 0",
        (file_key,),
    )
    return row is not None


def _is_above(key: int, other: int) -> bool:
    """Tell whether a conversation is another one, or above it."""
    row = fetch_one(
        "WITH RECURSIVE above (key) AS (SELECT ?1 UNION SELECT c.parent_key FROM above"
        " JOIN conversations c ON c.key = above.key WHERE c.parent_key IS NOT NULL)"
        " SELECT 1 FROM above WHERE key = ?2",
        (other, key),
    )
    return row is not None


def _find_key(table: str, column: str, value: str | None) -> int | None:
    if value is None:
        return None
    row = fetch_one(f"SELECT key FROM {table} WHERE {column} = ?", (value,))
    return None if row is None else int(row[0])


def _find_keys(table: str, column: str, values: Iterable[str]) -> dict[str, int]:
    rows = fetch_all(
        f"SELECT {column}, key FROM {table} WHERE {column} IN (SELECT value FROM json_each(?))",
        (json.dumps(list(values)),),
    )
    return dict(rows)


def _insert(table: str, values: dict[str, Any]) -> int:
    names = ", ".join(values)
    row = fetch_one(
        f"INSERT INTO {table} ({names}) VALUES ({', '.join('?' * len(values))}) RETURNING rowid",
        tuple(values.values()),
    )
    assert row is not None
    return int(row[0])


def _count_inserts(sql: str, rows: Iterable[Sequence[Any]], done: Written) -> None:
    """Insert rows, of which some may be known."""
    for row in rows:
        if execute(sql, row) > 0:
            done.new += 1
        else:
            done.known += 1


def _number(sql: str) -> int:
    row = fetch_one(sql)
    assert row is not None
    return int(row[0])


def _encode(value: Any) -> str:
    return orjson.dumps(value).decode()
