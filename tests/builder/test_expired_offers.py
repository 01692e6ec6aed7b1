"""Offers that can't be shown any more: nothing is learned of them, and they take no place."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from builder.cases import load_sample
from builder.history import load_past
from builder.signals.orders import DAY_US
from builder.signals.personal import score_partition
from builder.signals.personal_model import PersonalModel, PersonalSettings
from builder.split import Cut
from index.decide import decide
from index.layout import customer_key
from index.model import ANY_PLACEMENT
from index.request import Request
from index.snapshot import open_snapshot
from tests.builder.files import SECRET, Row
from tests.builder.nights import build_here
from tests.builder.signal_shops import MEMORY_BYTES, Line, Shop, fit, learn, read, write_shop

NOW = Cut(until_us=100 * DAY_US, holdout_share=0.0)
LATER_US = 130 * DAY_US
START = datetime(2025, 3, 3, 9, tzinfo=UTC)
N_WEEKS, N_ITEMS, N_EXPIRED = 12, 20, 150


def shop_of_three_coupons(folder: Path) -> Shop:
    """Item 0 is in coupons that end on days 100, 110 and never; item 1 in the first alone."""
    lines = [
        Line(customer=customer, order=10 * customer + visit, item=item, day=80 + 10 * visit)
        for customer in range(1, 9)
        for visit in range(5)
        for item in (0, 1)
    ]
    return write_shop(
        folder,
        lines,
        n_items=2,
        item_offers=[(0, 0), (0, 1), (0, 2), (1, 0)],
        expiry_days=[100, 110, None],
    )


def test_an_expired_offer_is_counted_nowhere(tmp_path: Path) -> None:
    shop = shop_of_three_coupons(tmp_path / "shop")
    learned = learn(shop, tmp_path / "work", NOW)
    [partition] = shop.partitions
    arguments = (partition, shop.vocabulary, NOW, PersonalModel(), learned.globals_dir)
    rows = list(score_partition(*arguments, MEMORY_BYTES))

    assert [row[:2] for row in read(learned.merged_dir / "offers.parquet")] == [(1, 16), (2, 16)]
    assert {row[1] for row in read(learned.merged_dir / "context_offers.parquet")} == {1, 2}
    assert [row.rows.tolist() for row in rows] == [[1, 2]] * 8
    assert [row.history.tolist() for row in rows] == [[1, 2]] * 8


def test_lessons_are_of_offers_valid_when_they_begin(tmp_path: Path) -> None:
    """Offer 1 ends before the slice does: it could still be shown, and was taken."""
    shop = shop_of_three_coupons(tmp_path / "shop")
    learned = learn(shop, tmp_path / "work", Cut(until_us=95 * DAY_US, holdout_share=0.0))

    def n_cases(until_us: int) -> int:
        cut = Cut(until_us=until_us, holdout_share=0.0)
        settings = PersonalSettings(fit_moments=1)
        return fit(shop, learned, cut, LATER_US, tmp_path, settings=settings).n_cases

    assert n_cases(95 * DAY_US) == 8
    assert n_cases(200 * DAY_US) == 0


def test_an_expired_offer_is_neither_asked_for_nor_shown_by_baselines(tmp_path: Path) -> None:
    shop = shop_of_three_coupons(tmp_path / "shop")
    orders = load_sample(
        shop.partitions,
        shop.vocabulary,
        NOW,
        LATER_US,
        target_kind=0,
        max_customers=100,
        memory_bytes=MEMORY_BYTES,
        temp_dir=tmp_path,
    )
    past = load_past(
        shop.partitions,
        shop.vocabulary,
        NOW,
        n_items=2,
        n_offers=3,
        target_kind=0,
        asked=(),
        max_others=100,
        memory_bytes=MEMORY_BYTES,
        temp_dir=tmp_path,
    )

    assert [order.own_offers for order in orders] == [((1, 2), ())] * 8
    assert past.history.popularity.tolist() == [0, 16, 16]
    assert set(past.history.offer_row.tolist()) == {-1, 1, 2}


def lines() -> list[Row]:
    """Every week two items by each of forty customers."""
    return [
        {
            "ts": (START + timedelta(weeks=week, minutes=customer)).isoformat(),
            "customer_id": f"c{customer}",
            "order_id": f"{customer}-{week}",
            "item_id": f"i{(customer + place * week) % N_ITEMS}",
        }
        for week in range(N_WEEKS)
        for customer in range(40)
        for place in range(2)
    ]


def coupon(offer_id: str, items: list[int], end: datetime) -> Row:
    """A coupon for some of the items."""
    item_ids = json.dumps([f"i{item}" for item in items])
    return {"offer_id": offer_id, "item_ids": item_ids, "expires_at": end.isoformat()}


OVER = [
    coupon(f"over-{n}", list(range(N_ITEMS)), START + timedelta(days=1)) for n in range(N_EXPIRED)
]
VALID = [coupon(f"valid-{item}", [item], START + timedelta(weeks=99)) for item in range(N_ITEMS)]


def test_expired_offers_fill_neither_rows_nor_the_prior_top(tmp_path: Path) -> None:
    """There are more of them than either has places, and every order would hold each."""
    build_here(tmp_path, lines(), offers=[*OVER, *VALID])
    valid = set(range(N_EXPIRED, N_EXPIRED + N_ITEMS))
    with open_snapshot(tmp_path / "snapshot", SECRET) as generation:
        assert set(generation.model.prior_top[ANY_PLACEMENT].tolist()) == valid
        assert np.argsort(-generation.model.prior)[0] in valid
        reader = generation.enter()
        found = [reader.customer(customer_key(SECRET, f"c{n}")) for n in range(40)]
        named = {int(row) for one in found if one is not None for row in one.rows}
        generation.leave(reader)
        assert None not in found
        assert named == valid


def test_a_shop_whose_offers_are_all_over_shows_nothing(tmp_path: Path) -> None:
    built = build_here(tmp_path, lines(), offers=OVER)

    assert built.manifest.counts["offers"] == N_EXPIRED
    with open_snapshot(tmp_path / "snapshot", SECRET) as generation:
        assert decide(generation, Request(customer_id="c0")).offers == []
        assert decide(generation, Request()).offers == []
