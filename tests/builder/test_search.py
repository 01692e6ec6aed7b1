"""The search for settings: questions of early orders, trials with known ends, choices on paper."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest

from builder.choices import Choice
from builder.engine import Engine
from builder.progress import Listener
from builder.search import KNOBS, Found, search
from builder.signals.collaborative import CollaborativeSettings
from builder.signals.early import LEAST_CASES, WANTED_NAME, SplitEarly
from builder.signals.factors import FactorSettings
from builder.signals.regression import RegressionSettings
from builder.signals.trial import TryMethod, read_trial
from builder.signals.walk import WalkSettings
from tests.builder.files import connected, settings
from tests.builder.nights import build_here
from tests.builder.signal_shops import MEMORY_BYTES, read

Use = tuple[int, int, int, int]
"""Customer (its low key half), order, time, offer."""

SMALL = CollaborativeSettings(factors=FactorSettings(dim=4, ridge=1.0, rounds=4))


def merged(folder: Path, uses: list[Use]) -> Path:
    """A folder with the sample of a shop."""
    folder.mkdir()
    customers, orders, times, offers = np.array(uses, dtype=np.int64).reshape(-1, 4).T
    with connected() as connection:
        connection.register(
            "uses", {"customer": customers, "number": orders, "time": times, "offer": offers}
        )
        connection.execute(
            f"""COPY (SELECT 0::UBIGINT AS customer_hi, customer::UBIGINT AS customer_lo,
                             number::UBIGINT AS order_key, time AS ts_us,
                             offer::UINTEGER AS offer_row FROM uses)
                TO '{folder / "sample.parquet"}' (FORMAT parquet)"""
        )
    return folder


def two_tastes(n_customers: int) -> list[Use]:
    """Half like offers 0 to 3, half 4 to 7; each takes three, and last of all the fourth."""
    uses: list[Use] = []
    for customer in range(1, n_customers + 1):
        liked = [offer + 4 * (customer % 2) for offer in range(4)]
        last = liked.pop(customer // 2 % 4)
        uses += [(customer, 10 * customer, customer, offer) for offer in liked]
        uses.append((customer, 10 * customer + 1, 10_000 + customer, last))
    return uses


def split(tmp_path: Path, uses: list[Use], cases: int = 1000) -> Path:
    out_dir = tmp_path / "early"
    out_dir.mkdir()
    SplitEarly(merged_dir=merged(tmp_path / "merged", uses), cases=cases).run(out_dir, MEMORY_BYTES)
    return out_dir


def test_the_first_order_after_the_moment_asks_for_what_is_new(tmp_path: Path) -> None:
    """Of sixty customers each has an order at times 1 to 60, and two late ones at 100 and 200.

    The first teaches offers 1 and 2; the second, of 2 and 3, asks for 3; the third is not heard.
    """
    uses: list[Use] = []
    for customer in range(1, 61):
        for n in range(8):
            uses += [(customer, 100 * customer + n, customer, offer) for offer in (1, 2)]
        uses += [(customer, 100 * customer + 50, 100, offer) for offer in (2, 3)]
        uses.append((customer, 100 * customer + 51, 200, 4))
    early = split(tmp_path, uses)
    assert read(early / WANTED_NAME) == [(0, customer, 3) for customer in range(1, 61)]
    assert {(row[3], row[4]) for row in read(early / "sample.parquet")} == {
        (customer, offer) for customer in range(1, 61) for offer in (1, 2)
    }


def test_where_few_come_back_in_time_last_orders_ask(tmp_path: Path) -> None:
    """Everybody orders twice and never meets the moment between: the newer order asks."""
    uses: list[Use] = []
    for customer in range(1, 101):
        uses.append((customer, 10 * customer, 10 * customer, 1))
        uses.append((customer, 10 * customer + 1, 10 * customer + 1, 2))
    early = split(tmp_path, uses, cases=70)
    assert read(early / WANTED_NAME) == [(0, customer, 2) for customer in range(1, 71)]
    assert [row[4] for row in read(early / "sample.parquet")] == [1] * 100


@pytest.mark.parametrize("method", KNOBS)
def test_every_method_finds_the_planted_taste(tmp_path: Path, method: str) -> None:
    """Only the offer that is missing of the four is new and liked by the like: always first."""
    early = split(tmp_path, two_tastes(80))
    trial = TryMethod(method=method, early_dir=early, settings=SMALL)
    trial.run(tmp_path, MEMORY_BYTES)
    assert read_trial(tmp_path).tolist() == [1.0] * 80


def test_popularity_in_the_ranking_of_walks_is_the_trials_own(tmp_path: Path) -> None:
    """While all ends of a walk are kept, what they are kept by changes nothing.

    Everybody took a popular offer but the last ten, who want the fourth of their taste: most walks
    of theirs end at the popular one, so that only damped ones are right.
    """
    uses = two_tastes(80)
    uses += [
        (customer, 10 * customer, customer, 8) for customer in (*range(1, 71), *range(81, 281))
    ]
    early = split(tmp_path, uses)
    found = []
    for damping in (0.0, 0.4):
        out_dir = tmp_path / f"{damping}"
        out_dir.mkdir()
        tried = replace(SMALL, walk=WalkSettings(damping=damping))
        TryMethod(method="walk", early_dir=early, settings=tried).run(out_dir, MEMORY_BYTES)
        found.append(read_trial(out_dir).tolist())
    assert found[0] == found[1] == [1.0] * len(found[0]) != []


def test_an_offer_out_of_reach_is_missed(tmp_path: Path) -> None:
    """All offers have as many takers, so the last row is left out: an eighth wants just that."""
    early = split(tmp_path, two_tastes(80))
    settings = replace(SMALL, reach=7)
    TryMethod(method="walk", early_dir=early, settings=settings).run(tmp_path, MEMORY_BYTES)
    assert sorted(read_trial(tmp_path).tolist()) == [0.0] * 10 + [1.0] * 70


def look(
    tmp_path: Path, uses: list[Use], settings: CollaborativeSettings, rounds: int = 1
) -> tuple[Found, Listener]:
    listener = Listener()
    sample = tmp_path / "merged"
    with Engine(
        tmp_path / "work",
        workers=2,
        memory_bytes=2 * MEMORY_BYTES,
        listener=listener,
        executor=lambda: ThreadPoolExecutor(2),
    ) as engine:
        source = sample if sample.exists() else merged(sample, uses)
        return search(engine, source, settings, rounds=rounds), listener


def of(found: Found, name: str) -> Choice:
    (choice,) = (choice for choice in found.choices if choice.name == name)
    return choice


def test_a_setting_that_says_nothing_is_left_for_one_that_does(tmp_path: Path) -> None:
    """With such a ridge all factors are zero; with any smaller one the planted taste is found."""
    useless = replace(SMALL, factors=replace(SMALL.factors, ridge=1e9))
    found, _ = look(tmp_path, two_tastes(80), useless)
    choice = of(found, "factors: ridge")
    assert choice.chosen == f"{found.settings.factors.ridge:g}" != "1e+09"
    scored = dict(zip(choice.tried, choice.figures, strict=True))
    assert (scored["1e+09"], scored[choice.chosen]) == (0.0, 1.0)
    assert choice.why == (
        "better than 1e+09: NDCG@20 +1.0000 ± 0.0000 for 80 customers' early orders"
    )


def test_what_changes_nothing_is_left(tmp_path: Path) -> None:
    """All regressions rank the planted taste first, whatever their ridge."""
    usual = replace(SMALL, regression=RegressionSettings(ridge=7.0))
    found, _ = look(tmp_path, two_tastes(80), usual)
    assert found.settings.regression == usual.regression
    assert of(found, "regression: ridge").why.startswith("left as it is: the highest NDCG@20")


def test_few_customers_choose_nothing(tmp_path: Path) -> None:
    """Fewer than fifty could be right by chance."""
    found, _ = look(tmp_path, two_tastes(LEAST_CASES - 2), SMALL)
    assert found.settings == SMALL
    assert {choice.why for choice in found.choices} == {
        f"left as it is: only {LEAST_CASES - 2} customers to ask about"
    }


def test_a_shop_without_customers_chooses_nothing(tmp_path: Path) -> None:
    """Sessions only: nobody in the sample."""
    found, _ = look(tmp_path, [], SMALL)
    assert found.settings == SMALL
    assert {choice.figures for choice in found.choices} == {()}


def test_no_rounds_no_trials(tmp_path: Path) -> None:
    found, listener = look(tmp_path, two_tastes(80), SMALL, rounds=0)
    assert found == Found(settings=SMALL)
    assert not listener.costs


def test_a_search_goes_on_after_its_last_trial_and_finds_the_same(tmp_path: Path) -> None:
    """However many rounds, a trial runs once; and a later run finds it finished."""
    first, once = look(tmp_path, two_tastes(80), SMALL, rounds=3)
    second, again = look(tmp_path, [], SMALL, rounds=3)
    assert first == second
    ran = [cost for cost in once.costs if cost.stage == "search"]
    folders = [path for path in (tmp_path / "work" / "search").iterdir() if path.is_dir()]
    assert sum(cost.n_tasks for cost in ran) == len(folders)
    assert sum(cost.n_skipped for cost in again.costs if cost.stage == "search") == len(folders)


def test_a_standard_build_tells_what_it_tried(tmp_path: Path) -> None:
    """Also: of trees, which had too little to grow from."""
    days = date(2024, 1, 1)
    rows = [
        {
            "customer_id": f"c{customer}",
            "order_id": f"{customer}-{number}",
            "ts": f"{days + timedelta(days=45 * number + customer % 45)}T10:00:00Z",
            "item_id": f"i{item}",
        }
        for customer in range(120)
        for number in range(4)
        for item in {number + 4 * (customer % 2), (number + customer) % 4 + 4 * (customer % 2)}
    ]
    report = build_here(tmp_path, rows, settings(learn__effort="standard")).report
    names = [f"{method}: {name}" for method, knobs in KNOBS.items() for name in knobs]
    assert sorted(choice.name for choice in report.choices) == sorted([*names, "personal: trees"])
    assert all(choice.figures for choice in report.choices if choice.name in names)
    (trees,) = (choice for choice in report.choices if choice.name == "personal: trees")
    assert trees.chosen == "the logit alone"
    assert trees.why.endswith("next orders to learn from")
