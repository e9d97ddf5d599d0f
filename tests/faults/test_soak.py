"""The judgement of ``python -m tests.soak``, and that it runs; ten minutes of it are for people."""

from __future__ import annotations

import subprocess
import sys

from tests.processes import ROOT
from tests.soak import judge, second_half, slope_of


def grow(*, first: float, second: float, noise: float = 0.0) -> list[tuple[float, float]]:
    """Return samples of ten minutes, a second apart, that grow by so many KiB a minute."""
    samples, kib = [], 50_000.0
    for second_passed in range(600):
        kib += (first if second_passed < 300 else second) / 60
        samples.append((float(second_passed), kib + noise * (-1) ** second_passed))
    return samples


def test_a_slope_is_in_kib_a_minute():
    assert round(slope_of(grow(first=60, second=60))) == 60
    assert slope_of([(1.0, 5.0), (1.0, 9.0)]) == 0
    assert second_half([(0.0, 1.0), (10.0, 2.0), (19.0, 3.0)]) == [(10.0, 2.0), (19.0, 3.0)]


def test_caches_may_fill_and_memory_may_tremble():
    assert judge({"serve 1": grow(first=20_000, second=10, noise=900)}, bound=100) == []


def test_what_goes_on_growing_is_told_by_name():
    samples = {"serve 1": grow(first=0, second=0), "watch 2": grow(first=0, second=300, noise=900)}
    [wrong] = judge(samples, bound=100)
    assert wrong.startswith("watch 2 grows by 30") or wrong.startswith("watch 2 grows by 29")


def test_a_process_that_came_late_is_told():
    samples = {"serve 1": grow(first=0, second=0), "serve 9": [(599.0, 50_000.0)]}
    assert judge(samples, bound=100) == ["serve 9 was seen 1 times only: it was started anew"]


def test_it_runs():
    command = [sys.executable, "-m", "tests.soak", "--minutes", "0.3", "--bound", "1e9"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    last = ended.stdout.splitlines()[-1]
    assert all(what in last for what in ("reads", "writes", "searches", "reports", "events"))
