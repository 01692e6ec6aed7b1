"""Customers' rows: own history, planted neighbours, any odd shop, and the same in every process."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builder.asked import write_asked
from builder.signals.candidates import joined_candidates, make_candidates
from builder.signals.counts import CountSettings
from builder.signals.features import FEATURES
from builder.signals.histories import Histories
from builder.signals.learn import SignalSettings
from builder.signals.neighbours import ReferenceSettings, learn_reference
from builder.signals.orders import DAY_US
from builder.signals.personal import CustomerRow, score_partition
from builder.signals.personal_model import (
    PersonalModel,
    PersonalSettings,
    read_model,
    write_model,
)
from builder.signals.rows import open_array, open_rows
from builder.split import Cut
from tests.builder.signal_shops import (
    LATE,
    MEMORY_BYTES,
    Learned,
    Line,
    Shop,
    fit,
    key_lo,
    learn,
    write_shop,
)

NOW = Cut(until_us=100 * DAY_US, holdout_share=0.0)


def score(
    shop: Shop,
    learned: Learned,
    model: PersonalModel | None = None,
    cut: Cut = NOW,
    asked_path: Path | None = None,
) -> list[CustomerRow]:
    """Rows of all partitions."""
    return [
        row
        for partition in shop.partitions
        for row in score_partition(
            partition,
            shop.vocabulary,
            cut,
            model or PersonalModel(),
            learned.globals_dir,
            MEMORY_BYTES,
            asked_path=asked_path,
        )
    ]


def two_tastes(folder: Path, n_partitions: int = 1) -> Shop:
    """Customers 1 to 40 like items 0 to 4, others 5 to 9; customer 1 has never had item 4."""
    lines = []
    for customer in range(1, 81):
        liked = range(5) if customer <= 40 else range(5, 10)
        for visit in range(6):
            lines += [
                Line(
                    customer=customer,
                    order=customer * 100 + visit,
                    item=item,
                    day=15 * visit + customer % 7,
                )
                for item in liked
                if (item + visit + customer) % 3 and not (customer == 1 and item == 4)
            ]
    return write_shop(
        folder,
        lines,
        n_items=12,
        partition_of=[line.customer * n_partitions // 81 for line in lines],
    )


@pytest.fixture(scope="module")
def tastes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Shop, Learned]:
    """The shop of two tastes, and what is learned from it up to now."""
    folder = tmp_path_factory.mktemp("tastes")
    shop = two_tastes(folder / "shop")
    return shop, learn(shop, folder / "work", NOW)


def as_key(customer: int) -> bytes:
    """First half of the table key."""
    return customer.to_bytes(8, "big")


def test_neighbours_name_what_one_of_them_lacks(tastes: tuple[Shop, Learned]) -> None:
    """Customer 1's best new offer is item 4, which all who buy alike have."""
    rows = score(*tastes)
    first = next(row for row in rows if row.key[:8] == as_key(1))
    new = first.counts == 0
    best_new = first.rows[new][np.argmax(first.values[new])]

    assert best_new == 4
    assert set(first.history.tolist()) == {0, 1, 2, 3}


def test_only_those_asked_about_get_the_rows_all_would_get(tmp_path: Path) -> None:
    """In every partition; a guest and somebody unknown want none."""
    shop = two_tastes(tmp_path / "shop", n_partitions=2)
    learned = learn(shop, tmp_path / "work", NOW)
    everybody = {row.key: row for row in score(shop, learned)}
    keys = sorted(everybody)
    path = write_asked([keys[50], None, bytes(15) + b"\1", keys[3], keys[50]], tmp_path)
    asked = score(shop, learned, asked_path=path)

    assert [row.key for row in asked] == [keys[3], keys[50]]
    for row in asked:
        assert row.rows.tolist() == everybody[row.key].rows.tolist()
        # Products of matrices round differently with their sizes.
        assert row.values == pytest.approx(everybody[row.key].values, rel=1e-4, abs=1e-4)
    assert write_asked([keys[3], keys[50]], tmp_path) == write_asked([keys[50], keys[3]], tmp_path)
    assert write_asked([keys[3]], tmp_path) != write_asked([keys[50]], tmp_path)


