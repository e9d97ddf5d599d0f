"""structlog, which loads rich where that is installed: for tracebacks, of which none are shown.

That is 5 MiB of each process, so it is not there while structlog looks for it. The commands that
show tables load it themselves.
"""

from __future__ import annotations

import sys

_OPTIONAL = "rich"

_is_hidden = _OPTIONAL not in sys.modules
if _is_hidden:
    # What Python's own documentation says makes an import fail.
    sys.modules[_OPTIONAL] = None  # type: ignore[assignment]
try:
    import structlog
finally:
    if _is_hidden:
        del sys.modules[_OPTIONAL]

__all__ = ["structlog"]
