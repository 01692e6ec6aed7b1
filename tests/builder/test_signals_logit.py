"""The conditional logit: what was planted comes back, and nothing blows up."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builder.signals.features import FEATURES
from builder.signals.lessons import Lessons
from builder.signals.logit import fit_logit, fit_logit_parts


def test_planted_weights_come_back() -> None:
    """Choices drawn from the model itself, 20,000 of them among five candidates."""
    rng = np.random.default_rng(11)
    truth = np.array([1.0, -0.5, 0.0])
    features = rng.standard_normal((100_000, 3)).astype(np.float32)
    noisy = features @ truth + rng.gumbel(size=100_000)
    starts = np.arange(0, 100_000, 5)
    taken = np.zeros(100_000, dtype=bool)
    taken[starts + noisy.reshape(-1, 5).argmax(axis=1)] = True
    weights, loss = fit_logit(features, taken, starts, start=np.zeros(3), ridge=1.0)

    assert weights == pytest.approx(truth, abs=0.03)
    assert loss < np.log(5)


def test_one_case_on_paper() -> None:
    """One of two taken, feature 1 and 0: the ridge stops at w = 1 / (1 + e^w) / ridge."""
    features = np.array([[1.0], [0.0]], dtype=np.float32)
    weights, loss = fit_logit(
        features, np.array([True, False]), np.array([0]), start=np.zeros(1), ridge=0.5
    )

    assert weights[0] == pytest.approx(1 / (1 + np.exp(weights[0])) / 0.5, abs=1e-5)
    assert loss == pytest.approx(np.log1p(np.exp(-weights[0])), abs=1e-9)


def test_without_evidence_weights_stay_where_they_start() -> None:
    """All candidates alike, or none taken."""
    start = np.array([0.3, -2.0])
    same = np.ones((4, 2), dtype=np.float32)
    for taken in ([True, False, False, True], [False] * 4):
        weights, _ = fit_logit(same, np.array(taken), np.array([0, 2]), start=start, ridge=1.0)
        assert weights == pytest.approx(start, abs=1e-9)


@settings(deadline=None, max_examples=40)
@given(
    st.lists(
        st.tuples(st.floats(-1e4, 1e4, width=32), st.floats(-1, 1, width=32), st.booleans()),
        min_size=2,
        max_size=20,
    ),
    st.integers(1, 5),
)
def test_any_numbers_give_finite_weights(rows: list[tuple[float, float, bool]], size: int) -> None:
    """Separable, constant or huge features; cases with none or all taken."""
    features = np.array([[a, b] for a, b, _ in rows], dtype=np.float32)
    weights, loss = fit_logit(
        features,
        np.array([taken for _, _, taken in rows]),
        np.arange(0, len(rows), size),
        start=np.zeros(2),
        ridge=1.0,
    )

    assert np.isfinite(weights).all()
    assert np.isfinite(loss)


def test_cases_in_parts_are_the_cases() -> None:
    """Of any size: more rows than are looked at together, a single case, none at all."""
    rng = np.random.default_rng(3)
    sizes = rng.integers(1, 40, 500)
    starts = np.cumsum(sizes) - sizes
    whole = Lessons(
        features=rng.standard_normal((sizes.sum(), len(FEATURES))).astype(np.float32),
        taken=rng.random(sizes.sum()) < 0.1,
        is_own=np.zeros(sizes.sum(), dtype=np.bool_),
        starts=starts,
        customer=np.arange(500, dtype=np.uint64),
    )
    parts = [
        whole.only((first <= whole.case) & (whole.case < stop))
        for first, stop in ((0, 400), (400, 401), (401, 401), (401, 500))
    ]
    start = np.full(len(FEATURES), 0.1)
    weights, loss = fit_logit(whole.features, whole.taken, starts, start=start, ridge=1.0)
    weights_of_parts, loss_of_parts = fit_logit_parts(parts, start=start, ridge=1.0)

    assert len(whole.taken) > 2 * 4096
    assert weights_of_parts == pytest.approx(weights, rel=1e-9)
    assert loss_of_parts == pytest.approx(loss, rel=1e-12)
    assert np.abs(weights - start).max() > 0.01
