"""Counting: exact on paper, and the same however the orders are split."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builder.signals.counts import (
    DECAY_UNIT,
    CountPartition,
    CountSettings,
    decay_table,
)
from builder.signals.merge import item_groups
from builder.signals.orders import DAY_US
from builder.split import Cut
from tests.builder.signal_shops import (
    LATE,
    Line,
    contents,
    key_lo,
    learn,
    read,
    run,
    write_shop,
)

FIVE = [
    Line(customer=1, order=1, item=0, context={"device": "Phone"}),
    Line(customer=1, order=1, item=1, context={"device": "phone "}),
    Line(customer=1, order=2, item=0),
    Line(customer=0, order=3, item=0, context={"device": "desk"}),
    Line(customer=0, order=3, item=2),
]
"""Three orders: {0, 1} and {0} of customer 1, {0, 2} of a guest."""


def test_counts_are_those_on_paper(tmp_path: Path) -> None:
    """Orders, customers and directed pairs of five lines; a guest order is a customer."""
    shop = write_shop(tmp_path / "shop", FIVE, n_items=3, contexts=["device"])
    merged_dir = learn(shop, tmp_path / "work").merged_dir

    assert [row[:2] for row in read(merged_dir / "totals.parquet")] == [(3, 2)]
    assert read(merged_dir / "items.parquet") == [(0, 3, 3), (1, 1, 1), (2, 1, 1)]
    assert [row[:3] for row in read(merged_dir / "offers.parquet")] == [
        (0, 3, 2),
        (1, 1, 1),
        (2, 1, 1),
    ]


def test_pairs_are_directed_and_leave_out_own_offers(tmp_path: Path) -> None:
    """Every item of an order is paired with every other item's offer, once per order."""
    shop = write_shop(tmp_path / "shop", FIVE, n_items=3)
    count_dir = run(
        CountPartition(partition=shop.partitions[0], vocabulary=shop.vocabulary, cut=LATE),
        tmp_path,
    )

    assert read(count_dir / "pairs.parquet") == [
        (0, 1, 1000, False),
        (0, 2, 1000, False),
        (1, 0, 1000, False),
        (2, 0, 1000, False),
    ]


def session_pairs(tmp_path: Path, items: Sequence[int], **settings: int) -> list[tuple[int, ...]]:
    """Pairs of one session that looks at these items in turn; its lines stand in another order."""
    lines = [Line(customer=0, order=1, item=item, day=day) for day, item in enumerate(items)]
    shop = write_shop(tmp_path / "shop", lines[::-1], n_items=max(items) + 1)
    count_dir = run(
        CountPartition(
            partition=shop.partitions[0],
            vocabulary=shop.vocabulary,
            cut=LATE,
            settings=CountSettings(in_sequence=True, **settings),  # type: ignore[arg-type]
        ),
        tmp_path,
    )
    return read(count_dir / "pairs.parquet")


def test_in_a_session_what_comes_next_counts_most(tmp_path: Path) -> None:
    """0, 1, 2 by their times: 1 / d, or half of it for what came before."""
    assert session_pairs(tmp_path, [0, 1, 2]) == [
        (0, 1, 1000, False),
        (0, 2, 500, False),
        (1, 0, 500, False),
        (1, 2, 1000, False),
        (2, 0, 250, False),
        (2, 1, 500, False),
    ]


def test_in_a_session_an_item_that_comes_again_is_a_pair_with_itself(tmp_path: Path) -> None:
    """0 → 0 two steps on, and back again: 1/2 and half of it."""
    assert session_pairs(tmp_path, [0, 1, 0]) == [
        (0, 0, 750, True),
        (0, 1, 1500, False),
        (1, 0, 1500, False),
    ]


def test_of_a_long_session_the_newest_steps_count(tmp_path: Path) -> None:
    assert session_pairs(tmp_path, [0, 1, 2], basket_items=2) == [
        (1, 2, 1000, False),
        (2, 1, 500, False),
    ]


