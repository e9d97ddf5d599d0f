"""How what happens now comes from transcripts to streams."""

from __future__ import annotations

from collections import Counter
from typing import Any

import falcon

from observatory.api.answers import answer
from observatory.api.auth import scope_of
from observatory.api.params import NoParams, read_params
from observatory.api.watcher_state import tell_watcher
from observatory.collectors.workers import make_counted
from observatory.live.connections import KINDS
from observatory.metrics import STREAM_EVENTS, STREAM_QUEUE, STREAM_RESYNCS, STREAMS
from observatory.store.event_notes import count_live_conversations
from observatory.store.events import read_bounds

_STREAMS = (STREAMS, STREAM_QUEUE, STREAM_EVENTS, STREAM_RESYNCS)
_SUMS = {
    "observatory_stream_queue_bytes": "queue_bytes",
    "observatory_stream_events_total": "events_sent",
    "observatory_stream_resyncs_total": "resyncs",
}


class LiveStatus:
    """``/api/live/status``: streams of all workers, and what is live."""

    is_cached = False

    def __init__(self, *, is_multiprocess: bool, max_streams: int) -> None:
        self._counted = make_counted(is_multiprocess=is_multiprocess)
        self._max_streams = max_streams

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer with the state of everything live."""
        read_params(req, NoParams)
        bounds = read_bounds()
        scope = scope_of(req)
        answer(
            req,
            resp,
            {
                "watcher": tell_watcher(scope),
                "streams": self._read_streams(),
                "events": {"oldest_id": bounds.oldest, "latest_id": bounds.latest},
                "live_conversations": count_live_conversations(scope),
            },
        )

    def _read_streams(self) -> dict[str, Any]:
        """Return what there is of streams, and what was sent on them, over all workers."""
        streams: Counter[str] = Counter()
        sums: Counter[str] = Counter()
        for metric in self._counted.collect_some(_STREAMS):
            for sample in metric.samples:
                if sample.name == "observatory_streams":
                    streams[sample.labels["kind"]] += int(sample.value)
                elif sample.name in _SUMS:
                    sums[_SUMS[sample.name]] += int(sample.value)
        return {
            "open": {kind: streams[kind] for kind in KINDS},
            "max_per_worker": self._max_streams,
            **{name: sums[name] for name in _SUMS.values()},
        }
