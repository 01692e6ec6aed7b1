"""What models in a handler learn from, and the plain reading of trees that checks one of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from bench.http_ground import Csr, Ground
from bench.http_orders import N_ORDERS, drawn_orders
from bench.http_trees import TreesByHand
from bench.synthetic import Shape
from index.generation import Generation

NODE = np.dtype(
    [
        ("value", "f8"),
        ("feature_idx", "i8"),
        ("num_threshold", "f8"),
        ("left", "u4"),
        ("right", "u4"),
        ("is_leaf", "u1"),
    ]
)
NOTHING: dict[str, Any] = {"indices": np.empty(0, dtype=np.int32), "values": np.empty(0)}
ASKED = {"customer_id": "customer-0", "k": 3, "at": "2026-11-23T20:15:00+00:00"}
ASKED |= {"context": {"device": "tablet"}, "cart": [{"item_id": "d", "quantity": 1}]}


@pytest.fixture
def ground(generation: Generation, shape: Shape, tmp_path: Path) -> Ground:
    return Ground(generation=generation, shape=shape, folder=tmp_path, socket=None)


def drawn(ground: Ground) -> list[dict[str, Any]]:
    rng = np.random.default_rng(1)
    histories = ground.histories()
    histories["values"] = np.ones(len(histories["indices"]), dtype=np.float32)
    return drawn_orders(rng, ground.shape, histories, ground.items()[0])


def test_orders_come_from_every_hour_and_each_took_an_offer(ground: Ground) -> None:
    orders = drawn(ground)

    assert len(orders) == N_ORDERS
    assert {order["at"][11:13] for order in orders} == {f"{hour:02d}" for hour in range(24)}
    sold = {offer["offer_id"] for offer in ground.catalogue()}
    assert {order["taken"] for order in orders} <= sold
    assert any("customer_id" not in order for order in orders)


def test_orders_are_the_same_each_time(ground: Ground) -> None:
    assert drawn(ground) == drawn(ground)


def test_many_take_again_what_they_took_before(ground: Ground) -> None:
    histories = ground.histories()
    known = [order for order in drawn(ground) if "customer_id" in order]

    def has_taken(order: dict[str, Any]) -> bool:
        start, end = histories["indptr"][int(order["customer_id"].rpartition("-")[2]) :][:2]
        return int(order["taken"].rpartition("-")[2]) in histories["indices"][start:end]

    assert 0.5 < sum(map(has_taken, known)) / len(known) < 0.9


def by_hand(
    tmp_path: Path, trees: Sequence[Sequence[tuple[float, ...]]], *, affinity: Csr | None = None
) -> TreesByHand:
    """Over offers a to d, of which the customer took c twice, and a and b are popular."""
    learned = tmp_path / "learned.npz"
    nodes = [np.array(list(tree), dtype=NODE) for tree in trees]
    np.savez(
        learned,
        popular=[0, 1],
        static=np.arange(12.0).reshape(4, 3),
        at_hour=np.zeros((24, 2)),
        base=[-1.0],
        nodes=np.concatenate(nodes),
        n_nodes=[len(one) for one in nodes],
        device=["mobile", "tablet"],
        referrer_source=["google"],
        country=["c00"],
    )
    catalogue = [{"offer_id": name, "category": name > "b"} for name in "abcd"]
    histories = {"indptr": np.array([0, 1]), "indices": np.array([2]), "values": np.array([2.0])}
    near = affinity or NOTHING | {"indptr": np.zeros(5, dtype=np.int32)}
    return TreesByHand(learned, catalogue, histories, near, np.full(4, 100.0))


def split(feature: int, threshold: float, *, below: float, above: float) -> list[Any]:
    """A tree of one question."""
    return [
        (0.0, feature, threshold, 1, 2, 0),
        (below, 0, 0.0, 0, 0, 1),
        (above, 0, 0.0, 0, 0, 1),
    ]


def answer(trees: TreesByHand, **changed: Any) -> list[str]:
    return list(orjson.loads(trees.right_answer(orjson.dumps(ASKED | changed))))


def test_candidates_are_the_popular_and_the_customers_own_without_the_cart(tmp_path: Path) -> None:
    trees = by_hand(tmp_path, [split(0, 100.0, below=0.0, above=0.0)])

    assert answer(trees) == ["a", "b", "c"]
    assert answer(trees, cart=[{"item_id": "a"}]) == ["b", "c"]
    assert answer(trees, k=1) == ["a"]


def test_a_stranger_is_offered_what_is_popular(tmp_path: Path) -> None:
    trees = by_hand(tmp_path, [split(3, 1.0, below=0.0, above=9.0)])
    asked = {key: value for key, value in ASKED.items() if key != "customer_id"}

    assert trees.right_answer(orjson.dumps(asked)) == b'["a","b"]'


def test_leaves_of_all_trees_add_up(tmp_path: Path) -> None:
    # Static features begin with 0, 3, 6; how often the customer took it is the fourth feature.
    trees = by_hand(
        tmp_path, [split(0, 0.0, below=0.0, above=2.0), split(3, 1.0, below=0.0, above=-3.0)]
    )

    assert answer(trees) == ["b", "a", "c"]


def test_what_goes_with_the_cart_counts(tmp_path: Path) -> None:
    near = {"indptr": np.array([0, 0, 0, 0, 1]), "indices": np.array([1]), "values": np.ones(1)}
    trees = by_hand(tmp_path, [split(5, 0.5, below=0.0, above=1.0)], affinity=near)

    assert answer(trees) == ["b", "a", "c"]
    assert answer(trees, cart=[]) == ["a", "b", "c"]


def test_the_hour_counts(tmp_path: Path) -> None:
    # After eight in the evening what was taken before comes first.
    late = split(10, 19.5, below=0.0, above=1.0)
    again = [
        (0.0, 10, 19.5, 1, 2, 0),
        (0.0, 0, 0.0, 0, 0, 1),
        (0.0, 3, 1.0, 3, 4, 0),
        (0.0, 0, 0.0, 0, 0, 1),
        (5.0, 0, 0.0, 0, 0, 1),
    ]
    trees = by_hand(tmp_path, [late, again])

    assert answer(trees) == ["c", "a", "b"]
    assert answer(trees, at="2026-11-23T19:15:00+00:00") == ["a", "b", "c"]