def test_without_baskets_pairs_are_what_a_customer_took(tmp_path: Path) -> None:
    """Customer 1 took 0 and 1 in two orders, customer 2 took 0; a guest's order stands alone."""
    lines = [
        Line(customer=customer, order=order, item=item)
        for order, (customer, item) in enumerate([(1, 0), (1, 1), (2, 0), (0, 1)], start=1)
    ]
    shop = write_shop(tmp_path / "shop", lines, n_items=2)
    merged_dir = learn(
        shop, tmp_path / "work", counts=CountSettings(pair_unit="customer")
    ).merged_dir
    pairs = read(tmp_path / "work" / "count-0000" / "pairs.parquet")

    assert pairs == [(0, 1, 1000, False), (1, 0, 1000, False)]
    assert read(merged_dir / "items.parquet") == [(0, 2, 2), (1, 2, 2)]
    assert [row[:3] for row in read(merged_dir / "totals.parquet")] == [(4, 3, 3)]


def test_offers_of_several_items_count_once_per_order(tmp_path: Path) -> None:
    """Offer 0 holds items 0 and 1, offer 1 holds item 2: an order with all three has each once."""
    lines = [Line(customer=1, order=1, item=item) for item in range(3)]
    shop = write_shop(
        tmp_path / "shop", lines, n_items=3, item_offers=[(0, 0), (1, 0), (1, 1), (2, 1)]
    )
    count_dir = run(
        CountPartition(partition=shop.partitions[0], vocabulary=shop.vocabulary, cut=LATE),
        tmp_path,
    )

    assert [row[:2] for row in read(count_dir / "offers.parquet")] == [(0, 1), (1, 1)]
    assert read(count_dir / "pairs.parquet") == [
        (0, 1, 1000, False),
        (2, 0, 1000, False),
    ]


def test_context_values_are_spelled_as_requests_are_read(tmp_path: Path) -> None:
    """`Phone` and `phone ` are one value; an order's context is that of its first line."""
    shop = write_shop(tmp_path / "shop", FIVE, n_items=3, contexts=["device"])
    merged_dir = learn(shop, tmp_path / "work").merged_dir
    seen = {
        (feature, value): n for _, feature, value, n, _ in read(merged_dir / "contexts.parquet")
    }

    assert seen[("device", "phone")] == 1
    assert seen[("device", "desk")] == 1
    assert seen[("hour_of_week", "0")] == 3


def test_a_cut_hides_what_comes_later_and_who_is_held_out(tmp_path: Path) -> None:
    """Only lines before the cut, of customers (for guests: orders) outside the held-out share."""
    lines = [
        Line(customer=customer, order=100 + customer, item=0, day=customer % 2)
        for customer in range(1, 41)
    ]
    shop = write_shop(tmp_path / "shop", lines, n_items=1)
    cut = Cut(until_us=DAY_US, holdout_share=0.5)
    expected = sum(1 for line in lines if line.day == 0 and key_lo(line.customer) % 10_000 >= 5_000)
    count_dir = run(
        CountPartition(partition=shop.partitions[0], vocabulary=shop.vocabulary, cut=cut), tmp_path
    )

    assert expected == read(count_dir / "totals.parquet")[0][0]


def test_only_events_of_the_target_kind_make_orders(tmp_path: Path) -> None:
    """A shop of views is counted by its views."""
    lines = [Line(customer=1, order=1, item=0, kind=0), Line(customer=1, order=2, item=0, kind=1)]
    shop = write_shop(tmp_path / "shop", [*lines, lines[1]], n_items=1)
    count_dir = run(
        CountPartition(
            partition=shop.partitions[0],
            vocabulary=shop.vocabulary,
            cut=LATE,
            settings=CountSettings(target_kind=1),
        ),
        tmp_path,
    )

    assert read(count_dir / "totals.parquet")[0][0] == 1


