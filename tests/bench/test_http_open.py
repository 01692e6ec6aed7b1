"""Services at one rate: figures are what paper says, and a driver that was late says nothing."""

from __future__ import annotations

import numpy as np
import pytest

from bench.http_open import NO_ANSWER, open_figures, open_rows, open_samples, so_many
from bench.load.driver import TIMED_OUT
from tests.bench.turns import open_turn


def test_rounds_are_one_row() -> None:
    fast, slow = open_turn("edge uvicorn", wait_us=100), open_turn("edge uvicorn", wait_us=300)

    (row,) = open_figures([fast, slow]).values()

    assert (row["requests"], row["errors"], row["rate"]) == (2002, 0, 1000.0)
    assert (row["p50_us"], row["p99_us"], row["max_us"]) == (100.0, 300.0, 300.0)
    assert row["p99.9_us"] is None  # two requests of two thousand are chance
    assert row["cpu_us"] == 50.0


def test_who_is_refused_has_no_wait_but_is_counted() -> None:
    turn = open_turn("edge uvicorn", wait_us=100, n=3, statuses=[200, 503, TIMED_OUT])

    assert open_figures([turn])["edge uvicorn"]["errors"] == 2
    assert open_samples([turn])["edge uvicorn open"].tolist() == [100_000, NO_ANSWER, 100_000]
    assert open_samples([turn])["edge uvicorn open lag"].tolist() == [0, 0, 0]


def test_a_late_driver_tells_no_waits() -> None:
    kept, late = (open_turn("edge uvicorn", wait_us=100, n_late=n) for n in (10, 11))

    assert open_figures([kept])["edge uvicorn"]["p50_us"] == 100.0
    row = open_figures([late])["edge uvicorn"]
    assert (row["is_trusted"], row["p50_us"], row["requests"]) == (False, None, 1001)
    assert open_rows({"edge uvicorn": row})[1][3] == "the driver was late"


def test_nobody_answered_is_told_last() -> None:
    rows = open_rows(
        open_figures(
            [
                open_turn("dead uvicorn", wait_us=1, statuses=[503] * 1001),
                open_turn("slow uvicorn", wait_us=900),
                open_turn("fast uvicorn", wait_us=30),
            ]
        )
    )

    assert [row[0] for row in rows[1:]] == ["fast, uvicorn", "slow, uvicorn", "dead, uvicorn"]
    assert rows[3][3:] == ["– / – / – / –", "1001"]


@pytest.mark.parametrize("rate", [50.0, 4000.0])
def test_moments_are_as_many_as_asked_and_fill_their_time(rate: float) -> None:
    due_ns = so_many(rate, 2000, seed=1).due_ns

    assert len(due_ns) == 2000
    assert (np.diff(due_ns) >= 0).all()
    # Of a Poisson process gaps are as far apart as they are long.
    gaps = np.diff(due_ns) / 1e9
    assert gaps.mean() == pytest.approx(1 / rate, rel=0.05)
    assert gaps.std() == pytest.approx(1 / rate, rel=0.1)
    assert (so_many(rate, 2000, seed=2).due_ns != due_ns).any()
