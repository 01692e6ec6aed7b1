"""What strangers are shown, where the truth is known: nearly all there is to gain from context.

The attainable lift is that of ranking by the true chances over ranking by popularity.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from builder.intake import Inputs
from index.decide import decide
from index.generation import Generation
from index.snapshot import open_snapshot
from tests.builder.files import SECRET, settings
from tests.builder.moment_shop import K, Moments, Plan, best, make_shop, worth, write_events
from tests.builder.nights import build_inputs

# Source agrees with channel nine times in ten; the tables know hours but no parts of the day; and
# eight further columns say nothing: a constant, blanks, prices, ids, names of thousands of values.
PLAN = Plan(n_items=40, channel=0.8, source=0.4, daypart=0.6, wide=8, days=60)
N_ORDERS = 12_000


def lists(generation: Generation, moments: Moments) -> np.ndarray:
    """What `decide` answers, as offer rows."""
    found = np.full((len(moments), K), -1)
    for place in range(len(moments)):
        rows = [offer.offer_row for offer in decide(generation, moments.request(place)).offers]
        found[place, : len(rows)] = rows
    return found


@pytest.mark.slow
def test_context_gains_most_of_what_can_be_gained(tmp_path: Path) -> None:
    """Recall and NDCG of one more item, by its true chance: no luck of orders in it."""
    shop = make_shop(PLAN)
    events = write_events(tmp_path / "events.parquet", shop, N_ORDERS, seed=1)
    config = settings(learn__effort="quick")
    build_inputs(tmp_path, Inputs(events=(events,)), config)
    asked = shop.moments(1000, seed=99)
    chances = shop.chances(asked)
    popular = np.argsort(-shop.chances(shop.moments(20_000, seed=5)).mean(axis=0), kind="stable")

    with open_snapshot(tmp_path / "snapshot", SECRET) as generation:
        ours = worth(lists(generation, asked), chances)
        features = {feature.name for feature in generation.model.features}
    least = worth(np.tile(popular[:K], (len(asked), 1)), chances)
    most = worth(best(chances), chances)

    for mine, low, high in zip(ours, least, most, strict=True):
        assert high > 1.2 * low
        assert (mine - low) / (high - low) >= 0.9
    assert features == {"channel", "source", "hour_of_week"}


def test_the_best_lists_are_worth_most() -> None:
    """The same offers in another order hold as much, but not as high up."""
    moments = make_shop(PLAN).moments(50, seed=3)
    chances = make_shop(PLAN).chances(moments)
    shuffled = np.random.default_rng(4).permuted(best(chances), axis=1)

    assert worth(best(chances), chances)[0] == pytest.approx(worth(shuffled, chances)[0])
    assert worth(best(chances), chances)[1] > worth(shuffled, chances)[1]
    assert worth(best(chances), chances)[0] < 1.0
