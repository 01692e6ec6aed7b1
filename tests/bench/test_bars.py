"""The published protocol: figures over all known households, beside those of others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import pytest

from bench.bars import WANTED, bar_table, bars_of, measure_bars
from bench.discovery import discovery_table
from builder.demo_inputs import data_dir, write_inputs


def result(slice_name: str, n: int, **methods: tuple[float, float]) -> dict[str, Any]:
    """A slice as report.json has it."""
    return {
        "question": "next_order",
        "slice_name": slice_name,
        "n_examples": n,
        "methods": [
            {
                "method": method,
                "recall": {"mean": {"value": recall}},
                "ndcg": {"mean": {"value": ndcg}},
            }
            for method, (recall, ndcg) in methods.items()
        ],
    }


def report(ndcg: float = 0.3) -> dict[str, Any]:
    return {
        "evaluation": [
            result("warm", 30, almanac=(0.4, ndcg), frequency=(0.2, 0.25)),
            result("thin", 10, almanac=(0.0, ndcg), frequency=(0.1, 0.05)),
            result("cold_without_cart", 500, almanac=(1.0, 1.0), frequency=(1.0, 1.0)),
            {**result("warm", 500, almanac=(1.0, 1.0)), "question": "post_purchase"},
        ]
    }


def test_known_households_count_alike_whatever_their_slice() -> None:
    run = bars_of([report()])

    assert run.n_households == 40
    assert run.methods["almanac"] == pytest.approx((0.3, 0.3))
    assert run.methods["frequency"] == pytest.approx((0.175, 0.2))


def test_households_of_several_cuts_count_alike() -> None:
    run = bars_of([report(), {"evaluation": [result("warm", 60, almanac=(0.1, 0.0))]}])

    assert run.n_households == 100
    assert run.methods["almanac"] == pytest.approx((0.18, 0.12))


@pytest.mark.parametrize(("ndcg", "word"), [(WANTED[1], "reached"), (0.2399, "missed")])
def test_the_table_says_whether_the_bar_is_reached(ndcg: float, word: str) -> None:
    lines = bar_table(bars_of([report(ndcg)])).splitlines()

    assert lines[-1] == word
    assert lines[0].startswith("40 households")
    assert lines[2].split() == ["frequency", "0.1750", "0.2000", "0.182", "0.218"]


@pytest.mark.parametrize(
    ("rival", "word"),
    [((0.4, 0.3), "reached"), ((0.41, 0.2), "missed"), ((0.3, 0.31), "missed")],
)
def test_discovery_says_whether_ours_is_at_or_above_those_made_for_it(
    rival: tuple[float, float], word: str
) -> None:
    methods = {"almanac": (0.4, 0.3), "rp3beta": rival, "ease": (0.1, 0.1)}
    lines = discovery_table(bars_of([{"evaluation": [result("warm", 9, **methods)]}])).splitlines()

    assert lines[0].split() == ["9", "households", "R@10", "NDCG@10"]
    assert lines[2].split() == ["rp3beta", *(f"{one:.4f}" for one in rival)]
    assert lines[-1] == word


@pytest.mark.realdata
def test_first_purchases_are_what_a_household_never_bought_before(tmp_path: Path) -> None:
    """Of 2,469 households' 1.47 million lines, and none again."""
    events, _, _ = write_inputs(tmp_path, first_purchases=True)
    again = "SELECT 1 FROM read_parquet($1) GROUP BY customer_id, item_id HAVING count(*) > 1"
    with duckdb.connect() as connection:
        assert connection.execute(again, [str(events)]).fetchall() == []
        [(firsts,)] = connection.execute(
            "SELECT count(*) FROM read_parquet($1)", [str(events)]
        ).fetchall()
        [(pairs,)] = connection.execute(
            """SELECT count(DISTINCT (household_id, product_id)) FROM read_parquet($1)
               WHERE quantity > 0""",
            [str(data_dir() / "transactions.parquet")],
        ).fetchall()
    assert firsts == pairs > 700_000


@pytest.mark.realdata
@pytest.mark.slow
def test_baselines_come_out_as_published_and_ours_above_them(tmp_path: Path) -> None:
    run = measure_bars(tmp_path, effort="quick")
    ours, frequency = run.methods["almanac"], run.methods["frequency"]

    assert run.n_households == 2041
    # Published as 0.182 and 0.218; here ties go to what was bought last.
    assert (round(frequency[0], 4), round(frequency[1], 4)) == (0.1827, 0.2193)
    assert ours[0] > frequency[0]
    assert ours[1] > frequency[1]
