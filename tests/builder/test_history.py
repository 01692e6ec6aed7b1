"""The past that baselines learn from: everybody who is asked for is in it."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from builder.baselines.data import UNKNOWN
from builder.history import Past, load_past
from builder.signals.orders import DAY_US
from builder.split import Cut
from tests.builder.signal_shops import MEMORY_BYTES, Line, Shop, key_lo, write_shop


def key(customer: int) -> bytes:
    """Table key of a customer."""
    return customer.to_bytes(8, "big") + key_lo(customer).to_bytes(8, "big")


def past(
    shop: Shop,
    folder: Path,
    *,
    n_offers: int,
    asked: Collection[bytes] = (),
    max_others: int = 100,
    holdout_share: float = 0.0,
) -> Past:
    """The past before day 100."""
    return load_past(
        shop.partitions,
        shop.vocabulary,
        Cut(until_us=100 * DAY_US, holdout_share=holdout_share),
        n_items=shop.n_items,
        n_offers=n_offers,
        target_kind=0,
        asked=asked,
        max_others=max_others,
        memory_bytes=MEMORY_BYTES,
        temp_dir=folder,
    )


def test_lines_come_as_they_were_bought(tmp_path: Path) -> None:
    lines = [
        Line(customer=2, order=9, item=1, day=90, hour_of_week=7, context={"device": "tv"}),
        Line(customer=1, order=3, item=0, day=60, hour_of_week=8),
        Line(customer=2, order=4, item=0, day=50, hour_of_week=9, context={"device": "phone"}),
        Line(customer=0, order=5, item=0, day=95, hour_of_week=10, context={"device": "tv"}),
        Line(customer=1, order=6, item=0, day=100),
        Line(customer=1, order=7, item=0, day=1, kind=1),
    ]
    shop = write_shop(
        tmp_path / "shop",
        lines,
        n_items=2,
        contexts=("device",),
        categories=("Food > Bread", None),
        item_offers=[(0, 0), (0, 1)],
    )
    found = past(shop, tmp_path, n_offers=2)
    history, device = found.history, found.history.context["device"]
    rows = zip(
        history.customer.tolist(),
        history.item_row.tolist(),
        history.offer_row.tolist(),
        (history.ts_us // DAY_US).tolist(),
        history.hour_of_week.tolist(),
        [device.values[code] if code >= 0 else None for code in device.codes.tolist()],
        strict=True,
    )
    one, two = found.index_of(key(1)), found.index_of(key(2))

    assert {one, two} == {0, 1}
    assert sorted(rows, key=str) == sorted(
        [
            (two, 0, 0, 50, 9, "phone"),
            (two, 0, 1, 50, 9, "phone"),
            (two, 1, UNKNOWN, 90, 7, "tv"),
            (one, 0, 0, 60, 8, None),
            (one, 0, 1, 60, 8, None),
            (UNKNOWN, 0, 0, 95, 10, "tv"),
            (UNKNOWN, 0, 1, 95, 10, "tv"),
        ],
        key=str,
    )
    assert history.popularity.tolist() == [3, 3]
    assert history.recent_popularity.tolist() == [1, 1]
    assert history.item_category.tolist() == [0, UNKNOWN]
    assert found.index_of(None) == found.index_of(key(3)) == UNKNOWN


def test_orders_of_a_customer_are_counted_before_the_cut(tmp_path: Path) -> None:
    """Customer 1 makes three orders, one of them later; customer 2 one of two lines."""
    lines = [
        Line(customer=1, order=1, item=0, day=10),
        Line(customer=1, order=2, item=1, day=20),
        Line(customer=1, order=3, item=0, day=100),
        Line(customer=2, order=4, item=0, day=30),
        Line(customer=2, order=4, item=1, day=30),
        Line(customer=3, order=5, item=0, day=200),
        Line(customer=0, order=6, item=0, day=40),
    ]
    shop = write_shop(tmp_path / "shop", lines, n_items=2, item_offers=[(0, 0), (0, 1)])
    found = past(shop, tmp_path, n_offers=2)

    assert found.n_orders_of([key(3), key(2), None, key(1)]).tolist() == [0, 1, 0, 2]
    assert found.n_orders_of([]).tolist() == []


def test_everybody_who_is_asked_for_is_in_however_small_the_sample(tmp_path: Path) -> None:
    lines = [Line(customer=n, order=n, item=n % 2, day=90) for n in range(1, 101)]
    shop = write_shop(tmp_path / "shop", lines, n_items=2, partition_of=[n % 2 for n in range(100)])
    by_low_half = sorted(range(1, 101), key=key_lo)
    asked = {key(customer) for customer in by_low_half[-30:]}
    found = past(shop, tmp_path, n_offers=2, asked=asked, max_others=10)

    assert set(found.customers) > asked
    assert len(found.customers) == 40
    assert found.history.n_customers == 40
    assert found.history.popularity.tolist() == [50, 50]


def test_held_out_customers_are_not_in_even_when_asked_for(tmp_path: Path) -> None:
    lines = [Line(customer=n, order=n, item=0, day=90) for n in range(1, 51)]
    shop = write_shop(tmp_path / "shop", lines, n_items=1)
    known = {key(n) for n in range(1, 51) if key_lo(n) % 10_000 >= 4000}
    everyone = [key(n) for n in range(1, 51)]
    found = past(shop, tmp_path, n_offers=1, asked=everyone, holdout_share=0.4)

    assert set(found.customers) == known
    assert found.history.popularity.tolist() == [len(known)]


def test_partitions_make_no_difference(tmp_path: Path) -> None:
    lines = [
        Line(customer=n % 7, order=n, item=n % 3, day=n / 2, context={"store": f"s{n % 5}"})
        for n in range(1, 150)
    ]
    one = write_shop(tmp_path / "one", lines, n_items=3, contexts=("store",))
    two = write_shop(
        tmp_path / "two",
        lines,
        n_items=3,
        contexts=("store",),
        partition_of=[line.customer % 2 for line in lines],
    )

    def described(found: Past) -> list[tuple[object, ...]]:
        names = {index: name for name, index in found.customers.items()}
        history, store = found.history, found.history.context["store"]
        return sorted(
            (
                str(names.get(customer)),
                history.ts_us[place],
                history.item_row[place],
                store.values[store.codes[place]],
            )
            for place, customer in enumerate(history.customer.tolist())
        )

    assert described(past(one, tmp_path, n_offers=3)) == described(past(two, tmp_path, n_offers=3))


def test_nothing_makes_an_empty_past(tmp_path: Path) -> None:
    shop = write_shop(tmp_path / "shop", [Line(customer=1, order=1, item=0, day=200)], n_items=1)
    found = past(shop, tmp_path, n_offers=1)

    assert found.customers == {}
    assert found.history.n_orders == found.history.customer.size == 0
    assert found.history.popularity.tolist() == [0]
