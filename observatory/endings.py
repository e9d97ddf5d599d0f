"""How a command is run, and ends: its exit code, and what is said of what stopped it."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

from observatory.errors import LockHeld, ObservatoryError
from observatory.log import configure_logging
from observatory.settings import Settings, read_settings
from observatory.store.database import DatabaseError, close, describe_failure, is_busy
from observatory.supervise import EXIT_LOCKED

EXIT_FAILED = 1
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141


def open_missing_streams() -> None:
    """Let what is told go nowhere where standard output or error is closed."""
    if sys.stderr is None:
        # It is closed: what would be told there must not come among the figures.
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
    if sys.stdout is None:
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115


def run_with_settings(
    command: Callable[[argparse.Namespace, Settings], int], options: argparse.Namespace
) -> int:
    """Run a command with the settings of the environment and return its exit code."""
    settings = read_settings()
    configure_logging(level=settings.log_level, log_format=settings.log_format)
    return command(options, settings)


def end_well(run: Callable[[], int]) -> int:
    """Run something and return its exit code; what stopped it is told in words."""
    try:
        return run()
    except LockHeld as error:
        print(error, file=sys.stderr)
        return EXIT_LOCKED
    except ObservatoryError as error:
        print(error, file=sys.stderr)
        return EXIT_FAILED
    except DatabaseError as error:
        print(describe_failure(error), file=sys.stderr)
        return EXIT_LOCKED if is_busy(error) else EXIT_FAILED
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # Who read the output has seen enough; Python must not find that out once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BROKEN_PIPE
    except OSError as error:
        print(f"{error.filename or 'A file'}: {error.strerror}", file=sys.stderr)
        return EXIT_FAILED
    finally:
        close()
