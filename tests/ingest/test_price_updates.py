"""Which own prices follow from a list: history stays, and what holds already is not repeated."""

from __future__ import annotations

import pytest

from observatory.ingest import price_updates
from observatory.ingest.price_updates import NoOwnPrice, remove_prices, update_prices
from observatory.ingest.pricing import read_book
from observatory.store.database import fetch_all
from observatory.transcripts.prices import ALWAYS, Price, read_bundled_prices
from tests.ingest.test_repricing import is_all_priced, transcript_of

TODAY = "2026-03-04"
OPUS = read_bundled_prices()["claude-opus-4-5"].price
CHEAP, DEAR = Price(1, 1, 1, 1, 1), Price(9, 9, 9, 9, 9)
DATED = "claude-opus-4-5-20251101"


@pytest.fixture(autouse=True)
def today(db, monkeypatch):
    monkeypatch.setattr(price_updates, "now", lambda: f"{TODAY}T05:06:07.890Z")


def update(prices, **options):
    return update_prices(prices, source="ours", **options)


def rows() -> list[tuple]:
    return fetch_all("SELECT model, valid_from, input FROM prices ORDER BY model, valid_from")


def test_a_model_without_a_price_gets_it_for_all_time():
    [change] = update({"glm-5": CHEAP}).changes
    assert (change.valid_from, change.before, change.after) == (ALWAYS, None, CHEAP)
    assert rows() == [("glm-5", ALWAYS, 1)]
    assert is_all_priced()


def test_a_model_with_a_price_gets_another_from_today_on():
    [change] = update({"claude-opus-4-5": CHEAP}).changes
    assert (change.valid_from, change.before, change.after) == (TODAY, OPUS, CHEAP)
    assert rows() == [("claude-opus-4-5", TODAY, 1)]
    yesterday = read_book().find("claude-opus-4-5", "2026-03-03")
    assert yesterday and yesterday.price == OPUS


def test_what_holds_already_is_not_repeated():
    done = update({"claude-opus-4-5": OPUS, DATED: OPUS, "glm-5": CHEAP})
    assert (len(done.changes), done.unchanged) == (1, 2)
    assert update({"claude-opus-4-5": OPUS, "glm-5": CHEAP}).changes == ()
    assert rows() == [("glm-5", ALWAYS, 1)]


def test_twice_on_a_day_the_last_word_counts():
    update({"claude-opus-4-5": CHEAP})
    update({"claude-opus-4-5": DEAR})
    assert rows() == [("claude-opus-4-5", TODAY, 9)]


def test_a_day_can_be_said_and_later_prices_stay():
    update({"claude-opus-4-5": DEAR}, since="2026-06-01")
    [change] = update({"claude-opus-4-5": CHEAP}, since="2026-01-01").changes
    assert (change.valid_from, change.valid_until) == ("2026-01-01", "2026-06-01")
    assert rows() == [("claude-opus-4-5", "2026-01-01", 1), ("claude-opus-4-5", "2026-06-01", 9)]


def test_always_takes_the_place_of_all_own_prices_of_a_model():
    update({"claude-opus-4-5": DEAR, "glm-5": DEAR}, since="2026-01-01")
    update({"claude-opus-4-5": CHEAP}, since="2026-02-01")
    [change] = update({"claude-opus-4-5": DEAR}, since=ALWAYS).changes
    assert change.removed == ("2026-01-01", "2026-02-01")
    assert rows() == [("claude-opus-4-5", ALWAYS, 9), ("glm-5", "2026-01-01", 9)]
    assert update({"claude-opus-4-5": DEAR}, since=ALWAYS).changes == ()


def test_always_of_the_bundled_price_is_nothing_new():
    assert update({"claude-opus-4-5": OPUS}, since=ALWAYS).changes == ()
    update({"claude-opus-4-5": CHEAP})
    update({"claude-opus-4-5": OPUS}, since=ALWAYS)
    assert rows() == [("claude-opus-4-5", ALWAYS, OPUS.input)]


