"""What load tells of a server that answers little or nothing."""

import pytest

from tests.bench.load import LoadResult, combine_loads, count_unanswered, run_load


def _make_result(*, connections: int, requests: int, errors: int = 0) -> LoadResult:
    return LoadResult("wrk", connections, 2.0, requests, requests / 2, 1, 2, 3, 4, errors)


def test_silent_server_does_not_look_perfect() -> None:
    result = count_unanswered(_make_result(connections=50, requests=0))
    assert result.unanswered == 50
    assert result.p99_ms == 2_000


def test_answered_connections_are_left_as_they_are() -> None:
    result = _make_result(connections=50, requests=50)
    assert count_unanswered(result) is result


def test_errors_are_not_counted_a_second_time_as_unanswered() -> None:
    assert count_unanswered(_make_result(connections=50, requests=30, errors=20)).unanswered == 0


def test_turns_keep_what_went_unanswered_in_one_of_them() -> None:
    silent = count_unanswered(_make_result(connections=50, requests=0))
    busy = _make_result(connections=50, requests=900)
    combined = combine_loads([busy, silent, busy])
    assert combined.unanswered == 50
    assert combined.requests_per_second == 450


def test_load_beyond_the_loopback_interface_is_refused() -> None:
    with pytest.raises(ValueError, match="loopback"):
        run_load("http://192.0.2.1/", connections=1, seconds=1)
