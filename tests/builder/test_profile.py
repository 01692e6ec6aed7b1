"""What kind of shop it is, counted by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from builder.profile import orders_between, shop_profile
from builder.report import ShopProfile
from builder.signals.orders import DAY_US
from builder.split import HELD_OUT_UNITS
from tests.builder.signal_shops import MEMORY_BYTES, Line, Shop, key_lo, write_shop

LINES = [
    # Customer 1 bought item 0 in all of three orders, twice in one of them; item 1 once.
    Line(customer=1, order=1, item=0, day=1),
    Line(customer=1, order=1, item=0, day=1),
    Line(customer=1, order=1, item=1, day=1),
    Line(customer=1, order=2, item=0, day=2),
    Line(customer=1, order=3, item=0, day=3),
    # Customer 2 came once; two guests came, one with two items.
    Line(customer=2, order=4, item=2, day=4),
    Line(customer=0, order=5, item=0, day=5),
    Line(customer=0, order=6, item=0, day=6),
    Line(customer=0, order=6, item=1, day=6),
    # Views are no orders.
    Line(customer=3, order=7, item=0, day=7, kind=1),
]


def profile(shop: Shop, folder: Path, *, by_lot: bool = False) -> ShopProfile:
    """The profile of a shop with six days between first and last."""
    return shop_profile(
        [path for part in shop.partitions for path in part.event_paths],
        target_kind=0,
        n_items=3,
        n_offers=4,
        span_us=6 * DAY_US,
        by_lot=by_lot,
        memory_bytes=MEMORY_BYTES,
        temp_dir=folder,
    )


@pytest.mark.parametrize("partition_of", [None, [0, 0, 0, 0, 0, 1, 1, 1, 1, 0]])
def test_a_shop_is_counted_as_by_hand(tmp_path: Path, partition_of: list[int] | None) -> None:
    shop = write_shop(tmp_path / "shop", LINES, n_items=3, partition_of=partition_of)

    assert profile(shop, tmp_path) == ShopProfile(
        n_customers=2,
        n_orders=6,
        n_lines=9,
        n_items=3,
        n_offers=4,
        # Of the five times that somebody known bought an item in an order, two repeat one.
        repeat_share=2 / 5,
        orders_per_customer=1.0,
        items_per_order=8 / 6,
        basket_share=2 / 6,
        guest_share=2 / 6,
        session_share=0.0,
        history_days=6.0,
        times="days only",
    )


def test_a_shop_without_orders_has_no_shares(tmp_path: Path) -> None:
    shop = write_shop(tmp_path / "shop", LINES[-1:], n_items=3)
    found = profile(shop, tmp_path)

    assert (found.n_customers, found.n_orders, found.n_lines) == (0, 0, 0)
    shares = (found.repeat_share, found.items_per_order, found.guest_share)
    assert (*shares, found.orders_per_customer) == (None,) * 4


@pytest.mark.parametrize(
    ("day", "by_lot", "times"),
    [(1.0, False, "days only"), (1.001, False, "to the second"), (1.001, True, "none")],
)
def test_how_exactly_times_are_told_is_seen(
    tmp_path: Path, day: float, times: str, *, by_lot: bool
) -> None:
    lines = [*LINES, Line(customer=4, order=8, item=0, day=day)]
    found = profile(write_shop(tmp_path / "shop", lines, n_items=3), tmp_path, by_lot=by_lot)

    assert found.times == times


def test_orders_are_counted_from_a_moment_until_another(tmp_path: Path) -> None:
    shop = write_shop(tmp_path / "shop", LINES, n_items=3, partition_of=[0] * 5 + [1] * 5)
    paths = [path for part in shop.partitions for path in part.event_paths]

    def between(first: int, stop: int, holdout_share: float = 0.0, kind: int = 0) -> int:
        return orders_between(
            paths,
            kind,
            first * DAY_US,
            stop * DAY_US,
            holdout_share=holdout_share,
            memory_bytes=MEMORY_BYTES,
            temp_dir=tmp_path,
        )

    assert between(0, 100) == 6
    assert between(2, 4) == 2
    assert between(7, 100) == 0
    assert between(0, 100, kind=1) == 1
    assert key_lo(1) % HELD_OUT_UNITS >= 5000
    assert key_lo(2) % HELD_OUT_UNITS >= 5000
    # Guests are held out by their orders: 5 and 6 are far below a half of ten thousand.
    assert between(0, 100, holdout_share=0.5) == 4
