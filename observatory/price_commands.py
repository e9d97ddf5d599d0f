"""``observatory prices show | update | remove``: what models cost, for who runs the server."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console
from rich.table import Table
from rich.text import Text

from observatory.arguments import add_wait, day
from observatory.errors import ObservatoryError
from observatory.ingest.price_updates import (
    PriceChange,
    PriceRemoval,
    PriceUpdate,
    remove_prices,
    update_prices,
)
from observatory.ingest.pricing import read_book
from observatory.ingest.progress import show_progress
from observatory.ingest.running import Progress
from observatory.ingest.stopping import StopSignals
from observatory.log import escape_controls
from observatory.opening import open_database, prepare_schema
from observatory.settings import Settings
from observatory.store.locks import held
from observatory.store.prices import list_model_days
from observatory.transcripts.price_lists import PriceList, PriceListError, parse_price_list
from observatory.transcripts.prices import (
    ALWAYS,
    ModelPrice,
    Price,
    PriceBook,
    read_price_table,
)

_PICODOLLARS_PER_MICRODOLLAR = 1_000_000
_NANODOLLARS_PER_MICRODOLLAR = 1000
_WIDTH = 160
# LiteLLM's whole list has 2.
_MOST_MEBIBYTES = 64
_MOST_LINES = 50
_RATES = {
    "input": "input",
    "output": "output",
    "cache_write_5m": "write 5m",
    "cache_write_1h": "write 1h",
    "cache_read": "read",
}


class PriceFileProblem(ObservatoryError):
    """A file of prices can not be used; the message names it and what is wrong with it."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{escape_controls(path)}: {problem}")


