"""The watcher beside a server: ``observatory watch`` with nothing else of the command line loaded.

Other commands load what makes tables and answers requests: a fifth of the memory of a process that
lives as long as its server.

    python -m observatory.watch --parent PID
"""

from __future__ import annotations

import sys
from functools import partial

from observatory.endings import end_well, open_missing_streams, run_with_settings
from observatory.watch_command import make_parser, run_watch

if __name__ == "__main__":
    open_missing_streams()
    options = make_parser().parse_args()
    sys.exit(end_well(partial(run_with_settings, run_watch, options)))
