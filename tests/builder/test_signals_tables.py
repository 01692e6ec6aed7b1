"""Prior, affinity and context: values worked out on paper, and planted truths that come back."""

from __future__ import annotations

from math import log
from pathlib import Path

import numpy as np
import pytest

from builder.signals.affinity import AffinitySettings
from builder.signals.context import ContextSettings, open_context
from builder.signals.counts import CountSettings
from builder.signals.learn import SignalSettings
from builder.signals.orders import DAY_US
from builder.signals.pairs import item_ranges
from builder.signals.prior import PriorSettings, choose_forgetting
from builder.signals.rows import open_array, open_rows, pack_rows, write_rows
from builder.split import Cut
from tests.builder.signal_shops import Learned, Line, learn, write_shop

CHECKERBOARD_ITEMS = 8


def checkerboard(tmp_path: Path, orders_each: int = 12) -> Learned:
    """Every order holds all items of one parity but one: the missing one goes with it."""
    lines = []
    for number in range(orders_each * CHECKERBOARD_ITEMS):
        left_out = number % CHECKERBOARD_ITEMS
        lines += [
            Line(customer=number + 1, order=number + 1, item=item)
            for item in range(CHECKERBOARD_ITEMS)
            if item % 2 == left_out % 2 and item != left_out
        ]
    return learn(write_shop(tmp_path / "shop", lines, n_items=8), tmp_path / "work")


def test_affinity_of_a_checkerboard_is_its_colour(tmp_path: Path) -> None:
    """Each item's row names exactly the other items of its parity, with positive lift."""
    table = open_rows(checkerboard(tmp_path).globals_dir, "affinity")

    for item in range(CHECKERBOARD_ITEMS):
        rows, values, counts = table.row(item)
        assert rows.tolist() == [o for o in range(8) if o % 2 == item % 2 and o != item]
        assert (values > 0.5).all()
        assert (counts == 24).all()


def test_vectors_of_a_checkerboard_are_its_colours(tmp_path: Path) -> None:
    """Unit vectors; the same parity is near, the other is far."""
    globals_dir = checkerboard(tmp_path).globals_dir
    items = open_array(globals_dir / "item_vectors.npy")
    near = items @ open_array(globals_dir / "offer_vectors.npy").T
    same = np.add.outer(np.arange(8), np.arange(8)) % 2 == 0
    others = same & ~np.eye(8, dtype=bool)

    assert np.allclose(np.linalg.norm(items, axis=1), 1.0, atol=1e-5)
    assert near[others].min() > near[~same].max() + 0.1


def test_affinity_is_the_formula_on_paper(tmp_path: Path) -> None:
    """Four orders, item 0 in three of them, twice with item 1, which is in no other."""
    lines = [
        Line(customer=order, order=order, item=item)
        for order, items in ((1, (0, 1)), (2, (0, 1)), (3, (0,)), (4, (2,)))
        for item in items
    ]
    learned = learn(write_shop(tmp_path / "shop", lines, n_items=3), tmp_path / "work")
    rows, values, counts = open_rows(learned.globals_dir, "affinity").row(0)
    s = AffinitySettings()
    share = 2.5 / 5

    assert rows.tolist() == [1]
    assert values[0] == pytest.approx(log(1 + s.trust * 2 / (3 + s.shrinkage_orders) / share))
    assert counts.tolist() == [2]


def test_affinity_has_a_direction(tmp_path: Path) -> None:
    """A lead follows from its pencil more than the pencil from a lead that fits anything."""
    lines = []
    for order in range(1, 101):
        items = (0, 1) if order <= 10 else (0, 2) if order <= 60 else (3,)
        lines += [Line(customer=order, order=order, item=item) for item in items]
    learned = learn(write_shop(tmp_path / "shop", lines, n_items=4), tmp_path / "work")
    table = open_rows(learned.globals_dir, "affinity")

    def chance(item: int, offer: int) -> float:
        """Share of the offer times exp(value): what the row's order goes by."""
        rows, values, _ = table.row(item)
        share = (10.5 if offer == 1 else 60.5) / 101
        return share * float(np.exp(values[rows == offer][0]))

    assert chance(1, 0) > chance(0, 1)


def test_prior_is_finite_for_what_was_never_sold(tmp_path: Path) -> None:
    """And lower than anything sold; the more orders, the higher."""
    lines = [Line(customer=1, order=order, item=0) for order in range(1, 9)]
    lines += [Line(customer=2, order=20, item=1)]
    learned = learn(write_shop(tmp_path / "shop", lines, n_items=3), tmp_path / "work")
    prior = open_array(learned.globals_dir / "prior.npy")

    assert prior.dtype == np.float32
    assert np.isfinite(prior).all()
    assert prior[0] > prior[1] > prior[2]


