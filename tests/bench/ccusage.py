"""Our numbers beside ccusage's, and each difference explained: ``python -m tests.bench.ccusage``.

For every folder of real transcripts, tokens per day and model are compared: ours from a new
database, theirs from two versions of ccusage that npm installs below ``build/bench/``. A
difference is explained when a recount by their rule (``ccusage_rules.py``) gives their number to
the token, and every response that is counted otherwise has a named cause. Costs are compared the
same way.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from observatory.ingest.running import ingest
from observatory.log import configure_logging
from observatory.store import schema
from observatory.store.database import close, configure, connect, fetch_all
from observatory.transcripts.prices import PICODOLLARS_PER_NANODOLLAR, Price, PriceBook
from tests.bench.ccusage_rules import KINDS, RULES, Entry, LastLine, last_lines

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "bench"
SOURCES = ROOT.parent / "shared" / "transcripts" / "dev"
INSTALL_SECONDS = 180
RUN_SECONDS = 120
# Whether a version knows cache writes by their lifetime, and prices those of an hour as such.
SPLITS_WRITES = {"18.0.11": False, "20.0.24": True}
CAUSES = {
    "no_request_id": "lines without a request id, of which each is counted",
    "several_request_ids": "a response with several request ids is counted for each",
    "first_line": "the first line of the response counts, not the last",
    "larger_line": "the line with the most tokens counts, not the last",
    "split_writes": "cache writes are what their split says, where a gateway leaves that at zero",
    "progress": "a subagent without a file, of which only progress records tell, is counted",
    "progress_copy": "a copy in a progress record is preferred to the lines of a sidechain",
    "passed_over": "no line of the response passes its schema",
    "fast_name": "fast responses have a name of their own",
    "other_day": "another line of the response counts, of another day",
}
COST_PARTS = ("tokens", "unsplit_writes", "hour_writes", "price_tables")
UNKNOWN = "unknown"

Tokens = tuple[int, int, int, int]
Cell = tuple[str, str]
Cells = dict[Cell, Tokens]
NONE: Tokens = (0, 0, 0, 0)


class Response(NamedTuple):
    """A response as we count it; ``nanodollars`` is ``None`` without a known price.

    ``unsplit_writes`` are cache writes that its split by lifetime leaves out: those cost nothing.
    """

    id: str
    day: str
    model: str
    tokens: Tokens
    nanodollars: int | None
    unsplit_writes: int = 0


@dataclass(slots=True)
class Comparison:
    """One source by one version: numbers by day and model, and why they differ."""

    source: str
    version: str
    ours: Cells
    theirs: Cells
    recount: Cells
    causes: dict[str, Tokens] = field(default_factory=dict)
    responses: Counter[str] = field(default_factory=Counter)
    costs: dict[str, float] = field(default_factory=dict)
    open_costs: list[str] = field(default_factory=list)

    @property
    def differing(self) -> list[Cell]:
        """The days and models for which the two say something else."""
        cells = {*self.ours, *self.theirs}
        return sorted(c for c in cells if self.ours.get(c, NONE) != self.theirs.get(c, NONE))

    @property
    def unexplained(self) -> list[str]:
        """What is left over: numbers that their rule does not give, responses without a cause."""
        cells = {*self.recount, *self.theirs}
        wrong = [c for c in cells if self.recount.get(c, NONE) != self.theirs.get(c, NONE)]
        found = [f"{day} {model}: the recount differs" for day, model in sorted(wrong)]
        if self.responses[UNKNOWN]:
            found.append(f"{self.responses[UNKNOWN]} responses differ for no known cause")
        return found + self.open_costs


def compare(
    source: str,
    version: str,
    *,
    ours: Sequence[Response],
    theirs: Cells,
    entries: Sequence[Entry],
    last: Mapping[str, Collection[LastLine]],
) -> Comparison:
    """Return what two counts of a source say, and the cause of each response's difference.

    Args:
        source: Its name.
        version: Of ccusage.
        ours: The responses as we count them.
        theirs: What ccusage says.
        entries: The recount by its rule.
        last: What the last lines of each response say; our numbers must be among them.
    """
    found = Comparison(
        source,
        version,
        sum_cells(((r.day, r.model), r.tokens) for r in ours),
        theirs,
        sum_cells(((e.day, e.model), e.tokens) for e in entries),
    )
    counted: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        counted[entry.id or entry.uuid or f"{entry.file}:{entry.line}"].append(entry)
    mine = {response.id: response for response in ours}
    for identifier in {*mine, *counted}:
        response, said = mine.get(identifier), counted.get(identifier, [])
        cause = find_cause(response, said, last.get(identifier, ()), version=version)
        if cause is not None:
            found.responses[cause] += 1
            change = _minus(_total(e.tokens for e in said), response.tokens if response else NONE)
            found.causes[cause] = _plus(found.causes.get(cause, NONE), change)
    return found


def find_cause(
    response: Response | None,
    said: Sequence[Entry],
    last: Collection[LastLine],
    *,
    version: str,
) -> str | None:
    """Return why a response is counted otherwise, or ``None`` when it is not."""
    if response is None:
        return "progress" if all(entry.is_progress for entry in said) else UNKNOWN
    if len(said) == 1 and _is_equal(response, said[0]):
        return None
    line = next((line for line in last if line.tokens == response.tokens), None)
    if line is None:
        # Then ours is in doubt.
        return UNKNOWN
    if not said:
        return "passed_over"
    if len(said) > 1:
        return _find_cause_of_several(said)
    [entry] = said
    if entry.tokens != response.tokens:
        return "first_line" if version.startswith("18.") else _find_cause_of_size(entry, line)
    if entry.model != response.model:
        return "fast_name" if entry.model == f"{response.model}-fast" else UNKNOWN
    return "other_day"


def _is_equal(response: Response, entry: Entry) -> bool:
    return (response.tokens, response.model, response.day) == (
        entry.tokens, entry.model, entry.day,
    )  # fmt: skip


def _find_cause_of_size(entry: Entry, line: LastLine) -> str:
    """Return why version 20 counts another line than the last one, or the last one otherwise."""
    used_in, used_out, written, read = line.tokens
    as_counted = (used_in, used_out, line.split_writes, read)
    if entry.is_progress:
        return "progress_copy"
    if entry.tokens != as_counted and sum(entry.tokens) <= sum(as_counted):
        return UNKNOWN
    return "larger_line" if line.split_writes == written else "split_writes"


def _find_cause_of_several(said: Sequence[Entry]) -> str:
    if any(entry.is_progress for entry in said):
        return "progress"
    return "no_request_id" if None in {e.request_id for e in said} else "several_request_ids"


def sum_cells(numbers: Iterable[tuple[Cell, Tokens]]) -> Cells:
    """Return sums by day and model, without those of nothing."""
    cells: Cells = {}
    for cell, tokens in numbers:
        cells[cell] = _plus(cells.get(cell, NONE), tokens)
    return {cell: tokens for cell, tokens in cells.items() if any(tokens)}


def _total(numbers: Iterable[Tokens]) -> Tokens:
    total = NONE
    for tokens in numbers:
        total = _plus(total, tokens)
    return total


def _plus(one: Tokens, other: Tokens) -> Tokens:
    return one[0] + other[0], one[1] + other[1], one[2] + other[2], one[3] + other[3]


def _minus(one: Tokens, other: Tokens) -> Tokens:
    return one[0] - other[0], one[1] - other[1], one[2] - other[2], one[3] - other[3]


# ------------------------------------------------------------------ cost


def compare_costs(
    found: Comparison,
    ours: Sequence[Response],
    theirs: dict[Cell, float],
    entries: Sequence[Entry],
) -> None:
    """Add to a comparison what costs are made of, in dollars, and those that stay open.

    The difference is the sum of four: other tokens, cache writes that we have no lifetime and so
    no price of, cache writes of an hour at the price of those of five minutes, and models that only
    one of the two has a price for.
    """
    with_hours = _cost_cells(entries, prices_hours=True)
    by_rule = with_hours if SPLITS_WRITES[found.version] else _cost_cells(entries)
    tables = 0.0
    for cell in {*theirs, *by_rule}:
        told, expected = theirs.get(cell, 0.0), by_rule.get(cell, 0.0)
        if abs(told - expected) < 1e-6:
            continue
        if told and expected:
            found.open_costs.append(f"{cell[0]} {cell[1]}: ${told:.6f}, by rule ${expected:.6f}")
        tables += told - expected
    mine = sum(response.nanodollars or 0 for response in ours) / 1e9
    unsplit = 0.0 if SPLITS_WRITES[found.version] else sum(map(_unpriced_writes, ours)) / 1e9
    found.costs = {
        "ours": mine,
        "theirs": sum(theirs.values()),
        "tokens": sum(with_hours.values()) - mine - unsplit,
        "unsplit_writes": unsplit,
        "hour_writes": sum(by_rule.values()) - sum(with_hours.values()),
        "price_tables": tables,
    }


_BOOK = PriceBook()


def _find_price(model: str) -> Price | None:
    """Return bundled rates, in picodollars per token."""
    found = _BOOK.find(model, "9999-12-31")
    return None if found is None else found.price


def _unpriced_writes(response: Response) -> int:
    price = _find_price(response.model)
    cost = response.unsplit_writes * price.cache_write_5m if price else 0
    return cost // PICODOLLARS_PER_NANODOLLAR


def _cost_cells(entries: Sequence[Entry], *, prices_hours: bool = False) -> dict[Cell, float]:
    costs: Counter[Cell] = Counter()
    for entry in entries:
        costs[entry.day, entry.model] += _nanodollars(entry, prices_hours=prices_hours)
    return {cell: cost / 1e9 for cell, cost in costs.items()}


def _nanodollars(entry: Entry, *, prices_hours: bool) -> int:
    price = _find_price(entry.model.removesuffix("-fast"))
    if price is None:
        return 0
    used_in, used_out, written, read = entry.tokens
    hour = entry.hour_writes if prices_hours else 0
    cost = used_in * price.input + used_out * price.output + read * price.cache_read
    cost += (written - hour) * price.cache_write_5m + hour * price.cache_write_1h
    cost *= price.fast_multiplier if entry.is_fast else 1
    return cost // PICODOLLARS_PER_NANODOLLAR


# ------------------------------------------------------------------ both programs


def read_ours(source: Path) -> list[Response]:
    """Return the responses of a source, from a new database; nothing is in its trash."""
    with _new_database():
        ingest([str(source / "projects")])
        rows = fetch_all(
            "SELECT a.id, substr(a.created_at, 1, 10), a.model, a.input_tokens, a.output_tokens,"
            " a.cache_creation_input_tokens, a.cache_read_input_tokens, a.cost_nanodollars,"
            " a.cache_creation_input_tokens - a.cache_creation_5m_input_tokens"
            " - a.cache_creation_1h_input_tokens"
            " FROM api_calls a JOIN conversations c ON c.key = a.conversation_key"
            " WHERE c.deleted_at IS NULL ORDER BY a.key"
        )
    return [Response(row[0], row[1], row[2], row[3:7], *row[7:]) for row in rows]


@contextmanager
def _new_database() -> Iterator[None]:
    with tempfile.TemporaryDirectory() as folder:
        configure(Path(folder) / "observatory.db")
        connect()
        try:
            schema.migrate()
            yield
        finally:
            close()


def install(version: str) -> Path | None:
    """Return the program of a version, installed by npm at need; ``None`` when it can not be."""
    folder = BUILD / f"ccusage-{version}"
    program = folder / "node_modules" / ".bin" / "ccusage"
    if not program.exists():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "package.json").write_text('{"private": true}\n')
        command = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts"]
        try:
            subprocess.run(
                [*command, f"ccusage@{version}"],
                cwd=folder, check=True, capture_output=True, timeout=INSTALL_SECONDS,
            )  # fmt: skip
        except (OSError, subprocess.SubprocessError) as error:
            print(f"ccusage {version} can not be installed: {error}", file=sys.stderr)
            return None
    return program


def read_theirs(program: Path, source: Path, version: str) -> tuple[Cells, dict[Cell, float]]:
    """Return tokens and dollars by day and model, as a version of ccusage says.

    Version 20 counts other agents too, which might be on this machine, unless told otherwise.
    """
    agent = [] if version.startswith("18.") else ["claude"]
    options = ["daily", "--json", "--timezone", "UTC", "--breakdown", "--offline"]
    with tempfile.TemporaryDirectory() as home:
        done = subprocess.run(
            [str(program), *agent, *options],
            env={"PATH": os.environ["PATH"], "HOME": home, "CLAUDE_CONFIG_DIR": str(source)},
            capture_output=True, check=True, timeout=RUN_SECONDS,
        )  # fmt: skip
    told = json.loads(done.stdout)
    cells: Cells = {}
    costs: dict[Cell, float] = {}
    # Where it finds nothing it gives a list without anything.
    for day in told["daily"] if isinstance(told, dict) else told:
        for row in day["modelBreakdowns"]:
            cell = day["date"], row["modelName"]
            cells[cell] = (
                row["inputTokens"], row["outputTokens"],
                row["cacheCreationTokens"], row["cacheReadTokens"],
            )  # fmt: skip
            costs[cell] = row["cost"]
    return {cell: tokens for cell, tokens in cells.items() if any(tokens)}, costs


# ------------------------------------------------------------------ the report


def describe(found: Comparison) -> Iterator[str]:
    """Yield the row of a comparison, then a line for each cause of a difference."""
    cells = {*found.ours, *found.theirs}
    verdict = "no" if found.unexplained else "yes" if found.differing else "equal"
    sums = [sum(_total(c.values())) for c in (found.ours, found.theirs, found.recount)]
    yield (
        f"{found.source[:34]:34} {found.version:8} {len(found.differing):3}/{len(cells):<3}"
        + "".join(f"{number:15,}" for number in sums)
        + f"  {verdict}"
    )
    for cause, tokens in sorted(found.causes.items()):
        kinds = ", ".join(
            f"{kind.removesuffix('_tokens')} {number:+,}"
            for kind, number in zip(KINDS, tokens, strict=True)
            if number
        )
        what = CAUSES.get(cause, "NOT EXPLAINED")
        yield f"    {found.responses[cause]:5} responses: {what}: {kinds or 'no tokens'}"
    costs = found.costs
    parts = [f"{n} {costs[n]:+.2f}" for n in COST_PARTS if abs(costs[n]) >= 0.005]
    if abs(costs["theirs"] - costs["ours"]) >= 0.005:
        yield f"    ${costs['theirs']:.2f} for ${costs['ours']:.2f}: {', '.join(parts)}"
    for what in found.unexplained:
        yield f"    NOT EXPLAINED: {what}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; return 1 when a difference is left unexplained, 2 when nothing ran."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.ccusage", description=__doc__)
    parser.add_argument("--sources", type=Path, default=SOURCES, help="folders with projects/")
    folder: Path = parser.parse_args(arguments).sources
    configure_logging(level="error", log_format="json")
    programs = {version: install(version) for version in RULES}
    sources = sorted(path.parent for path in folder.glob("*/projects"))
    if not sources or not any(programs.values()):
        print("There are no transcripts, or no ccusage.", file=sys.stderr)
        return 2
    header = ("ours", "theirs", "recount")
    print(f"{'source':34} {'ccusage':8} {'differ':7}" + "".join(f"{n:>15}" for n in header))
    left = 0 if all(programs.values()) else 1
    for source in sources:
        ours = read_ours(source)
        for version, program in programs.items():
            if program is not None:
                found = _compare_source(source, version, program, ours)
                print("\n".join(describe(found)))
                left += len(found.unexplained)
    print("Everything is explained." if not left else f"{left} differences are not explained.")
    return 1 if left else 0


def _compare_source(
    source: Path, version: str, program: Path, ours: Sequence[Response]
) -> Comparison:
    files = list((source / "projects").rglob("*.jsonl"))
    entries = RULES[version](files)
    theirs, costs = read_theirs(program, source, version)
    found = compare(
        source.name, version, ours=ours, theirs=theirs, entries=entries, last=last_lines(files)
    )
    compare_costs(found, ours, costs, entries)
    return found


if __name__ == "__main__":
    sys.exit(main())