def test_a_huge_basket_enters_pairs_as_a_sample(tmp_path: Path) -> None:
    """Sixty items, of which ten are paired: 90 directed pairs, the same ones every time."""
    lines = [Line(customer=1, order=7, item=item) for item in range(60)]
    shop = write_shop(tmp_path / "shop", lines, n_items=60)
    task = CountPartition(
        partition=shop.partitions[0],
        vocabulary=shop.vocabulary,
        cut=LATE,
        settings=CountSettings(basket_items=10),
    )
    first, second = run(task, tmp_path / "a"), run(task, tmp_path / "b")

    assert len(read(first / "pairs.parquet")) == 90
    assert len(read(first / "items.parquet")) == 60
    assert contents(first) == contents(second)


def test_decay_is_a_table_of_integers() -> None:
    """Half after one half-life, a quarter after two, and never a float."""
    assert decay_table(4, 2).tolist() == [
        DECAY_UNIT,
        round(DECAY_UNIT * 2**-0.5),
        DECAY_UNIT // 2,
        round(DECAY_UNIT * 2**-1.5),
        DECAY_UNIT // 4,
    ]


def test_a_partition_without_files_counts_nothing(tmp_path: Path) -> None:
    """Not every partition has customers."""
    shop = write_shop(tmp_path / "shop", FIVE, n_items=3)
    empty = CountPartition(
        partition=type(shop.partitions[0])(number=1, event_paths=()),
        vocabulary=shop.vocabulary,
        cut=LATE,
    )
    count_dir = run(empty, tmp_path)

    assert read(count_dir / "totals.parquet")[0][:2] == (0, 0)
    assert not read(count_dir / "pairs.parquet")


@pytest.mark.parametrize(
    ("category", "price_cents", "expected"),
    [
        (None, None, []),
        ("Food", 100, [("category", "food"), ("price_band", "1")]),
        (
            "Food > Rye Bread",
            99,
            [("category", "food"), ("category", "food > rye bread"), ("price_band", "0")],
        ),
    ],
)
def test_an_item_stands_in_each_level_of_its_category_and_in_its_band(
    category: str | None, price_cents: int | None, expected: list[tuple[str, str]]
) -> None:
    """A price on an edge belongs to the band above."""
    assert expected == item_groups(category, price_cents, (100,))


orders = st.lists(
    st.tuples(
        st.integers(0, 4),  # customer, 0 for a guest
        st.lists(st.integers(0, 5), min_size=1, max_size=4),
        st.integers(0, 30),  # day
        st.sampled_from(["a", "B", "b ", None]),
    ),
    max_size=8,
)


@settings(max_examples=4, deadline=None)
@given(orders=orders, data=st.data())
def test_results_do_not_depend_on_how_orders_are_split(
    orders: list[tuple[int, list[int], int, str | None]], data: st.DataObject
) -> None:
    """Any split by customer (guests by order), in any order of lines: the same results."""
    lines = [
        Line(
            customer=customer,
            order=number + 1,
            item=item,
            day=day,
            context={"page": value} if value else {},
        )
        for number, (customer, items, day, value) in enumerate(orders)
        for item in items
    ]
    owners = [(line.customer, line.order if line.customer == 0 else 0) for line in lines]
    place = {owner: data.draw(st.integers(0, 2)) for owner in sorted(set(owners))}
    folder = Path(tempfile.mkdtemp())
    try:
        results = []
        for name, partition_of in (("one", None), ("split", [place[owner] for owner in owners])):
            shop = write_shop(
                folder / name,
                lines,
                n_items=6,
                contexts=["page"],
                partition_of=partition_of,
                categories=["x > y", "x > z", "x", None, "y", "y"],
                prices=[100, 200, None, 300, 400, 500],
            )
            results.append(learn(shop, folder / f"work-{name}", LATE_ENOUGH))
        one, split = results

        assert contents(one.merged_dir) == contents(split.merged_dir)
        assert [contents(d) for d in one.affinity_dirs] == [
            contents(d) for d in split.affinity_dirs
        ]
        assert contents(one.globals_dir) == contents(split.globals_dir)
    finally:
        shutil.rmtree(folder)


LATE_ENOUGH = Cut(until_us=31 * DAY_US, holdout_share=0.0)
