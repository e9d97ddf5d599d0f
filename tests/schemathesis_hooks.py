"""Values of the formats of ours."""

from __future__ import annotations

import schemathesis
from hypothesis import strategies as st

_DAYS = st.dates().filter(lambda day: 1971 <= day.year <= 9997).map(str)
_TIMES = st.sampled_from(("T00:00:00Z", "T23:59:59.999Z", "T12:30:00+02:00", ""))

schemathesis.openapi.format("day-or-time", st.tuples(_DAYS, _TIMES).map("".join))
schemathesis.openapi.format(
    "time-zone", st.sampled_from(("UTC", "Europe/Berlin", "Asia/Kathmandu", "America/New_York"))
)