def test_prior_is_the_log_of_a_share_however_large(tmp_path: Path) -> None:
    """Ten orders with item 0, five of them with item 1: in the unit of lifts, never above 0."""
    lines = [Line(customer=1, order=order, item=0) for order in range(1, 11)]
    lines += [Line(customer=1, order=order, item=1) for order in range(1, 6)]
    settings = SignalSettings(prior=PriorSettings(half_lives_days=(None,)))
    learned = learn(write_shop(tmp_path / "s", lines, n_items=2), tmp_path / "w", signals=settings)
    prior = open_array(learned.globals_dir / "prior.npy")

    assert prior.tolist() == pytest.approx([log(10.5 / 11), log(5.5 / 11)], abs=1e-6)


def test_prior_forgets_with_its_half_life(tmp_path: Path) -> None:
    """Equal counts: with decay the recent one leads, without they are equal."""
    lines = [Line(customer=1, order=n + 1, item=0, day=0) for n in range(200)]
    lines += [Line(customer=1, order=n + 300, item=1, day=60) for n in range(200)]
    shop = write_shop(tmp_path / "shop", lines, n_items=2)
    cut = Cut(until_us=61 * DAY_US, holdout_share=0.0)

    def prior(half_life_days: int | None) -> list[float]:
        folder = tmp_path / f"work-{half_life_days}"
        one = PriorSettings(half_lives_days=(half_life_days,), pseudo_orders=(100.0,))
        settings = SignalSettings(prior=one)
        values: list[float] = open_array(
            learn(shop, folder, cut, signals=settings).globals_dir / "prior.npy"
        ).tolist()
        return values

    old, new = prior(7)
    assert new - old > log(2)
    old, new = prior(None)
    assert new == old


def test_half_life_is_the_one_that_foretells_what_came_later() -> None:
    """Two offers took turns: whoever forgets fast knows which one it is now."""
    fast, never = (7, 10.0), (None, 10.0)
    shares = {never: np.array([0.5, 0.5]), fast: np.array([0.2, 0.8])}

    assert choose_forgetting(np.array([10.0, 90.0]), shares) == fast
    assert choose_forgetting(np.array([50.0, 50.0]), shares) == never
    # Three of four are no proof yet, and without later orders there is nothing to go by.
    assert choose_forgetting(np.array([1.0, 3.0]), shares) == never
    assert choose_forgetting(np.array([0.0, 0.0]), shares) == never


