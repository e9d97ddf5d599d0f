"""Conversations and messages that clients write, one after the other and many at once."""

from __future__ import annotations

from collections.abc import Iterator

import orjson

from tests.bench.endpoints import Place
from tests.bench.figures import Figure, make_figure
from tests.bench.figures import Target as Bound
from tests.bench.run import Bench
from tests.bench.serving import Target, load_in_turns, serving_bare, serving_product

CONVERSATION = orjson.dumps({"title": "Measured", "project_path": "/home/dev/projects/bench"})
# Many write at once, each into its own.
_WRITTEN = 100
MESSAGE = orjson.dumps({"role": "user", "content": "some words " * 36})


def measure_writes(bench: Bench) -> Iterator[Figure]:
    """Load both with each number of connections, beside a bare answer.

    The archive is another one then than the one that was read, so it is made anew by the next
    stage that needs it.
    """
    bench.need_archive()
    with serving_bare(bench) as bare, serving_product(bench) as (place, _):
        for connections in bench.sizes.writers:
            for name, target, floor in _targets(place, bare):
                loaded, least = load_in_turns(
                    (target, floor),
                    connections=connections,
                    seconds=bench.seconds,
                    turns=bench.sizes.rounds,
                )
                label = f"{name}, {connections} connections"
                yield make_figure(label, loaded.rates, "/s", floors=least.rates)
                yield make_figure(f"{label}, p99", loaded.tails_ms, "ms", floors=least.tails_ms)
                yield Figure(f"{label}, errors", loaded.errors, "", target=Bound(at_most=0))
    (bench.folder / "archive_of.txt").unlink(missing_ok=True)


def _targets(place: Place, bare: Place) -> Iterator[tuple[str, Target, Target]]:
    """Yield what is loaded."""
    for name, paths, body in (
        ("new conversation", ["/api/conversations"], CONVERSATION),
        ("new message", make_conversations(place), MESSAGE),
    ):
        _, answer = place.ask(paths[0], body)
        target = Target(place, paths[0], body, paths=paths)
        yield name, target, Target(bare, f"/{len(answer)}", body, probe="/1")


def make_conversations(place: Place) -> list[str]:
    """Make the conversations that messages are added to in turns; return the paths of those."""
    made = (place.data("/api/conversations", CONVERSATION)["id"] for _ in range(_WRITTEN))
    return [f"/api/conversations/{identifier}/messages" for identifier in made]
