"""Shown less, as the brand says in its settings: built, served, and measured like `allow`."""

from __future__ import annotations

from pathlib import Path

import pytest

from builder.ablation import signals_of
from builder.cases import NEXT_ORDER
from builder.evaluate import measure
from builder.history import Past
from index.decide import decide
from index.model import TIERS
from index.request import RepeatPolicy, Request
from index.snapshot import open_snapshot
from tests.builder.files import SECRET, settings
from tests.builder.nights import build_here
from tests.builder.small_history import history
from tests.builder.toy_cases import next_order
from tests.toys import N_OFFERS, toy_customer_key, toy_model, write_toy

# Thirty customers who buy the same two of ten things again and again.
LINES = [
    {
        "ts": str(1_740_000_000_000_000 + order * 3_600_000_000),
        "customer_id": f"c{order % 30}",
        "order_id": f"o{order}",
        "item_id": f"i{(order % 30 + place) % 10}",
    }
    for order in range(240)
    for place in range(2)
]


def test_settings_reach_the_odds_shown(tmp_path: Path) -> None:
    policies = {"*": 0.25, "home": "allow", "moon": "exclude"}
    build_here(tmp_path, LINES, settings(serve__repeat=policies))
    with open_snapshot(tmp_path / "snapshot", SECRET) as generation:
        assert generation.model.repeat == policies
        before, after = (
            {
                one.offer_id: one.probability
                for one in decide(generation, Request(customer_id="c4", placement=where)).offers
            }
            for where in ("home", "checkout")
        )
    taken = {"i4", "i5"}

    assert taken < after.keys()
    for offer, p in after.items():
        odds, odds_before = p / (1 - p), before[offer] / (1 - before[offer])
        assert odds / odds_before == pytest.approx(0.25 if offer in taken else 1.0, rel=1e-4)


def test_it_is_no_signal_to_take_out() -> None:
    assert "repeat" not in signals_of(toy_model(repeat={"*": 0.1}), TIERS, has_cart=True)


@pytest.mark.parametrize(
    ("policy", "recall"),
    [
        pytest.param("allow", 1.0, id="allowed"),
        pytest.param(0.001, 1.0, id="lowered"),
        pytest.param("exclude", 0.0, id="excluded"),
    ],
)
def test_baselines_may_name_what_is_merely_lowered(
    tmp_path: Path, policy: RepeatPolicy, recall: float
) -> None:
    """Here they know that `ann` took offer 5, and she takes it again."""
    write_toy(tmp_path / "snapshot", model=toy_model(repeat={"*": policy}))
    past = Past(
        history=history([(0, 1, [5])], n_customers=1, n_offers=N_OFFERS),
        customers={toy_customer_key("ann"): 0},
    )
    with open_snapshot(tmp_path / "snapshot") as generation:
        found = measure(
            generation,
            NEXT_ORDER,
            [next_order("ann", [5])],
            past,
            tuning_cases=(),
            tuning_past=past,
            methods=("default", "frequency"),
            seed=0,
        )
    recalls = {one.method: one.recall.mean.value for one in found.slices[0].methods}

    assert (recalls["default"], recalls["frequency"]) == (recall, recall)
