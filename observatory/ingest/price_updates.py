"""Own prices set by the operator, or taken away: what follows from that, and making it so."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

from observatory.errors import ObservatoryError
from observatory.ingest.pricing import as_model_prices
from observatory.ingest.repricing import Repriced, finish_pricing, foresee_pricing
from observatory.store.database import writing
from observatory.store.prices import OwnPrice, list_own_prices, replace_own_prices, sum_costs
from observatory.timestamps import now
from observatory.transcripts.prices import ALWAYS, ModelPrice, Price, PriceBook, hash_prices


@dataclass(frozen=True, slots=True)
class PriceChange:
    """A price that one model is to have.

    ``valid_until`` is the day on which a later own price of it takes over, or ``None``. ``before``
    is what the model cost at the beginning of that, ``None`` without a price. ``removed`` are the
    days of own prices that it takes the place of.
    """

    model: str
    valid_from: str
    valid_until: str | None
    before: Price | None
    after: Price
    removed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PriceUpdate:
    """What an update changed, or would change; costs of all calls in nanodollars."""

    changes: tuple[PriceChange, ...]
    unchanged: int
    repriced: Repriced
    nanodollars_before: int
    nanodollars_after: int


@dataclass(frozen=True, slots=True)
class PriceRemoval:
    """Which own prices went, or would go; costs of all calls in nanodollars."""

    removed: tuple[ModelPrice, ...]
    repriced: Repriced
    nanodollars_before: int
    nanodollars_after: int


class NoOwnPrice(ObservatoryError):
    """Own prices of models are to go that have none; ``models`` names them."""

    def __init__(self, models: Iterable[str]) -> None:
        self.models = tuple(sorted(models))
        names = ", ".join(name if name.isprintable() else ascii(name) for name in self.models)
        super().__init__(f"There is no own price of {names}; `observatory prices show` lists all.")


class _Plan:
    """Own prices as they are to be, made one model after the other."""

    def __init__(self, rows: Iterable[ModelPrice], *, today: str, since: str | None) -> None:
        self.rows = {(row.model, row.valid_from): row for row in rows}
        self.days: dict[str, list[str]] = {}
        for model, day in self.rows:
            self.days.setdefault(model, []).append(day)
        self.first_book = self.book = PriceBook(self.rows.values())
        self.today = today
        self.since = since
        self.changes: dict[str, PriceChange] = {}

    def add_all(self, prices: Mapping[str, Price], source: str) -> None:
        """Change what is to cost something else.

        A price of a name without a date is that of its dated names, too: so when some were changed
        the others are looked at again.
        """
        while True:
            due = [
                model
                for model, price in prices.items()
                if model not in self.changes and not self._has(model, price)
            ]
            if not due:
                return
            for model in due:
                self._change(model, prices[model], source)
            self.book = PriceBook(self.rows.values())

    def _has(self, model: str, price: Price) -> bool:
        """Tell whether a model costs that already, for as long as it is to."""
        if self.since == ALWAYS:
            days = [ALWAYS, *self.book.days_of_change(model)]
        else:
            days = [self.since or self.today]
        found = (self.book.find(model, day) for day in days)
        return all(row is not None and row.price == price for row in found)

    def _change(self, model: str, price: Price, source: str) -> None:
        valid_from = self.since
        if valid_from is None:
            has_price = self.first_book.find(model, self.today) is not None
            valid_from = self.today if has_price else ALWAYS
        later = sorted(day for day in self.days.get(model, ()) if day > valid_from)
        removed = later if self.since == ALWAYS else []
        for day in removed:
            del self.rows[model, day]
        self.rows[model, valid_from] = ModelPrice(model, valid_from, price, source)
        before = self.first_book.find(model, self.today if valid_from == ALWAYS else valid_from)
        self.changes[model] = PriceChange(
            model,
            valid_from,
            later[0] if later and not removed else None,
            before.price if before else None,
            price,
            tuple(removed),
        )


def update_prices(
    prices: Mapping[str, Price],
    *,
    source: str,
    since: str | None = None,
    is_dry_run: bool = False,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> PriceUpdate:
    """Set own prices where models are to cost something else, and price all calls by them.

    The caller holds the lock ``ingest``, unless it is a dry run. The prices are set in one
    transaction; pricing goes on with the next ingest when it is interrupted.

    Args:
        prices: What models are to cost, by name.
        source: Who says so.
        since: The day from which they cost that, ``YYYY-MM-DD`` in UTC, until a later own price;
            ALWAYS takes the place of all own prices of theirs. With ``None`` it is today, and for
            models without a price always.
        is_dry_run: Only say what would change.
        on_progress: Told how many calls are done, of how many.
        should_stop: Ends the pricing after the batch at hand.
    """
    before = sum_costs()
    if is_dry_run:
        plan = _plan(prices, source, since)
        repriced = foresee_pricing(plan.book)
    else:
        with writing():
            plan = _plan(prices, source, since)
            if plan.changes:
                _write(plan)
        repriced = finish_pricing(on_progress=on_progress, should_stop=should_stop)
    changes = tuple(sorted(plan.changes.values(), key=lambda change: change.model))
    return PriceUpdate(
        changes, len(prices) - len(changes), repriced, before, before + repriced.nanodollars
    )


def remove_prices(
    models: Collection[str] | None,
    *,
    is_dry_run: bool = False,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> PriceRemoval:
    """Take own prices away, so that bundled ones hold again, and price all calls without them.

    For the holder of the lock ``ingest``, and interrupted, as ``update_prices`` is.

    Args:
        models: Whose prices go, of all days, by the names that they were set for; ``None`` is all.
        is_dry_run: Only say what would change.
        on_progress: Told how many calls are done, of how many.
        should_stop: Ends the pricing after the batch at hand.

    Raises:
        NoOwnPrice: A model has none; nothing is changed then.
    """
    before = sum_costs()
    if is_dry_run:
        kept, removed = _divide(models)
        repriced = foresee_pricing(PriceBook(kept))
    else:
        with writing():
            kept, removed = _divide(models)
            replace_own_prices(
                (),
                removed=[(row.model, row.valid_from) for row in removed],
                own_prices=hash_prices(kept),
            )
        repriced = finish_pricing(on_progress=on_progress, should_stop=should_stop)
    return PriceRemoval(tuple(removed), repriced, before, before + repriced.nanodollars)


def _divide(models: Collection[str] | None) -> tuple[list[ModelPrice], list[ModelPrice]]:
    """Return the own prices that stay, and those that go."""
    rows = as_model_prices(list_own_prices())
    unknown = set(models or ()) - {row.model for row in rows}
    if unknown:
        raise NoOwnPrice(unknown)
    gone = {row.model for row in rows} if models is None else set(models)
    return (
        [row for row in rows if row.model not in gone],
        [row for row in rows if row.model in gone],
    )


def _plan(prices: Mapping[str, Price], source: str, since: str | None) -> _Plan:
    plan = _Plan(as_model_prices(list_own_prices()), today=now()[:10], since=since)
    plan.add_all(prices, source)
    return plan


def _write(plan: _Plan) -> None:
    moment = now()
    changes = plan.changes.values()
    replace_own_prices(
        [_row(plan.rows[change.model, change.valid_from], moment) for change in changes],
        removed=[(change.model, day) for change in changes for day in change.removed],
        own_prices=hash_prices(plan.rows.values()),
    )


def _row(row: ModelPrice, moment: str) -> OwnPrice:
    price = row.price
    return OwnPrice(
        row.model,
        row.valid_from,
        price.input,
        price.output,
        price.cache_write_5m,
        price.cache_write_1h,
        price.cache_read,
        price.fast_multiplier,
        row.source,
        moment,
    )