def test_rows_tell_the_history(tmp_path: Path) -> None:
    """Keys rise, rows and history rise, counts are orders, own offers stand above new ones."""
    lines = [
        Line(customer=2, order=1, item=3, day=1.5),
        Line(customer=2, order=2, item=3, day=4.25),
        Line(customer=2, order=2, item=0, day=4.25),
        Line(customer=1, order=3, item=1, day=2.0),
        Line(customer=0, order=4, item=2, day=2.0),
    ]
    shop = write_shop(tmp_path / "shop", lines, n_items=4)
    first, second = score(shop, learn(shop, tmp_path / "work", NOW))

    assert [first.key[:8], second.key[:8]] == [as_key(1), as_key(2)]
    assert (second.n_orders, second.last_day) == (2, 4)
    assert second.history.tolist() == [0, 3]
    assert dict(zip(second.rows.tolist(), second.counts.tolist(), strict=True)) == {
        0: 1,
        1: 0,
        2: 0,
        3: 2,
    }
    assert second.values[3] > second.values[0] > second.values[1]
    assert second.rows.dtype == np.uint32
    assert second.values.dtype == np.float32


def test_rows_and_histories_keep_to_their_limits(tmp_path: Path) -> None:
    """The best own, the best new, and the offers of the most recent orders."""
    lines = [Line(customer=1, order=n + 1, item=n, day=n) for n in range(12)]
    lines += [Line(customer=2, order=50 + n, item=n, day=n) for n in range(20)]
    shop = write_shop(tmp_path / "shop", lines, n_items=20)
    settings = PersonalSettings(own_offers=3, new_offers=2, history_offers=4)
    first, _ = score(shop, learn(shop, tmp_path / "work", NOW), PersonalModel(settings=settings))

    assert np.bincount(first.counts).tolist() == [2, 3]
    assert first.history.tolist() == [8, 9, 10, 11]


def test_rows_do_not_depend_on_batches_or_partitions(
    tastes: tuple[Shop, Learned], tmp_path: Path
) -> None:
    """One customer at a time, all at once, in three partitions: the same but for rounding."""
    shop, learned = tastes
    split = two_tastes(tmp_path / "split", n_partitions=3)
    settings = replace(PersonalSettings(), batch_customers=1)
    whole = score(shop, learned)
    one_by_one = score(shop, learned, PersonalModel(settings=settings))
    in_parts = score(split, learn(split, tmp_path / "work-split", NOW))

    assert digest(score(shop, learned)) == digest(whole)
    for others in (one_by_one, in_parts):
        assert [row.key for row in others] == [row.key for row in whole]
        for other, row in zip(others, whole, strict=True):
            for name in ("rows", "counts", "history"):
                assert getattr(other, name).tolist() == getattr(row, name).tolist()
            # Products of matrices round differently with their sizes.
            assert other.values == pytest.approx(row.values, rel=1e-4, abs=1e-4)


def digest(rows: list[CustomerRow]) -> str:
    """Tells whether two lists of rows are the same."""
    whole = blake2b()
    for row in rows:
        parts = (row.rows, row.values, row.counts, row.history)
        whole.update(row.key + b"".join(part.tobytes() for part in parts))
    return whole.hexdigest()