def test_an_own_price_without_a_date_does_not_cover_a_listed_one_with_it():
    """The dated name held its price; a new one of the plain name would have become its own."""
    update({"claude-opus-4-5": CHEAP, DATED: OPUS})
    book = read_book()
    found = [book.find(name, TODAY) for name in ("claude-opus-4-5", DATED)]
    assert [row.price if row else None for row in found] == [CHEAP, OPUS]
    update({"glm-5": CHEAP, "glm-5-20260101": DEAR})
    found = [read_book().find(name, TODAY) for name in ("glm-5-20260202", "glm-5-20260101")]
    assert [row.price if row else None for row in found] == [CHEAP, DEAR]


def test_a_dry_run_tells_and_changes_nothing(write, ingest):
    write(transcript_of("glm-5", "claude-opus-4-5"))
    ingest()
    before = fetch_all("SELECT * FROM totals"), fetch_all("SELECT * FROM api_calls")
    prices = {"glm-5": Price(10**6, 10**6, 10**6, 10**6, 10**6)}
    foreseen = update(prices, is_dry_run=True)
    assert (fetch_all("SELECT * FROM totals"), fetch_all("SELECT * FROM api_calls")) == before
    assert rows() == []
    done = update(prices)
    assert done == foreseen
    assert done.repriced.changed_calls == 1
    assert done.nanodollars_after - done.nanodollars_before == 1_123_000
    assert fetch_all("SELECT sum(cost_nanodollars) FROM api_calls") == [(done.nanodollars_after,)]


def test_many_models_are_no_burden():
    prices = {f"model-{number}": Price(number, 1, 1, 1, 1) for number in range(1, 3000)}
    assert len(update(prices).changes) == 2999
    assert len(update(dict.fromkeys(prices, DEAR)).changes) == 2999
    assert len(rows()) == 2 * 2999


def test_without_own_prices_a_model_costs_what_it_did(ingest, write):
    write(transcript_of("claude-opus-4-5", "glm-5"))
    ingest()
    before = fetch_all("SELECT * FROM api_calls ORDER BY key")
    update({"claude-opus-4-5": CHEAP, "glm-5": CHEAP}, since=ALWAYS)
    update({"claude-opus-4-5": DEAR}, since="2026-03-01")
    foreseen = remove_prices(["claude-opus-4-5", "glm-5"], is_dry_run=True)
    assert len(rows()) == 3
    removal = remove_prices(["claude-opus-4-5", "glm-5"])
    assert [(row.model, row.valid_from) for row in removal.removed] == [
        ("claude-opus-4-5", ALWAYS), ("claude-opus-4-5", "2026-03-01"), ("glm-5", ALWAYS),
    ]  # fmt: skip
    assert removal == foreseen
    assert removal.repriced.changed_calls == 2
    assert rows() == []
    assert fetch_all("SELECT * FROM api_calls ORDER BY key") == before
    assert is_all_priced()


def test_prices_of_other_models_stay():
    update({"claude-opus-4-5": CHEAP, "glm-5": CHEAP})
    remove_prices(["claude-opus-4-5"])
    assert rows() == [("glm-5", ALWAYS, 1)]
    book = read_book()
    opus, glm = book.find("claude-opus-4-5", TODAY), book.find("glm-5", TODAY)
    assert opus and opus.price == OPUS
    assert glm and glm.price == CHEAP
    remove_prices(None)
    assert rows() == []


def test_a_name_without_an_own_price_removes_nothing():
    update({"claude-opus-4-5": CHEAP})
    with pytest.raises(NoOwnPrice) as caught:
        remove_prices([DATED, "claude-opus-4-5", "gl\x1bm"])
    assert caught.value.models == (DATED, "gl\x1bm")
    assert "\x1b" not in str(caught.value)
    assert len(rows()) == 1
