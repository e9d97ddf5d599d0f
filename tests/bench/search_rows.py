"""A database of many small messages, to measure search on: ``OUT CONVERSATIONS MESSAGES``."""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Iterator
from pathlib import Path

from observatory.store import archive, schema, search
from observatory.store.archive import MessageRow
from observatory.store.conversation_states import insert_conversation
from observatory.store.counters import refresh_conversations
from observatory.store.database import configure, connect, execute, fetch_all, writing

VOCABULARY = 30_000
BATCH = 20_000


def words(chance: random.Random) -> tuple[list[str], list[float]]:
    """Return a vocabulary and how much of it each word and those before it make (Zipf)."""
    letters = "etaoinshrdlucmfwypvbgkjqxz"
    vocabulary = [
        "".join(chance.choices(letters, k=chance.randint(2, 10))) for _ in range(VOCABULARY)
    ]
    total, cumulated = 0.0, []
    for rank in range(1, VOCABULARY + 1):
        total += 1 / rank
        cumulated.append(total)
    return vocabulary, cumulated


def make_database(path: Path, *, conversations: int, messages: int) -> Iterator[str]:
    """Make a database of so many messages, and say how far it is."""
    chance = random.Random(1)
    vocabulary, cumulated = words(chance)
    configure(path, cache_mib=64, synchronous="OFF")
    connect()
    schema.migrate()
    started = time.perf_counter()
    with writing():
        states = [
            insert_conversation(f"c{n}", kind="session", timestamp="2026-01-01T00:00:00.000Z")
            for n in range(conversations)
        ]
        execute(
            "INSERT INTO transcript_files (key, path, filename, role, created_at)"
            " VALUES (1, 'x', 'x', 'session', '2026-01-01T00:00:00.000Z')"
        )
    key = 0
    while key < messages:
        rows = []
        for _ in range(min(BATCH, messages - key)):
            key += 1
            length = max(1, int(chance.lognormvariate(4.2, 1.0)))
            text = " ".join(chance.choices(vocabulary, cum_weights=cumulated, k=length))
            moment = f"2026-01-01T00:00:00.{key % 1000:03d}Z"
            state = states[key * 31 % len(states)]
            role = ("user", "assistant")[key % 2]
            kind = ("prompt", "answer")[key % 2]
            rows.append(
                MessageRow(
                    key,
                    f"m{key}",
                    state.key,
                    key,
                    1,
                    1,
                    role,
                    kind,
                    None,
                    None,
                    None,
                    moment,
                    None,
                    None,
                    None,
                    None,
                    None,
                    None,
                    text,
                )
            )
        with writing():
            archive.insert_messages(rows)
        while search.index_messages(batch_messages=BATCH):
            pass
        yield f"{key} messages"
    with writing():
        refresh_conversations(state.key for state in states)
    fetch_all("PRAGMA wal_checkpoint (TRUNCATE)")
    yield f"{key} messages in {time.perf_counter() - started:.1f} s"


def main() -> None:
    """Make the database and print how long it took."""
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("conversations", type=int)
    parser.add_argument("messages", type=int)
    options = parser.parse_args()
    for line in make_database(
        options.out, conversations=options.conversations, messages=options.messages
    ):
        print(line)


if __name__ == "__main__":
    main()
