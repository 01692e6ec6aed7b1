"""Trees on top of a utility: they find what no sum can say, keep out where there is nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from builder.signals import ranker as module
from builder.signals.features import FEATURES, OF_OFFER
from builder.signals.lessons import Lessons
from builder.signals.orders import DAY_US
from builder.signals.personal import score_partition
from builder.signals.personal_model import PersonalModel, read_model, write_model
from builder.signals.ranker import RankerSettings, fit_ranker, half_of, ranked_lift
from builder.split import Cut
from tests.builder.signal_shops import MEMORY_BYTES, Line, learn, write_shop

pytest.importorskip("lightgbm")

N_CASES, N_ROWS = 1200, 6
SEEN = FEATURES.index("frequency")
SEEN_TOO = FEATURES.index("recency")
SETTINGS = RankerSettings(rounds=20, learning_rate=0.3, leaves=4, least_rows=20, feature_share=1.0)


def lessons(*, planted: bool, columns: tuple[int, int] = (SEEN, SEEN_TOO)) -> Lessons:
    """Of six candidates the one is taken whose two features agree, or with nothing planted any.

    Neither feature says anything without the other, so the logit's utility is the same for all.
    """
    random = np.random.default_rng(5)
    features = np.zeros((N_CASES * N_ROWS, len(FEATURES)), dtype=np.float32)
    chosen = random.integers(0, N_ROWS, N_CASES)
    is_chosen = (np.arange(N_ROWS) == chosen[:, None]).ravel()
    sign = random.choice([-1.0, 1.0], len(features))
    agrees = is_chosen if planted else random.random(len(features)) < 1 / N_ROWS
    features[:, columns[0]] = sign
    features[:, columns[1]] = np.where(agrees, sign, -sign)
    return Lessons(
        features=features,
        taken=is_chosen,
        is_own=is_chosen,
        starts=np.arange(N_CASES) * N_ROWS,
        customer=random.integers(0, 2**63, N_CASES).astype(np.uint64),
    )


def test_trees_find_what_no_sum_can_say() -> None:
    """Both halves learn it: each case's taken candidate is lifted highest, by either's trees."""
    cases = lessons(planted=True)
    utility = np.zeros(len(cases.taken))
    found = fit_ranker(cases, utility, SETTINGS)
    assert found is not None
    assert found.gain > 10 * found.gain_error

    for halves in (None, half_of(cases.customer)[cases.case]):
        lift = ranked_lift(found, cases.features, utility, cases.starts, halves)
        assert (
            lift.reshape(N_CASES, N_ROWS).argmax(axis=1) == np.flatnonzero(cases.taken) % 6
        ).all()


def test_contenders_together_stay_as_likely() -> None:
    """Whatever trees add, the sum of exp(utility) of each case is what it was."""
    cases = lessons(planted=True)
    utility = np.random.default_rng(1).normal(size=len(cases.taken))
    found = fit_ranker(cases, utility, SETTINGS)
    assert found is not None
    lift = ranked_lift(found, cases.features, utility, cases.starts, None)

    assert np.abs(lift).max() > 0.1
    before, after = (
        np.exp(values).reshape(N_CASES, N_ROWS).sum(axis=1) for values in (utility, utility + lift)
    )
    assert after == pytest.approx(before)


def test_where_nothing_is_to_be_found_there_are_no_trees() -> None:
    """What they fit in one half does not hold in the other."""
    cases = lessons(planted=False)

    assert fit_ranker(cases, np.zeros(len(cases.taken)), SETTINGS) is None


def test_what_tells_offers_apart_is_not_seen() -> None:
    """The same agreement in two features of offers is of no use."""
    columns = tuple(FEATURES.index(name) for name in ("prior", "trend"))
    assert {"prior", "trend"} <= OF_OFFER
    cases = lessons(planted=True, columns=(columns[0], columns[1]))

    assert fit_ranker(cases, np.zeros(len(cases.taken)), SETTINGS) is None


def test_few_cases_or_no_rounds_or_no_library_are_no_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    """And what could have been found is left to the logit."""
    cases = lessons(planted=True)
    utility = np.zeros(len(cases.taken))
    few = np.repeat(np.arange(N_CASES) < module.LEAST_CASES - 1, N_ROWS)
    part = cases.only(few)

    assert fit_ranker(part, utility[few], SETTINGS) is None
    assert fit_ranker(cases, utility, RankerSettings(rounds=0)) is None
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    assert fit_ranker(cases, utility, SETTINGS) is None


def test_the_same_lessons_grow_the_same_trees() -> None:
    """To the last character."""
    cases = lessons(planted=True)
    utility = np.zeros(len(cases.taken))

    assert fit_ranker(cases, utility, SETTINGS) == fit_ranker(cases, utility, SETTINGS)


def test_crossed_customers_are_told_by_the_other_half() -> None:
    """Half 0 by the trees of half 1, half 1 by those of half 0; the mean of both otherwise."""
    cases = lessons(planted=True)
    utility = np.zeros(len(cases.taken))
    found = fit_ranker(cases, utility, SETTINGS)
    assert found is not None
    one = np.zeros(len(utility), dtype=np.int64)
    swapped = module.Ranker(
        halves=(found.halves[1], found.halves[0]), gain=found.gain, gain_error=found.gain_error
    )
    arguments = (cases.features, utility, cases.starts)

    told = ranked_lift(found, *arguments, one)
    assert told.tolist() == ranked_lift(swapped, *arguments, one + 1).tolist()
    assert told.tolist() != ranked_lift(found, *arguments, one + 1).tolist()


def test_rows_hold_what_trees_add_but_for_thin_customers(tmp_path: Path) -> None:
    """Of two customers with the same habits the one of two orders is told by the logit alone."""
    lines = [
        Line(customer=customer, order=10 * customer + visit, item=item, day=90 + visit)
        for customer, n_orders in ((1, 2), (2, 6))
        for visit in range(n_orders)
        for item in ((0, 1) if visit % 2 else (0, 2))
    ]
    shop = write_shop(tmp_path / "shop", lines, n_items=5)
    cut = Cut(until_us=100 * DAY_US, holdout_share=0.0)
    learned = learn(shop, tmp_path / "work", cut)
    cases = lessons(planted=True)
    ranker = fit_ranker(cases, np.zeros(len(cases.taken)), SETTINGS)
    assert ranker is not None
    model = PersonalModel(ranker=ranker)
    write_model(model, tmp_path / "model.json")
    assert read_model(tmp_path / "model.json") == model
    plain, told = (
        list(
            score_partition(
                shop.partitions[0], shop.vocabulary, cut, used, learned.globals_dir, MEMORY_BYTES
            )
        )
        for used in (PersonalModel(), model)
    )

    assert [row.n_orders for row in told] == [2, 6]
    assert told[0].values.tolist() == plain[0].values.tolist()
    assert told[1].values.tolist() != plain[1].values.tolist()
    assert np.isfinite(told[1].values).all()
