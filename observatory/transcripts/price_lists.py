"""Files of prices: own rates in dollars per million tokens, or LiteLLM's list.

Source: LiteLLM's ``model_prices_and_context_window.json``, whose fields are in dollars per token.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from typing import Any

from observatory.errors import ObservatoryError
from observatory.transcripts.prices import (
    MAX_FAST_MULTIPLIER,
    MAX_RATE_PICODOLLARS,
    Price,
)

MAX_NAME_CHARACTERS = 200
_MAX_SOURCE_CHARACTERS = 500
_KINDS = ("input", "output", "cache_write_5m", "cache_write_1h", "cache_read")
# What a rate is when it is not told, as a multiple of the input's.
DEFAULTS = {
    "cache_write_5m": Decimal("1.25"),
    "cache_write_1h": Decimal(2),
    "cache_read": Decimal("0.1"),
}
_LITELLM_FIELDS = {
    "input": "input_cost_per_token",
    "output": "output_cost_per_token",
    "cache_write_5m": "cache_creation_input_token_cost",
    "cache_write_1h": "cache_creation_input_token_cost_above_1hr",
    "cache_read": "cache_read_input_token_cost",
}
_LITELLM_MODES = (None, "chat", "completion", "responses")
_BY_SIZE = re.compile(r"_above_\d+k_tokens")
_PICODOLLARS_PER_DOLLAR = 10**12
_MILLION = 10**6
_MAX_RATE = Decimal(MAX_RATE_PICODOLLARS)


class PriceListError(ObservatoryError):
    """A file of prices can not be used; the message names the model and the field."""


@dataclass(frozen=True, slots=True)
class PriceList:
    """What a file of prices says.

    ``source`` is what it says of itself, or ``None``. ``by_size`` are the models that were passed
    over because their rates depend on the size of the prompt or the time of day, and ``other``
    counts those without a price per token.
    """

    source: str | None
    prices: dict[str, Price]
    by_size: tuple[str, ...] = ()
    other: int = 0


def parse_price_list(text: bytes) -> PriceList:
    """Return what a file of prices says, of whichever of the two kinds it is.

    Raises:
        PriceListError: It is neither, or a rate in it is none.
    """
    repeated: list[str] = []

    def make(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) < len(pairs):
            counts = Counter(name for name, _ in pairs)
            repeated.extend(name for name, count in counts.items() if count > 1)
        return made

    try:
        value = json.loads(
            text,
            parse_float=Decimal,
            parse_int=Decimal,
            parse_constant=_refuse_constant,
            object_pairs_hook=make,
        )
    except InvalidOperation as error:
        raise PriceListError("A number in it is out of range.") from error
    except (ValueError, RecursionError) as error:
        raise PriceListError(f"It is no JSON: {error}.") from error
    if isinstance(value, dict) and isinstance(value.get("models"), dict):
        if repeated:
            raise PriceListError(f"{repeated[0]!a} stands there twice.")
        return _parse_own(value)
    if isinstance(value, dict) and any(_is_litellm(entry) for entry in value.values()):
        return _parse_litellm(value)
    raise PriceListError(
        'It has neither {"models": {NAME: {"input": DOLLARS, "output": DOLLARS}}}'
        " nor models as LiteLLM lists them."
    )


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")


def _parse_own(value: dict[str, Any]) -> PriceList:
    source = value.get("source")
    if source is not None and not _is_text(source, _MAX_SOURCE_CHARACTERS):
        raise PriceListError(f"source: takes 1 to {_MAX_SOURCE_CHARACTERS} characters of text.")
    _refuse_others(value, ("source", "models"), "The file")
    prices = {}
    for model, entry in value["models"].items():
        name = _checked_name(model)
        if not isinstance(entry, dict):
            raise PriceListError(f"{name}: takes an object with input and output.")
        _refuse_others(entry, (*_KINDS, "fast_multiplier"), name)
        rates = {
            kind: _picodollars(entry[kind], name, kind, per=_MILLION)
            for kind in _KINDS
            if kind in entry
        }
        for kind in ("input", "output"):
            if kind not in rates:
                raise PriceListError(f"{name}: {kind} is missing.")
        times = entry.get("fast_multiplier", Decimal(1))
        prices[model] = _make_price(rates, _multiplier(times, name, "fast_multiplier"))
    return PriceList(source, prices)


def _refuse_others(value: dict[str, Any], names: Iterable[str], where: str) -> None:
    """Refuse what is not known: a rate with a slip in its name would be taken for its default."""
    unknown = sorted(set(value) - set(names))
    if unknown:
        raise PriceListError(f"{where}: {unknown[0]!a} is not known; {', '.join(names)} are.")


def _is_litellm(entry: Any) -> bool:
    return isinstance(entry, dict) and (
        "litellm_provider" in entry or _LITELLM_FIELDS["input"] in entry
    )


def _parse_litellm(value: dict[str, Any]) -> PriceList:
    prices: dict[str, Price] = {}
    by_size = []
    other = 0
    for model, entry in value.items():
        if not isinstance(entry, dict) or not _is_priced_per_token(entry):
            other += 1
        elif _is_by_size(entry):
            by_size.append(_checked_name(model))
        else:
            name = _checked_name(model)
            rates = {
                kind: _picodollars(entry[field], name, field, per=1)
                for kind, field in _LITELLM_FIELDS.items()
                if entry.get(field) is not None
            }
            specific = entry.get("provider_specific_entry")
            times = specific.get("fast", Decimal(1)) if isinstance(specific, dict) else Decimal(1)
            times = _multiplier(times, name, "provider_specific_entry.fast")
            if rates["input"] or rates["output"]:
                prices[model] = _make_price(rates, times)
            else:
                # What is not sold by the token stands there with rates of 0.
                other += 1
    return PriceList(None, prices, tuple(by_size), other)


def _is_priced_per_token(entry: dict[str, Any]) -> bool:
    """Tell whether an entry is a model that talks, with rates for what it reads and says."""
    has_rates = all(entry.get(_LITELLM_FIELDS[kind]) is not None for kind in ("input", "output"))
    return has_rates and entry.get("mode") in _LITELLM_MODES


def _is_by_size(entry: dict[str, Any]) -> bool:
    return (
        any(_BY_SIZE.search(field) for field in entry)
        or bool(entry.get("tiered_pricing"))
        or bool(entry.get("off_peak_pricing"))
    )


def _make_price(rates: dict[str, int], times: int) -> Price:
    for kind, share in DEFAULTS.items():
        if kind not in rates:
            rates[kind] = _rounded(rates["input"] * share)
    return Price(**rates, fast_multiplier=times)


def _picodollars(value: Any, model: str, field: str, *, per: int) -> int:
    """Return a rate in dollars for so many tokens as picodollars for one."""
    if not isinstance(value, Decimal):
        raise PriceListError(f"{model}: {field} takes a number of dollars.")
    if value < 0:
        raise PriceListError(f"{model}: {field} is below 0.")
    most = _MAX_RATE * per / _PICODOLLARS_PER_DOLLAR
    if value > most:
        raise PriceListError(f"{model}: {field} is above {most}; it is in dollars.")
    return _rounded(value * (_PICODOLLARS_PER_DOLLAR // per))


def _rounded(value: Decimal) -> int:
    return int(value.to_integral_value(ROUND_HALF_EVEN))


def _multiplier(value: Any, model: str, field: str) -> int:
    if (
        not isinstance(value, Decimal)
        or not 1 <= value <= MAX_FAST_MULTIPLIER
        or value != value.to_integral_value()
    ):
        raise PriceListError(
            f"{model}: {field} takes a whole number from 1 to {MAX_FAST_MULTIPLIER}."
        )
    return int(value)


def _is_text(value: Any, most: int) -> bool:
    # What is no UTF-8 comes from JSON's escapes as surrogates.
    return (
        isinstance(value, str)
        and 0 < len(value.encode("utf-8", "ignore").decode()) == len(value) <= most
    )


def _checked_name(model: str) -> str:
    if not _is_text(model, MAX_NAME_CHARACTERS):
        raise PriceListError(
            f"{model[:MAX_NAME_CHARACTERS]!a}: a model's name takes 1 to"
            f" {MAX_NAME_CHARACTERS} characters of text."
        )
    return model if model.isprintable() else ascii(model)
