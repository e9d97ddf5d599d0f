"""Show the product with transcripts of a small team that never was.

python -m tests.demo [--folder build/demo] [--live] [--seed 1] [--now 2026-11-28T17:00+01:00]

Everything is in that folder: transcripts, database, secrets. It is made anew each time.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import threading
from datetime import datetime
from pathlib import Path

from tests.demo.generate import Demo, write_demo
from tests.demo.going_on import go_on
from tests.processes import ROOT, Home, free_port

_MARK = "made-by-make-demo"


def main(arguments: list[str]) -> int:
    """Write the demo, read it, and serve it until it is interrupted."""
    options = _read_options(arguments)
    home = make_home(options.folder, now=options.now, seed=options.seed)
    if home is None:
        print(
            f"{options.folder} holds something that is not of the demo; choose another --folder.",
            file=sys.stderr,
        )
        return 1
    ended = home.run("ingest")
    if ended.returncode != 0:
        print(ended.stderr, file=sys.stderr)
        return 1
    if options.live:
        threading.Thread(target=go_on, args=(home.projects,), daemon=True).start()
    return _serve(home, options.port or free_port())


def make_home(folder: Path, *, now: datetime, seed: int) -> Home | None:
    """Return a home with the demo's transcripts; ``None`` if the folder is somebody else's."""
    folder = folder.absolute()
    if folder.exists():
        if any(folder.iterdir()) and not (folder / _MARK).exists():
            return None
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    (folder / _MARK).touch()
    zone = {"TZ": os.environ["TZ"]} if "TZ" in os.environ else {}
    home = Home(folder, {"LOG_FORMAT": "pretty", "LOG_LEVEL": "warn", **zone})
    _tell(write_demo(home.projects, now=now, seed=seed))
    return home


def _tell(demo: Demo) -> None:
    totals = demo.totals
    print(
        f"Wrote {totals.sessions} sessions and {totals.subagents} subagents,"
        f" {totals.source_bytes / 1e6:.1f} MB.",
        file=sys.stderr,
    )


def _serve(home: Home, port: int) -> int:
    """Serve, and end when interrupted; the server prints the link."""
    server = subprocess.Popen(
        [sys.executable, "-m", "observatory", "serve"],
        cwd=home.folder,
        env=home.environment(PORT=f"{port}"),
    )
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: server.send_signal(signal.SIGTERM))
    return server.wait()


def _read_options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.demo", description=__doc__)
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "demo")
    parser.add_argument("--live", action="store_true", help="let a session go on meanwhile")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--now", type=_moment, default=datetime.now().astimezone())
    parser.add_argument("--port", type=int, default=0, help="by default a free one")
    return parser.parse_args(arguments)


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.astimezone()


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
