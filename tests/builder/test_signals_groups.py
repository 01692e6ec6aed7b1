"""What orders say of categories, worked by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from builder.signals.candidates import Candidates
from builder.signals.groups import affinity_column, group_columns
from builder.signals.histories import Histories
from builder.signals.rows import open_array
from tests.builder.signal_shops import Line, learn, write_shop

HISTORY = Histories(
    key_hi=np.array([1], dtype=np.uint64),
    key_lo=np.array([1], dtype=np.uint64),
    last_us=np.array([0]),
    order_starts=np.array([0, 3]),
    order_age_days=np.array([2.0, 14.0, 28.0]),
    entry_starts=np.array([0, 2]),
    entry_offer=np.array([0, 1]),
    use_starts=np.array([0, 2, 3]),
    use_order=np.array([0, 2, 1]),
)
"""One customer: offer 0 two and 28 days ago, offer 1 in the order between."""

ALL = Candidates(
    starts=np.array([0, 4]), offer=np.array([0, 1, 2, 3]), entry=np.array([0, 1, -1, -1])
)


def columns(numbers: list[int]) -> list[list[float]]:
    """The five columns of offers 0 to 3; the shop's usual time between orders is two days."""
    return [
        column.tolist()
        for column in group_columns(HISTORY, ALL, np.array(numbers), order_gap_days=2.0)
    ]


def test_orders_of_a_category_are_counted_once_each() -> None:
    """Offers 0, 1 and 2 are of one category, which all three orders held, the newest 1 gap ago.

    Offer 3 is of a category that the customer never bought anything of.
    """
    frequency, decayed, recency, own, due = columns([0, 0, 0, 1])
    assert frequency == pytest.approx([np.log(3.1 / 4)] * 3 + [np.log(0.1 / 4)])
    weight = 2 ** (-1 / 7) + 2 ** (-7 / 7) + 2 ** (-14 / 7)
    assert decayed == pytest.approx([np.log(weight + 0.1)] * 3 + [np.log(0.1)])
    assert recency == pytest.approx([np.log(2)] * 3 + [np.log(61)])
    assert own == pytest.approx([np.log(2.2 / 4), np.log(1.2 / 4), np.log(0.2 / 4), np.log(0.2)])
    usual = (14 - 1 + 5) / 3
    assert due == pytest.approx([np.log(1 / usual + 0.05)] * 3 + [np.log(1.05)])


def test_an_offer_without_a_category_is_told_nothing() -> None:
    """Neither where others have one, nor where nobody has."""
    assert [column[3] for column in columns([0, 0, 0, -1])] == [0.0] * 5
    assert columns([-1, -1, -1, -1]) == [[0.0] * 4] * 5


def test_affinity_is_a_ratio_of_shares() -> None:
    """Two of three uses are of a group that has a fifth of the shop's; five more are as expected.

    Offer 3 is of no group, and is told nothing.
    """
    share = np.array([0.1, 0.4, 0.0, 0.5])
    column = affinity_column(HISTORY, ALL, np.array([0, 1, 0, -1]), share)
    liked, disliked = (2 + 5 * 0.2) / 8 / 0.2, (1 + 5 * 0.8) / 8 / 0.8
    assert column == pytest.approx([np.log(liked), np.log(disliked), np.log(liked), 0.0])


def test_affinity_without_groups_or_history_is_none() -> None:
    """Where the shop files nothing, nothing is told."""
    assert affinity_column(HISTORY, ALL, np.full(4, -1), np.ones(4)).tolist() == [0.0] * 4


def test_offers_share_categories_brands_and_price_bands(tmp_path: Path) -> None:
    """Brands are alike whatever their case; a band is a third of one category's prices."""
    shop = write_shop(
        tmp_path / "shop",
        [Line(customer=1, order=1, item=0, day=1)],
        n_items=6,
        categories=["a > b", "a > b", "a > b", "a > b", "a", None],
        prices=[100, 100, 500, 900, 100, None],
        brands=["Own", "own", "Other", None, None, None],
    )
    globals_dir = learn(shop, tmp_path / "work").globals_dir
    deepest, parent, brand, band = open_array(globals_dir / "offer_groups.npy").tolist()

    assert [number == deepest[0] for number in deepest] == [True] * 4 + [False] * 2
    assert parent == [deepest[4]] * 4 + [-1, -1]
    assert brand[0] == brand[1] != brand[2] > -1
    assert brand[3:] == [-1] * 3
    assert (band[0], band[2]) == (band[1], band[3])
    assert len({band[0], band[2], band[4]}) == 3
    assert (deepest[5], band[5]) == (-1, -1)
