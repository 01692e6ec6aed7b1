"""The gate fails on what is surely worse, and only on that."""

from __future__ import annotations

import numpy as np
import pytest

from builder import comparison, gate
from builder.comparison import SliceResult
from builder.metrics import Floats

HIT = np.array([1])
MISS = np.array([0])


def result(
    slice_name: str, ours: Floats, base: Floats, *, question: str = "next_order"
) -> SliceResult:
    """A slice where each method either hits with its only offer or does not."""
    return comparison.compare(
        question=question,
        slice_name=slice_name,
        ranked={
            "default": np.where(base[:, None] > 0, HIT, MISS),
            "almanac": np.where(ours[:, None] > 0, HIT, MISS),
        },
        truth=[HIT] * len(ours),
        customers=np.arange(len(ours)),
        n_offers=2,
        k=1,
        seed=1,
    )


def share(hits: int, n: int) -> Floats:
    return (np.arange(n) < hits).astype(np.float64)


GOOD_COLD = result("cold_with_cart", share(40, 100), share(20, 100), question="post_purchase")


def test_better_tables_pass() -> None:
    verdict = gate.judge([result("warm", share(50, 100), share(20, 100)), GOOD_COLD])

    assert verdict.passed
    assert verdict.reasons == ()
    assert [check.outcome for check in verdict.checks] == ["better", "better"]


def test_no_difference_passes_and_is_said() -> None:
    verdict = gate.judge([result("warm", share(20, 100), share(20, 100)), GOOD_COLD])

    assert verdict.passed
    assert verdict.checks[0].outcome == "no difference"
    assert "not different from default" in verdict.checks[0].sentence


@pytest.mark.parametrize("slice_name", gate.GATED_SLICES)
def test_worse_tables_fail_with_the_figures(slice_name: str) -> None:
    verdict = gate.judge([result(slice_name, share(20, 100), share(50, 100))])

    assert not verdict.passed
    (reason,) = verdict.reasons
    assert comparison.SLICE_TITLES[slice_name].lower() in reason
    assert "worse than default, -0.3000" in reason
    assert "100 examples" in reason


def test_an_ungated_slice_cannot_fail() -> None:
    verdict = gate.judge([result("thin", share(0, 100), share(100, 100))])

    assert verdict.passed


@pytest.mark.parametrize("n", [0, gate.MIN_CUSTOMERS - 1])
def test_too_few_customers_are_said_not_failed(n: int) -> None:
    verdict = gate.judge([result("warm", share(0, n), share(n, n)), GOOD_COLD])

    assert verdict.passed
    assert verdict.checks[0].outcome == "not measured"
    assert f"{n} customers, at least {gate.MIN_CUSTOMERS} are needed" in verdict.checks[0].sentence


def test_enough_customers_do_fail() -> None:
    n = gate.MIN_CUSTOMERS

    assert not gate.judge([result("warm", share(0, n), share(n, n))]).passed


def test_a_missing_slice_is_said() -> None:
    sentences = [check.sentence for check in gate.judge([]).checks]

    assert sentences == [
        "Warm customers: not measured: no examples",
        "Cold, with a cart: not measured: no examples",
    ]


def test_a_slice_without_default_is_said() -> None:
    alone = comparison.compare(
        question="next_order",
        slice_name="warm",
        ranked={"almanac": np.tile(HIT, (40, 1))},
        truth=[HIT] * 40,
        customers=np.arange(40),
        n_offers=2,
        k=1,
        seed=1,
    )

    check = gate.judge([alone]).checks[0]

    assert check.sentence == (
        "Next order, warm customers: not measured: both almanac and default are needed"
    )