def add_price_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add these commands to those of the command line."""
    prices = commands.add_parser("prices", help="show what models cost, or set it")
    kinds = prices.add_subparsers(required=True, metavar="ACTION")
    text = "list the prices of the models that the archive has calls of"
    show = kinds.add_parser("show", help=text, description=text)
    show.add_argument("--all", action="store_true", help="list every price that is known")
    show.add_argument("--json", action="store_true", help="print JSON")
    show.set_defaults(command=run_prices_show)
    text = "take prices from a file, and price all calls by them"
    update = kinds.add_parser("update", help=text, description=text)
    update.add_argument("file", metavar="FILE", help="own prices, or LiteLLM's list, as JSON")
    update.add_argument(
        "--from",
        dest="since",
        type=_since,
        metavar="DATE",
        help="from when on they hold (a day in UTC, or always); by default from today,"
        " and always for models that had no price",
    )
    _add_change_arguments(update)
    update.set_defaults(command=run_prices_update)
    text = "take own prices away, so that bundled ones hold again, and price all calls by these"
    remove = kinds.add_parser("remove", help=text, description=text)
    which = remove.add_mutually_exclusive_group(required=True)
    which.add_argument("models", nargs="*", default=[], metavar="MODEL", help="whose own prices go")
    which.add_argument("--all", action="store_true", help="those of all models")
    _add_change_arguments(remove)
    remove.set_defaults(command=run_prices_remove)


def _add_change_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dry-run", action="store_true", help="say what would change")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_wait(parser)


def _since(text: str) -> str:
    return ALWAYS if text == "always" else day(text)


# show


def run_prices_show(options: argparse.Namespace, settings: Settings) -> int:
    """List prices."""
    open_database(settings)
    prepare_schema(settings)
    book = read_book()
    rows = _used_prices(book)
    if options.all:
        rows += _unused_prices(book, rows)
    rows.sort(key=lambda row: (row["model"], row["valid_from"] or ""))
    table = read_price_table()
    if options.json:
        bundled = {"as_of": table["as_of"], "source": table["source"]}
        _print_json({"bundled": bundled, "prices": rows})
        return 0
    _print_table(_prices_table(rows))
    print(f"Bundled: {table['source']} ({table['as_of']}).")
    print("Rates are US dollars per million tokens.", flush=True)
    return 0


def _used_prices(book: PriceBook) -> list[dict[str, Any]]:
    """Return the models that there are calls of, once for each price that these have."""
    rows: dict[tuple[str, ModelPrice | None], dict[str, Any]] = {}
    for used in list_model_days():
        found = book.find(used.model, used.day)
        row = rows.setdefault((used.model, found), _price_row(used.model, found))
        row["calls"] += used.calls
        row["reported_calls"] += used.reported_calls
        row["tokens"] += used.tokens
    return list(rows.values())


def _unused_prices(book: PriceBook, used: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    known = {(row["model"], row["valid_from"]) for row in used}
    return [
        _price_row(price.model, price)
        for price in book.list_prices()
        if (price.model, price.valid_from) not in known
    ]


def _price_row(model: str, found: ModelPrice | None) -> dict[str, Any]:
    return {
        "model": model,
        "priced_as": found.model if found else None,
        "valid_from": found.valid_from if found else None,
        "source": found.source if found else None,
        **_rates(found.price if found else None),
        "calls": 0,
        "reported_calls": 0,
        "tokens": 0,
    }


def _rates(price: Price | None) -> dict[str, Any]:
    """Return rates in dollars per million tokens."""
    rates: dict[str, Any] = {
        kind: None if price is None else getattr(price, kind) / _PICODOLLARS_PER_MICRODOLLAR
        for kind in _RATES
    }
    return {**rates, "fast_multiplier": None if price is None else price.fast_multiplier}


def _prices_table(rows: Sequence[dict[str, Any]]) -> Table:
    table = _table("model", "from", right=(*_RATES.values(), "fast", "calls", "tokens"))
    table.add_column("source", overflow="fold")
    for row in rows:
        if row["valid_from"] is None:
            rates = ["no price", *[""] * len(_RATES)]
        else:
            rates = [*_shown_rates(row), f"x{row['fast_multiplier']}"]
        calls = f"{row['calls']:,}"
        if row["reported_calls"]:
            calls += f" ({row['reported_calls']:,} reported)"
        since = _shown_day(row["valid_from"]) if row["valid_from"] else ""
        table.add_row(
            _text(row["model"]), since, *rates, calls, f"{row['tokens']:,}",
            _text(row["source"] or ""),
        )  # fmt: skip
    return table


# update


def run_prices_update(options: argparse.Namespace, settings: Settings) -> int:
    """Take prices from a file."""
    path = Path(options.file)
    try:
        listed = parse_price_list(_read(path))
    except PriceListError as error:
        raise PriceFileProblem(options.file, str(error)) from error
    open_database(settings, cache_mib=64)
    prepare_schema(settings)
    source = listed.source or path.name.encode("utf-8", "replace").decode()
    if options.dry_run:
        update = update_prices(listed.prices, source=source, since=options.since, is_dry_run=True)
        _report(update, listed, options)
        return 0
    with _pricing(options, settings) as (on_progress, stop):
        update = update_prices(
            listed.prices,
            source=source,
            since=options.since,
            on_progress=on_progress,
            should_stop=stop.is_requested,
        )
    _report(update, listed, options)
    return 0 if update.repriced.is_complete else 128 + stop.number


def _read(path: Path) -> bytes:
    """Return what a file holds, which may be a device without an end."""
    with path.open("rb") as file:
        text = file.read(_MOST_MEBIBYTES * 2**20 + 1)
    if len(text) > _MOST_MEBIBYTES * 2**20:
        raise PriceListError(f"It has more than {_MOST_MEBIBYTES} MiB; no list of prices has.")
    return text


@contextmanager
def _pricing(
    options: argparse.Namespace, settings: Settings
) -> Iterator[tuple[Callable[[int, int], None], StopSignals]]:
    """Hold the lock of an ingest; give what shows how far pricing is, and what tells of signals."""
    with (
        held(settings.db_path, "ingest", wait_seconds=options.wait),
        StopSignals() as stop,
        show_progress(sys.stderr) as on_progress,
    ):
        yield lambda done, total: on_progress(Progress(done, total, "pricing")), stop


def _report(update: PriceUpdate, listed: PriceList, options: argparse.Namespace) -> None:
    if options.json:
        _print_json(_report_data(update, listed, is_dry_run=options.dry_run))
        return
    if update.changes:
        shown = update.changes[:_MOST_LINES]
        _print_table(_changes_table(shown))
        if len(shown) < len(update.changes):
            print(f"and {len(update.changes) - len(shown):,} more; --json lists all.")
    for line in _report_lines(update, listed, is_dry_run=options.dry_run):
        print(line)
    sys.stdout.flush()


def _report_data(update: PriceUpdate, listed: PriceList, *, is_dry_run: bool) -> dict[str, Any]:
    return {
        "is_dry_run": is_dry_run,
        "changes": [_change_data(change) for change in update.changes],
        "unchanged_models": update.unchanged,
        "passed_over": {"by_prompt_size": listed.by_size, "not_per_token": listed.other},
        **_repriced_data(update),
    }


def _repriced_data(update: PriceUpdate | PriceRemoval) -> dict[str, Any]:
    return {
        "calls_priced_anew": update.repriced.changed_calls,
        "conversations_changed": update.repriced.changed_conversations,
        "cost_before_microdollars": _microdollars(update.nanodollars_before),
        "cost_after_microdollars": _microdollars(update.nanodollars_after),
        "is_complete": update.repriced.is_complete,
    }


def _change_data(change: PriceChange) -> dict[str, Any]:
    return {
        "model": change.model,
        "valid_from": change.valid_from,
        "valid_until": change.valid_until,
        "before": None if change.before is None else _rates(change.before),
        "after": _rates(change.after),
        "removed": change.removed,
    }


def _report_lines(update: PriceUpdate, listed: PriceList, *, is_dry_run: bool) -> list[str]:
    would = "would be " if is_dry_run else ""
    lines = [f"Prices: {len(update.changes):,} {would}changed, {update.unchanged:,} held already."]
    if listed.by_size:
        names = ", ".join(escape_controls(name) for name in listed.by_size[:_MOST_LINES])
        more = len(listed.by_size) - _MOST_LINES
        names += f" and {more:,} more" if more > 0 else ""
        lines.append(f"Passed over, for the price depends on more than tokens: {names}.")
    if listed.other:
        lines.append(f"Passed over, for they have no price per token: {listed.other:,}.")
    return [*lines, *_repriced_lines(update, is_dry_run=is_dry_run)]


def _repriced_lines(update: PriceUpdate | PriceRemoval, *, is_dry_run: bool) -> list[str]:
    would = "would be " if is_dry_run else ""
    repriced = update.repriced
    before, after = (
        f"${nanodollars / 1e9:,.2f}"
        for nanodollars in (update.nanodollars_before, update.nanodollars_after)
    )
    lines = [
        f"Calls: {repriced.changed_calls:,} {would}priced anew"
        f" in {repriced.changed_conversations:,} conversations; all cost {before} before,"
        f" {after} after."
    ]
    if not repriced.is_complete:
        lines.append("Stopped; the next ingest, or the watcher, goes on from here.")
    return lines


def _changes_table(changes: Sequence[PriceChange]) -> Table:
    table = _table("model", "from", "until", right=(*_RATES.values(), "fast"))
    table.add_column("before", overflow="fold")
    for change in changes:
        rates = _rates(change.after)
        before = _rates(change.before)
        old = [
            f"{name} {_shown_rate(before[kind])}"
            for kind, name in _RATES.items()
            if before[kind] != rates[kind]
        ]
        if change.before and before["fast_multiplier"] != rates["fast_multiplier"]:
            old.append(f"fast x{before['fast_multiplier']}")
        until = change.valid_until or ""
        table.add_row(
            _text(change.model), _shown_day(change.valid_from), until, *_shown_rates(rates),
            f"x{rates['fast_multiplier']}", ", ".join(old) if change.before else "no price",
        )  # fmt: skip
    return table


# remove


def run_prices_remove(options: argparse.Namespace, settings: Settings) -> int:
    """Take own prices away."""
    open_database(settings, cache_mib=64)
    prepare_schema(settings)
    models = None if options.all else options.models
    if options.dry_run:
        _report_removal(remove_prices(models, is_dry_run=True), options)
        return 0
    with _pricing(options, settings) as (on_progress, stop):
        removal = remove_prices(models, on_progress=on_progress, should_stop=stop.is_requested)
    _report_removal(removal, options)
    return 0 if removal.repriced.is_complete else 128 + stop.number


def _report_removal(removal: PriceRemoval, options: argparse.Namespace) -> None:
    if options.json:
        removed = [{"model": row.model, "valid_from": row.valid_from} for row in removal.removed]
        _print_json({"is_dry_run": options.dry_run, "removed": removed, **_repriced_data(removal)})
        return
    for row in removal.removed[:_MOST_LINES]:
        print(f"{escape_controls(row.model)} ({_shown_day(row.valid_from)})")
    if len(removal.removed) > _MOST_LINES:
        print(f"and {len(removal.removed) - _MOST_LINES:,} more; --json lists all.")
    would = "would be " if options.dry_run else ""
    print(f"Prices: {len(removal.removed):,} {would}removed.")
    for line in _repriced_lines(removal, is_dry_run=options.dry_run):
        print(line)
    sys.stdout.flush()


# All


def _table(*left: str, right: Sequence[str]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in left:
        table.add_column(name, overflow="fold")
    for name in right:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _shown_rates(rates: Mapping[str, Any]) -> list[str]:
    return [_shown_rate(rates[kind]) for kind in _RATES]


def _shown_rate(rate: float | None) -> str:
    return "" if rate is None else f"{rate:.6f}".rstrip("0").rstrip(".")


def _shown_day(valid_from: str) -> str:
    return "always" if valid_from == ALWAYS else valid_from


def _text(value: str) -> Text:
    """Return text in which nothing is markup, and nothing tells a terminal what to do."""
    return Text(escape_controls(value))


def _print_table(table: Table) -> None:
    """Print a table; captured first, for rich ends a program whose reader is gone."""
    stream = StringIO()
    width = Console().width if sys.stdout.isatty() else _WIDTH
    Console(file=stream, width=width).print(table)
    for line in stream.getvalue().splitlines():
        print(line.rstrip())


def _print_json(value: Any) -> None:
    print(orjson.dumps(value).decode(), flush=True)


def _microdollars(nanodollars: int) -> int:
    return round(nanodollars / _NANODOLLARS_PER_MICRODOLLAR)
