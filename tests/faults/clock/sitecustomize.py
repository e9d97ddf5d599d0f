"""Lets a process believe in another time: Python loads this first where PYTHONPATH leads here.

``CLOCK_OFFSET_FILE`` names a file with the seconds by which the clock is off, which may change at
any moment. The monotonic clock is as it is, as it is in a machine whose clock is set.
"""

from __future__ import annotations

import datetime as datetime_module
import os
import time as time_module
from typing import Any

_real_time, _real_datetime = time_module.time, datetime_module.datetime
_path = os.environ["CLOCK_OFFSET_FILE"]


def _offset() -> float:
    with open(_path) as stream:  # noqa: PTH123 - what pathlib needs is not to be loaded first.
        return float(stream.read() or 0)


def _time() -> float:
    return _real_time() + _offset()


class _Datetime(_real_datetime):
    @classmethod
    def now(cls, tz: Any = None) -> Any:
        return cls.fromtimestamp(_time(), tz)


time_module.time = _time
time_module.time_ns = lambda: int(_time() * 1e9)
datetime_module.datetime = _Datetime  # type: ignore[misc]
