"""What counts as a change between two runs, and what as noise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.bench.compare import SPEED, compare, main
from tests.bench.figures import Figure, Target, make_figure


def report(*figures: Figure, speed: float = 500) -> dict[str, Any]:
    """Return a report of figures, of a machine that parses so many megabytes a second."""
    same: dict[str, Any] = {"machine": {}, "versions": {}, "sizes": {}}
    shown = [Figure(SPEED, speed, "MB/s"), *figures]
    return {**same, "figures": [figure.as_dict() for figure in shown]}


def rate(*values: float, floor: float | None = None) -> Figure:
    return make_figure("list", values, "/s", floors=() if floor is None else (floor,))


def verdict(before: Figure, after: Figure, *, speeds: tuple[float, float] = (500, 500)) -> str:
    [change] = compare(report(before, speed=speeds[0]), report(after, speed=speeds[1]))
    return change.verdict


def test_fewer_answers_a_second_are_worse():
    assert verdict(rate(990, 1000, 1010), rate(690, 700, 710)) == "WORSE"
    assert verdict(rate(690, 700, 710), rate(990, 1000, 1010)) == "better"


def test_less_time_is_better():
    before, after = (make_figure("one", (n, n, n), "µs") for n in (100, 50))
    assert verdict(before, after) == "better"


def test_what_rounds_differ_by_is_noise():
    assert verdict(rate(600, 1000, 1400), rate(650, 700, 750)) == "same"


def test_a_slower_machine_is_no_change():
    assert verdict(rate(1000, 1000), rate(500, 500), speeds=(500, 250)) == "same"
    assert verdict(rate(1000, 1000), rate(500, 500)) == "WORSE"


def test_a_machine_of_another_speed_makes_what_has_no_floor_uncertain():
    assert verdict(rate(1000, 1000), rate(800, 800)) == "WORSE"
    assert verdict(rate(1000, 1000), rate(800, 800), speeds=(500, 1000)) == "WORSE"
    assert verdict(rate(1000, 1000), rate(1500, 1500), speeds=(500, 1000)) == "same"


def test_with_a_floor_the_ratio_counts():
    assert verdict(rate(1000, 1000, floor=4000), rate(500, 500, floor=2000)) == "same"
    slower = rate(500, 500, floor=4000)
    assert verdict(rate(1000, 1000, floor=4000), slower) == "WORSE"


def test_a_floor_that_wavers_makes_its_figures_uncertain():
    before, after = rate(1000, 1000, floor=4000), rate(1000, 1000, floor=6000)
    [change] = compare(report(before), report(after))
    assert change.noise == pytest.approx(0.25)


def test_a_count_that_must_equal_has_no_noise():
    exact = Target(at_least=1, at_most=1, of_ratio=True)
    before, after = (Figure("tokens", n, "", floor=1000, target=exact) for n in (1000, 1001))
    [change] = compare(report(before), report(after))
    assert (change.verdict, change.met) == ("OTHER", (True, False))


def test_the_command_tells_whether_something_is_worse(tmp_path: Path, capsys):
    paths = []
    for name, value in (("a", 1000.0), ("b", 500.0)):
        path = tmp_path / f"{name}.json"
        path.write_bytes(orjson.dumps(report(rate(value, value))))
        paths.append(str(path))
    assert main(paths) == 1
    assert "WORSE" in capsys.readouterr().out
    assert main([paths[0], paths[0]]) == 0
    assert main([paths[0], str(tmp_path / "none.json")]) == 2
    assert "no reports of the bench" in capsys.readouterr().err
