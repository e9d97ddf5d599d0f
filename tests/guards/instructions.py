"""Work to be counted, under callgrind: ``python -m tests.guards.instructions DATABASE TRANSCRIPT``.

Instructions differ from one build of Python to the next, so a piece of plain Python is counted,
too: what is bounded is how many times as many the rest takes.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from observatory.ingest.running import ingest
from observatory.log import configure_logging
from observatory.store.database import configure, connect
from tests.api.keyed import add_key
from tests.guards.asking import QUESTIONS, open_archive
from tests.guards.valgrind import Callgrind

REFERENCE = "plain Python"
INGEST = "ingest"
COUNTED = ("health", "list", "one", "messages")
REQUESTS = 10


def _work() -> str:
    # With an indent the encoder is one of Python, not of C.
    return json.dumps({str(number): [number, "x", None] for number in range(40)}, indent=1)


def main(arguments: list[str]) -> int:
    """Count each kind of work."""
    database, transcript = map(Path, arguments)
    configure_logging(level="error", log_format="json")
    callgrind = Callgrind()
    configure(database)
    connect()
    # Keys are made anew in each process.
    add_key()
    _work()
    callgrind.count(REFERENCE, _work)
    server = open_archive(database, with_member=False)
    for name in COUNTED:
        question = QUESTIONS[name]
        server.ask(question)
        callgrind.count(name, lambda q=question: [server.ask(q) for _ in range(REQUESTS)])
    callgrind.count(INGEST, lambda: ingest([str(transcript)]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