def test_prior_learns_how_fast_a_shop_forgets(tmp_path: Path) -> None:
    """Every fortnight another item is in fashion; or the same ones sell all the time."""

    def prior(name: str, items: list[int]) -> list[float]:
        lines = [
            Line(customer=1, order=n + 1, item=item, day=n / 10) for n, item in enumerate(items)
        ]
        cut = Cut(until_us=101 * DAY_US, holdout_share=0.0)
        settings = CountSettings(foretold_days=7)
        shop = write_shop(tmp_path / name, lines, n_items=8)
        learned = learn(shop, tmp_path / f"{name}-work", cut, counts=settings)
        values: list[float] = open_array(learned.globals_dir / "prior.npy").tolist()
        return values

    fashions = prior("fashions", [n // 140 for n in range(1000)])
    steady = prior("steady", [n % 8 for n in range(1000)])

    # A seventh of the orders that each old fashion had is enough for the newest one.
    assert fashions[6] > fashions[7] > max(fashions[:5])
    assert steady == pytest.approx([log(125.5 / 1001)] * 8, abs=0.02)


def test_days_without_hours_speak_for_all_their_hours(tmp_path: Path) -> None:
    """Times at midnight: item 1 is for Tuesdays, at whatever hour it is asked for."""
    rng = np.random.default_rng(8)
    lines = []
    for customer in range(1, 1201):
        day = customer % 7
        wants = rng.random() < (0.6 if day == 1 else 0.1)
        lines += [
            Line(customer=customer, order=customer, item=item, hour_of_week=24 * day)
            for item in ((0, 1) if wants else (0,))
        ]
    learned = learn(write_shop(tmp_path / "shop", lines, n_items=2), tmp_path / "work")
    table = open_context(learned.globals_dir)
    lifts = {}
    for place, (feature, value) in enumerate(table.names):
        rows, values, _ = table.rows.row(place)
        lifts[feature, int(value)] = dict(zip(rows.tolist(), values.tolist(), strict=True)).get(1)

    assert len(lifts) == 168
    assert len({lifts["hour_of_week", hour] for hour in range(24, 48)}) == 1
    assert lifts["hour_of_week", 33] == pytest.approx(log(0.6 / 0.17), abs=0.3)


def test_a_half_life_that_sees_nothing_falls_back_to_all_orders(tmp_path: Path) -> None:
    """Tables made for a moment long after the last order."""
    lines = [Line(customer=1, order=order, item=order % 2) for order in range(1, 4)]
    settings = SignalSettings(prior=PriorSettings(half_lives_days=(7,)))
    learned = learn(write_shop(tmp_path / "s", lines, n_items=2), tmp_path / "w", signals=settings)
    prior = open_array(learned.globals_dir / "prior.npy")

    assert prior[1] == pytest.approx(log(2.5 / 4), abs=1e-6)
    assert prior[1] > prior[0]


def devices(tmp_path: Path, *, matters: bool) -> dict[tuple[str, str], dict[int, float]]:
    """800 customers with an order each; item 1 is for phones, or for whoever likes it."""
    rng = np.random.default_rng(3)
    lines = []
    for customer in range(1, 801):
        device = "phone" if rng.random() < 0.5 else "desk"
        wants = rng.random() < ((0.5 if device == "phone" else 0.1) if matters else 0.3)
        lines += [
            Line(customer=customer, order=customer, item=item, context={"device": device})
            for item in ((0, 1) if wants else (0,))
        ]
    learned = learn(
        write_shop(tmp_path / "shop", lines, n_items=2, contexts=["device"]), tmp_path / "work"
    )
    table = open_context(learned.globals_dir)
    found = {}
    for place, name in enumerate(table.names):
        rows, values, _ = table.rows.row(place)
        found[name] = dict(zip(rows.tolist(), values.tolist(), strict=True))
    return found


def test_context_that_matters_is_found(tmp_path: Path) -> None:
    """Half of the phones and a tenth of the desks want it, 0.3 of all."""
    lifts = devices(tmp_path, matters=True)

    assert lifts["device", "phone"][1] == pytest.approx(log(0.5 / 0.3), abs=0.2)
    assert lifts["device", "desk"][1] == pytest.approx(log(0.1 / 0.3), abs=0.3)
    assert abs(lifts["device", "phone"][0]) < 0.05


def test_context_that_says_nothing_gets_no_rows(tmp_path: Path) -> None:
    """The halves of the customers do not agree on anything."""
    assert devices(tmp_path, matters=False) == {}


def test_one_customers_habit_is_not_a_context(tmp_path: Path) -> None:
    """Stores with one regular each: their baskets must not pass for what the store sells."""
    rng = np.random.default_rng(5)
    lines = []
    for customer in range(1, 41):
        favourite = int(rng.integers(0, 10))
        lines += [
            Line(
                customer=customer,
                order=customer * 100 + visit,
                item=favourite,
                context={"store": f"s{customer % 20}"},
            )
            for visit in range(30)
        ]
    learned = learn(
        write_shop(tmp_path / "shop", lines, n_items=10, contexts=["store"]), tmp_path / "work"
    )
    table = open_context(learned.globals_dir)
    stores = [place for place, (feature, _) in enumerate(table.names) if feature == "store"]
    largest = max((float(np.abs(table.rows.row(place)[1]).max()) for place in stores), default=0.0)

    # Counted as independent orders, half of a store's orders would be a lift of log(5).
    assert largest < log(5) / 2


def test_what_few_customers_taste_hides_no_context(tmp_path: Path) -> None:
    """A fifth of the items are for sale, the others free, and everybody has a taste of their own.

    Most items are liked in one half of the customers only: against the shares of all, either half
    would seem to contradict what the other one says.
    """
    rng = np.random.default_rng(6)
    lines = []
    for customer in range(1, 61):
        tastes = rng.integers(0, 40, 4)
        for visit in range(25):
            item = int(rng.choice(tastes))
            context = {"cost": "free" if item % 5 else "paid"}
            order = customer * 100 + visit
            lines.append(Line(customer=customer, order=order, item=item, context=context))
    learned = learn(
        write_shop(tmp_path / "shop", lines, n_items=40, contexts=["cost"]), tmp_path / "work"
    )
    table = open_context(learned.globals_dir)
    rows, values, _ = table.rows.row(table.names.index(("cost", "paid")))
    lifts = dict(zip(rows.tolist(), values.tolist(), strict=True))
    share = sum(line.context["cost"] == "paid" for line in lines) / len(lines)

    assert min(lifts[item] for item in lifts if item % 5 == 0) > log(1 / share) / 2
    assert max(lifts[item] for item in lifts if item % 5) < -0.5


def test_a_column_said_twice_has_rows_once(tmp_path: Path) -> None:
    """A device, the same in other words, a constant, a name nobody shares, and one of many."""
    rng = np.random.default_rng(4)
    lines = []
    for customer in range(1, 801):
        device = "phone" if rng.random() < 0.5 else "desk"
        context = {
            "device": device,
            "platform": f"is-{device}",
            "site": "on",
            "visit": f"v{customer}",
            "agent": f"agent/{rng.integers(0, 40)}",
        }
        wants = rng.random() < (0.5 if device == "phone" else 0.1)
        lines += [
            Line(customer=customer, order=customer, item=item, context=context)
            for item in ((0, 1) if wants else (0,))
        ]
    names = ["agent", "device", "platform", "site", "visit"]
    shop = write_shop(tmp_path / "shop", lines, n_items=2, contexts=names)
    learned = learn(shop, tmp_path / "work")
    again = learn(
        shop,
        tmp_path / "again",
        signals=SignalSettings(context=ContextSettings(features=("agent", "platform"))),
    )

    assert {feature for feature, _ in open_context(learned.globals_dir).names} == {"device"}
    # Of the features that may have rows, the one that says it takes it up.
    assert {feature for feature, _ in open_context(again.globals_dir).names} == {"platform"}


def test_groups_of_items_have_rows_for_every_level(tmp_path: Path) -> None:
    """Whatever tea is in the cart, biscuits go with it; the own items of a group count too."""
    lines = []
    for order in range(1, 61):
        items = (order % 3, 3) if order % 2 else (4,)
        lines += [Line(customer=order, order=order, item=item) for item in items]
    shop = write_shop(
        tmp_path / "shop",
        lines,
        n_items=5,
        categories=["Drinks > Tea", "Drinks > Tea", "Drinks > Tea", "Sweets", None],
        prices=[100, 100, 100, 900, 900],
    )
    table = open_context(learn(shop, tmp_path / "work").globals_dir)
    for value in ("drinks", "drinks > tea"):
        rows, values, counts = table.rows.row(table.names.index(("category", value)))
        assert rows.tolist() == [3]
        assert values[0] > 0.1
        assert counts.tolist() == [30]
    assert {value for feature, value in table.names if feature == "price_band"} == {"0", "1"}


def test_rows_come_back_as_they_were_written(tmp_path: Path) -> None:
    """Entries in any order; empty rows and empty tables too."""
    table = pack_rows(
        3, np.array([2, 0, 2]), np.array([9, 4, 1]), np.array([0.5, 1.0, -1.0]), np.array([7, 1, 2])
    )
    write_rows(table, tmp_path, "t")
    rows, values, counts = open_rows(tmp_path, "t").row(2)
    nothing = np.array([], dtype=np.int64)
    write_rows(pack_rows(2, nothing, nothing, nothing.astype(float), nothing), tmp_path, "none")

    assert (rows.tolist(), values.tolist(), counts.tolist()) == ([1, 9], [-1.0, 0.5], [2, 7])
    assert len(open_rows(tmp_path, "t").row(1)[0]) == 0
    assert len(open_rows(tmp_path, "none")) == 2


def test_ranges_cover_every_item_once() -> None:
    """Also when there are fewer items than ranges; there is always one range."""
    for n_items, n_ranges in ((0, 3), (1, 3), (7, 3), (8, 1)):
        covered = [
            item for first, stop in item_ranges(n_items, n_ranges) for item in range(first, stop)
        ]
        assert covered == list(range(n_items))
    assert item_ranges(0, 3) == [(0, 0)]


def test_counted_half_lives_are_a_setting(tmp_path: Path) -> None:
    """The prior and the trend read what was counted."""
    lines = [Line(customer=1, order=1, item=0, day=1)]
    learned = learn(
        write_shop(tmp_path / "shop", lines, n_items=1),
        tmp_path / "work",
        counts=CountSettings(half_lives_days=(3, 30)),
        signals=SignalSettings(prior=PriorSettings(half_lives_days=(30,)), trend_days=3),
    )

    assert np.isfinite(open_array(learned.globals_dir / "trend.npy")).all()