def test_another_process_gives_the_same(tmp_path: Path) -> None:
    """Globals, fitted model and rows of this process and of one with another hash seed."""
    script = (
        "import sys; from pathlib import Path\n"
        "from tests.builder.test_signals_personal import whole_way\n"
        "print(whole_way(Path(sys.argv[1])))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "other")],
        env={
            "PYTHONHASHSEED": "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1",
            "OPENBLAS_NUM_THREADS": "1",
            "PATH": "",
        },
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout == whole_way(tmp_path / "this") + "\n"


def whole_way(folder: Path) -> str:
    """Everything, from lines to rows, as one digest."""
    shop = two_tastes(folder / "shop")
    cut = Cut(until_us=60 * DAY_US, holdout_share=0.0)
    learned = learn(shop, folder / "work", cut)
    model = fit(shop, learned, cut, 100 * DAY_US, folder)
    vectors = open_array(learned.globals_dir / "offer_vectors.npy").tobytes()
    return digest(score(shop, learned, model, cut)) + blake2b(vectors).hexdigest() + repr(model)


def test_fitting_finds_what_is_due(tmp_path: Path) -> None:
    """Customers who take turns among three items: the next is the one they had longest ago."""
    lines = [
        Line(
            customer=customer,
            order=customer * 50 + visit,
            item=3 * (customer % 5) + visit % 3,
            day=10 * visit,
        )
        for customer in range(1, 61)
        for visit in range(10)
    ]
    shop = write_shop(tmp_path / "shop", lines, n_items=15)
    cut = Cut(until_us=85 * DAY_US, holdout_share=0.0)
    learned = learn(shop, tmp_path / "work", cut)
    model = fit(shop, learned, cut, 100 * DAY_US, tmp_path)
    prior = open_array(learned.globals_dir / "prior.npy")
    hits = {"default": 0, "fitted": 0}
    for name, used in (("default", PersonalModel()), ("fitted", model)):
        for row in score(shop, learned, used, cut):
            customer = int.from_bytes(row.key[:8], "big")
            best = row.rows[np.argmax(row.values + prior[row.rows])]
            hits[name] += int(best == 3 * (customer % 5))

    assert model.n_cases == 120  # both moments lie before the same order
    assert hits == {"default": 0, "fitted": 60}


def test_customers_the_tables_do_not_know_may_teach(tmp_path: Path) -> None:
    """Half of them are strangers to the globals; those held out for good teach nothing."""
    shop = two_tastes(tmp_path / "shop")
    cut = Cut(until_us=60 * DAY_US, holdout_share=0.5)
    learned = learn(shop, tmp_path / "work", cut)
    taught = [
        fit(shop, learned, replace(cut, holdout_share=share), 100 * DAY_US, tmp_path).n_cases
        for share in (0.0, 0.5)
    ]
    n_known = sum(key_lo(customer) % 10_000 >= 5_000 for customer in range(1, 81))

    assert 0 < n_known < 80
    assert taught == [2 * 80, 2 * n_known]


def test_newcomers_are_told_what_those_took_who_were_new(tmp_path: Path) -> None:
    """Everybody begins with three of the 20 best-known items, and goes on to what few ever take.

    What regulars take next is never well known; whoever had one or two orders takes that first.
    """
    choose = random.Random(1)
    lines = []
    for customer in range(1, 101):
        taken = [*choose.sample(range(20), 3), *choose.sample(range(20, 200), 27)]
        lines += [
            Line(
                customer=customer, order=customer * 100 + visit, item=item, day=customer + 3 * visit
            )
            for visit, item in enumerate(taken)
        ]
    shop = write_shop(tmp_path / "shop", lines, n_items=200)
    cut = Cut(until_us=80 * DAY_US, holdout_share=0.5)
    learned = learn(shop, tmp_path / "work", cut)
    model = fit(shop, learned, cut, 100 * DAY_US, tmp_path, holdout_share=0.0)
    prior = open_array(learned.globals_dir / "prior.npy")
    newcomers = [row for row in score(shop, learned, model, cut) if row.n_orders < 3]

    assert len(newcomers) == 2
    for row in newcomers:
        new = row.counts == 0
        best = row.rows[new][np.argsort(-(row.values + prior[row.rows])[new])[:5]]
        assert (best < 20).all()


def test_without_later_orders_the_model_is_the_default(
    tastes: tuple[Shop, Learned], tmp_path: Path
) -> None:
    """And says that it learned from nothing."""
    assert fit(*tastes, NOW, 200 * DAY_US, tmp_path) == PersonalModel()


def test_a_model_survives_its_file(tmp_path: Path) -> None:
    """Every number, and the settings."""
    model = PersonalModel(
        settings=PersonalSettings(target_kind=1),
        weights=tuple(0.1 * place for place in range(len(FEATURES))),
        n_cases=3,
        loss=1.25,
    )
    write_model(model, tmp_path / "model.json")

    assert read_model(tmp_path / "model.json") == model


@pytest.mark.parametrize(
    ("settings", "low_keys"),
    [
        (ReferenceSettings(), [1, 2, 4]),
        (ReferenceSettings(customers=2), [1, 2]),
        (ReferenceSettings(entries=5), [1, 2]),
        (ReferenceSettings(entries=4), [1]),
    ],
)
def test_a_reference_is_bounded_by_customers_and_by_what_they_know(
    settings: ReferenceSettings, low_keys: list[int]
) -> None:
    """By low key; who knows a single offer (3) tells nothing of what goes with what."""
    low = np.array([4, 3, 2, 1], dtype=np.uint64)
    known = [2, 1, 2, 3]
    history = Histories(
        key_hi=np.arange(4, dtype=np.uint64),
        key_lo=low,
        last_us=np.zeros(4, dtype=np.int64),
        order_starts=np.arange(5),
        order_age_days=np.ones(4),
        entry_starts=np.cumsum([0, *known]),
        entry_offer=np.concatenate([np.arange(n) for n in known]),
        use_starts=np.arange(9),
        use_order=np.repeat(np.arange(4), known),
    )
    reference = learn_reference(history, 1.0, settings)

    assert sorted(reference.keys[:, 1].tolist()) == low_keys
    assert np.diff(reference.starts).tolist() == [
        n for n, key in zip(known, low.tolist(), strict=True) if key in low_keys
    ]


def test_candidates_are_own_near_and_popular(tmp_path: Path) -> None:
    """Each once, rising; the best near one that is not own."""
    history = Histories(
        key_hi=np.array([1], dtype=np.uint64),
        key_lo=np.array([1], dtype=np.uint64),
        last_us=np.array([0]),
        order_starts=np.array([0, 1]),
        order_age_days=np.array([1.0]),
        entry_starts=np.array([0, 2]),
        entry_offer=np.array([3, 8]),
        use_starts=np.array([0, 1, 2]),
        use_order=np.array([0, 0]),
    )
    reach = np.array([1, 2, 3, 4, 5, 6])
    near = np.array([[0.0, 0.1, 0.9, 0.0, 0.2, 0.0]], dtype=np.float32)
    other = np.array([[0.3, 0.0, 0.0, 0.0, 0.0, -0.2]], dtype=np.float32)
    candidates = make_candidates(
        history, [near, other], reach, np.array([0, 8]), n_offers=9, new_per_source=1
    )

    assert candidates.offer.tolist() == [0, 1, 3, 5, 8]
    assert candidates.entry.tolist() == [-1, -1, 0, -1, 1]


@given(
    values=st.lists(st.integers(-3, 9), min_size=1, max_size=150),
    top=st.integers(1, 3),
    n_rows=st.integers(1, 3),
)
def test_each_source_names_its_highest_offers(values: list[int], top: int, n_rows: int) -> None:
    """However many there are, ties to the first; and the source says afterwards what it said."""
    n = len(values)
    rows = np.stack([np.roll(values, row) for row in range(n_rows)]).astype(np.float32)
    before = rows.copy()
    history = Histories(
        key_hi=np.zeros(n_rows, dtype=np.uint64),
        key_lo=np.arange(n_rows, dtype=np.uint64),
        last_us=np.zeros(n_rows, dtype=np.int64),
        order_starts=np.arange(n_rows + 1),
        order_age_days=np.ones(n_rows),
        entry_starts=np.arange(n_rows + 1),
        entry_offer=np.zeros(n_rows, dtype=np.int64),
        use_starts=np.arange(n_rows + 1),
        use_order=np.arange(n_rows),
    )
    found = make_candidates(
        history,
        [rows],
        np.arange(n),
        np.empty(0, dtype=np.int64),
        n_offers=n,
        new_per_source=top,
    )
    for row in range(n_rows):
        others = sorted(range(1, n), key=lambda offer: (-before[row, offer], offer))
        expected = [offer for offer in others if before[row, offer] > 0][:top]
        named = found.offer[found.starts[row] : found.starts[row + 1]]
        assert named.tolist() == sorted([0, *expected])
    assert rows.tolist() == before.tolist()

    parts = [
        make_candidates(
            history.part(row, row + 1),
            [rows[row : row + 1]],
            np.arange(n),
            np.empty(0, dtype=np.int64),
            n_offers=n,
            new_per_source=top,
        )
        for row in range(n_rows)
    ]
    joined = joined_candidates(parts, history.entry_starts[:-1])
    assert joined.starts.tolist() == found.starts.tolist()
    assert joined.offer.tolist() == found.offer.tolist()
    assert joined.entry.tolist() == found.entry.tolist()


odd_lines = st.lists(
    st.builds(
        Line,
        customer=st.integers(0, 3),
        order=st.integers(1, 6),
        item=st.integers(0, 4),
        day=st.sampled_from([0.0, 0.0, 1.0, 50.0, 99.9, 3000.0]),
        kind=st.sampled_from([0, 0, 1]),
        hour_of_week=st.integers(0, 167),
    ),
    max_size=14,
)


@settings(max_examples=8, deadline=None)
@given(lines=odd_lines, target_kind=st.sampled_from([0, 1]), until_day=st.sampled_from([40, 4000]))
def test_any_shop_gives_finite_numbers(lines: list[Line], target_kind: int, until_day: int) -> None:
    """No orders, one order, equal times, guests only, views only, orders shared by customers."""
    folder = Path(tempfile.mkdtemp())
    try:
        shop = write_shop(
            folder / "shop", lines, n_items=5, categories=["a > b", "a", None, "", "c"]
        )
        check_finite(shop, folder, target_kind, Cut(until_us=until_day * DAY_US, holdout_share=0.0))
    finally:
        shutil.rmtree(folder)


@pytest.mark.parametrize("n_items", [0, 1])
def test_a_shop_may_be_empty(tmp_path: Path, n_items: int) -> None:
    """No events at all, and no or one item."""
    check_finite(write_shop(tmp_path / "shop", [], n_items=n_items), tmp_path, 0, LATE)


def test_an_item_may_have_no_offer(tmp_path: Path) -> None:
    """Its buyers have a history of nothing, and rows of what others buy."""
    lines = [
        Line(customer=customer, order=customer, item=item, day=90)
        for customer, item in ((1, 0), (2, 1), (3, 1))
    ]
    shop = write_shop(tmp_path / "shop", lines, n_items=2, item_offers=[(1, 0)])
    check_finite(shop, tmp_path, 0, NOW)


def check_finite(shop: Shop, folder: Path, target_kind: int, cut: Cut) -> None:
    """Learn, fit and score; every number is finite, and every customer has a row."""
    learned = learn(shop, folder / "work", cut, counts=CountSettings(target_kind=target_kind))
    model = fit(
        shop,
        learned,
        cut,
        cut.until_us + 4000 * DAY_US,
        folder,
        settings=PersonalSettings(target_kind=target_kind),
    )
    rows = score(shop, learned, model, cut)

    assert [row.key for row in rows] == sorted({row.key for row in rows})
    for row in rows:
        assert np.isfinite(row.values).all()
        assert (np.diff(row.rows.astype(np.int64)) > 0).all()
        assert (np.diff(row.history.astype(np.int64)) > 0).all()
        assert row.n_orders > 0
    for path in learned.globals_dir.glob("*.npy"):
        assert np.isfinite(open_array(path)).all(), path.name
    for name in ("affinity", "context"):
        assert (open_rows(learned.globals_dir, name).counts > 0).all()


def test_settings_reach_the_globals(tmp_path: Path) -> None:
    """A reference of one customer, vectors of four numbers."""
    shop = two_tastes(tmp_path / "shop")
    base = SignalSettings()
    learned = learn(
        shop,
        tmp_path / "work",
        NOW,
        signals=replace(
            base,
            reference=ReferenceSettings(customers=1),
            vectors=replace(base.vectors, dim=4),
        ),
    )

    assert open_array(learned.globals_dir / "offer_vectors.npy").shape == (12, 4)
    assert len(open_array(learned.globals_dir / "reference_keys.npy")) == 1
    assert all(np.isfinite(row.values).all() for row in score(shop, learned))
