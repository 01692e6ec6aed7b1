"""The cheap ranking against sorting everything."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from index.rank import Candidates, best_first

UTILITIES = st.sampled_from([-math.inf, math.nan, -2.5, 0.0, 0.25, 1.0, 3.0, 7.5])


@st.composite
def candidates(draw: st.DrawFn) -> Candidates:
    """Rows named by up to five signals, each naming an offer at most once."""
    score = draw(st.lists(UTILITIES, min_size=1, max_size=60))
    offers = st.integers(0, len(score) - 1)
    parts = draw(st.lists(st.lists(offers, unique=True), min_size=1, max_size=5))
    rows = np.array([row for part in parts for row in part], dtype=np.intp)
    scores = np.array(score, dtype=np.float32).take(rows)
    return Candidates(rows, scores, len(parts[0]), len(parts))


@given(candidates(), st.integers(1, 40))
def test_every_offer_comes_once_best_first(found: Candidates, first: int) -> None:
    by_row = dict(zip(found.rows.tolist(), found.scores.tolist(), strict=True))
    wanted = sorted((-score, row) for row, score in by_row.items() if score > -math.inf)
    assert list(best_first(found, found.scores, first)) == [(row, -score) for score, row in wanted]


@given(candidates(), st.integers(1, 40))
def test_what_ranks_may_differ_from_what_is_told(found: Candidates, first: int) -> None:
    utility = -found.scores
    by_row = {
        row: (worth, score)
        for row, worth, score in zip(
            found.rows.tolist(), utility.tolist(), found.scores.tolist(), strict=True
        )
    }
    wanted = sorted((-worth, row) for row, (worth, _) in by_row.items() if worth > -math.inf)
    ranked = list(best_first(found, utility, first))
    assert ranked == [(row, by_row[row][1]) for _, row in wanted]
