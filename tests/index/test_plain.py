"""Plain requests: compiled code decides what the files beside it would, to the last bit."""

from __future__ import annotations

import random
from collections import OrderedDict, defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from index.answer import answer
from index.compiled import IS_COMPILED
from index.context import HOURS, hour_of_week
from index.decide import decide
from index.encode import decision_json
from index.generation import Generation, Reader
from index.layout import NO_ROW
from index.model import WITH_CART, Feature, TierModel
from index.plain import plain_decider
from index.records import NO_PRICE, ItemRecord
from index.request import CartLine, Ceiling, ContextValue, Decision, Request
from index.snapshot import open_snapshot
from tests.index.asking import Shop, rows_of
from tests.index.test_fuzz import carts, contexts, item_ids, moments, strict_offers, text
from tests.toys import N_OFFERS, SECRET, item_id, toy_item, toy_model, write_toy

pytestmark = pytest.mark.skipif(not IS_COMPILED, reason="installed without a C compiler")

N_SHOPS = 4
TIERS = ("individual", "thin", "context", "prior", *WITH_CART.values())
SIGNALS = ("personal", "cart", "cart_sum", "viewed", "viewed_sum", "similar")
FEATURES = ("hour_of_week", "device", "category", "price_band", "store")
NOTHING = np.empty(0, dtype=np.float32)


def random_shop(seed: int, directory: str) -> None:
    """Rows, weights and conditions by lot; of some items only a vector, or nothing, is known."""
    draw = np.random.default_rng(seed)

    def row() -> dict[int, float]:
        offers = draw.choice(N_OFFERS, draw.integers(0, 12), replace=False)
        return {int(offer): float(draw.normal()) for offer in offers}

    def item(number: int) -> ItemRecord:
        lifts = row() if draw.random() < 0.8 else {}
        rows = np.array(sorted(lifts), dtype=np.uint32)
        has_vector = draw.random() < 0.2
        return ItemRecord(
            item_row=number,
            n_orders=5,
            price_cents=NO_PRICE if draw.random() < 0.3 else int(draw.integers(0, 1000)),
            category_row=NO_ROW if draw.random() < 0.3 else int(draw.integers(3, 5)),
            own_offers=[number, *([(number + 1) % N_OFFERS] if draw.random() < 0.3 else [])],
            rows=rows,
            values=np.array([lifts[one] for one in rows.tolist()], dtype=np.float32),
            counts=np.ones(len(rows), dtype=np.uint32),
            vector=np.eye(4, dtype=np.float32)[number % 4] if has_vector else NOTHING,
        )

    def tier() -> TierModel:
        names = (*SIGNALS, *(f"context:{name}" for name in FEATURES))
        weights = {name: float(draw.normal(1.0)) for name in names if draw.random() < 0.8}
        return TierModel(weights=weights, slope=float(draw.normal(1.0)), intercept=0.3)

    model = toy_model(
        tiers={name: tier() for name in TIERS if name in TIERS[:4] or draw.random() < 0.7},
        cart_power=float(draw.random()),
        viewed_decay=float(draw.random()),
        placements=("home",),
        repeat={"*": "allow", "home": "exclude", "shelf": 0.5},
        price_edges_cents=(500,),
    )
    write_toy(
        directory,  # type: ignore[arg-type]
        model=model,
        offers=strict_offers(),
        contexts={number: row() for number in range(9)},
        items={item_id(number): item(number) for number in range(N_OFFERS)},
    )


@pytest.fixture(scope="module")
def shops(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[list[tuple[Generation, Generation]]]:
    """Shops by lot, each opened twice; the second asks compiled code for sums alone."""
    opened = []
    for seed in range(N_SHOPS):
        directory = tmp_path_factory.mktemp("by-lot") / "snapshot"
        random_shop(seed, directory)  # type: ignore[arg-type]
        plain, whole = open_snapshot(directory, SECRET), open_snapshot(directory, SECRET)
        whole.is_plain = False
        opened.append((plain, whole))
    yield opened
    for pair in opened:
        for generation in pair:
            generation.close()


requests = st.builds(
    Request,
    placement=st.sampled_from(["default", "home", "shelf"]) | text,
    customer_id=st.none() | st.sampled_from(["ann", "bob"]) | text,
    k=st.integers(1, 20),
    at=st.none() | moments,
    context=contexts,
    cart=carts,
    viewed=st.lists(item_ids, max_size=4),
    exclude=st.lists(item_ids, max_size=1),
    repeat=st.sampled_from([None, "allow", "exclude", 0.5]),
    request_id=st.none() | text,
)


@given(
    number=st.integers(0, N_SHOPS - 1),
    request=requests,
    at_most=st.sampled_from([None, "context", "prior"]),
)
def test_any_request_is_decided_alike(
    shops: list[tuple[Generation, Generation]],
    number: int,
    request: Request,
    at_most: Ceiling | None,
) -> None:
    plain, whole = shops[number]
    ours, theirs = (decide(one, request, at_most=at_most) for one in (plain, whole))
    assert as_bytes(ours) == as_bytes(theirs)
    for one in (plain, whole):
        written = answer(one, request, at_most=at_most)
        assert written.body == decision_json(theirs)
        assert written.tier == theirs.tier
        assert written.n_offers == len(theirs.offers)
        assert written.first_score == (theirs.offers[0].score if theirs.offers else 0.0)
    assert plain.damaged == whole.damaged == 0


def as_bytes(decision: Decision) -> bytes:
    """All of a decision, floats to the last bit."""
    return msgspec.msgpack.encode(decision)


def test_what_shops_are_asked_most_is_decided_by_compiled_code(
    shops: list[tuple[Generation, Generation]],
) -> None:
    draw = random.Random(3)
    n_plain = n = 0
    for plain, whole in shops:
        for _ in range(250):
            cart = [
                CartLine(item_id=item_id(draw.randrange(45))) for _ in range(draw.randrange(40))
            ]
            request = Request(
                placement=draw.choice(["default", "home"]),
                customer_id=draw.choice([None, "ann", "bob"]),
                k=draw.randrange(1, 8),
                at=datetime(2026, 11, 24, tzinfo=UTC) + timedelta(minutes=draw.randrange(20_000)),
                context={"device": draw.choice(["mobile", "desktop", "tv"])},
                cart=cart if draw.random() < 0.5 else [],
                viewed=[item_id(draw.randrange(40)) for _ in range(draw.randrange(3))],
            )
            assert as_bytes(decide(plain, request)) == as_bytes(decide(whole, request))
            reader = plain.enter()
            decider = plain_decider(plain, reader)
            assert decider is not None
            n_plain += decider.decide(request, plain.key_of(request.customer_id)) is not None
            plain.leave(reader)
            n += 1
    assert n_plain > 0.4 * n


def test_the_hour_is_that_of_the_moment_whatever_was_asked_before(shop: Shop) -> None:
    """Compiled code keeps the hour of one minute; here the brand's zone is half an hour off."""
    hours = Feature(
        name="hour_of_week",
        kind="hour_of_week",
        rows={str(hour): hour for hour in range(HOURS)},
    )
    generation = shop(
        model=toy_model(features=(hours,), n_contexts=HOURS, timezone="Asia/Kolkata"),
        contexts={hour: {hour % N_OFFERS: 9.0} for hour in range(HOURS)},
    )
    start = datetime(2026, 11, 24, 9, 29, 59, tzinfo=UTC)
    steps = (timedelta(), timedelta(seconds=1), timedelta(minutes=31), timedelta(days=30))
    moments = [start + step for step in steps]
    local = [moment.astimezone(ZoneInfo("Asia/Kolkata")) for moment in moments]
    unknown = [moment.replace(tzinfo=None) for moment in moments]
    early = [datetime(1880, 1, 1, 0, 38, second, tzinfo=UTC) for second in (49, 51)]  # two hours
    for at in (*moments, *reversed(moments), *local, *unknown, *early, *moments):
        hour = hour_of_week(at, generation.zone)
        assert decide(generation, Request(at=at)).offers[0].offer_row == hour % N_OFFERS


def in_offers(number: int, offers: range) -> ItemRecord:
    """An item that some offers contain."""
    return toy_item(1, {0: 1.0})._replace(item_row=number, own_offers=offers)


@pytest.mark.parametrize("n", [256, 257, 0xFFFF])
@pytest.mark.parametrize("at_most", [None, "prior"])
def test_a_cart_whose_items_are_in_many_offers_is_left_to_others(
    shop: Shop, n: int, at_most: Ceiling | None
) -> None:
    """Compiled code looks through all of these offers for each of them: a second where n is 64k."""
    some, more = in_offers(100, range(10, 110)), in_offers(101, range(110, 10 + n))
    generation = shop(items={"some": some, "more": more})
    cart = [CartLine(item_id=name) for name in ("some", "some", "more", "more")]
    decision = decide(generation, Request(cart=cart), at_most=at_most)
    reader = generation.enter()
    decider = plain_decider(generation, reader)
    assert decider is not None
    decided = decider.decide(Request(cart=cart), None, at_most)
    generation.leave(reader)

    assert rows_of(decision) == [*range(10)]
    assert (decided is not None) == (n <= 256)


@pytest.mark.parametrize("kind", [OrderedDict, partial(defaultdict, str), MappingProxyType])
def test_what_is_like_a_dict_is_taken_for_one(toy: Generation, kind: Any) -> None:
    context = dict[str, ContextValue](device="mobile", store=True)
    expected = decide(toy, Request(context=context))

    assert decide(toy, Request(context=kind(context))) == expected
    assert expected.tier == "context"


def test_a_brand_that_asks_for_something_special_has_no_plain_requests(shop: Shop) -> None:
    for special in (
        {"values": np.ones(N_OFFERS, dtype=np.float32)},
        {"reserve": {"*": 0.1}},
        {"exploration": 0.1},
    ):
        generation = shop(model=toy_model(**special))
        reader = generation.enter()
        assert plain_decider(generation, reader) is None
        generation.leave(reader)


def test_a_minute_of_an_old_zone_has_two_hours(shop: Shop) -> None:
    """Berlin was 53 minutes and 28 seconds ahead of UTC until 1893: 9 o'clock was at 8:06:32."""
    generation = shop()
    before, after = (datetime(1890, 1, 7, 8, 6, second, tzinfo=UTC) for second in (20, 40))

    shown = [decide(generation, Request(at=at, k=12)).offers for at in (before, after, before)]

    lifts = [{one.offer_row: one.score for one in offers}[10] for offers in shown]
    assert lifts[1] - lifts[0] == pytest.approx(1.0)
    assert lifts[2] == lifts[0]


@pytest.mark.parametrize(
    "kinds", [("customer_data", "item_data"), ("context_data",), ("offer_data",)]
)
@pytest.mark.parametrize("cut", [0, 8, 15, 16, 20, 40])
def test_a_record_that_is_cut_short_is_damage_and_no_more(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, cut: int, kinds: tuple[str, ...]
) -> None:
    """Its numbers speak of parts that are not there: nothing beyond its end is read."""
    generation = shop()
    reader = generation.enter()
    generation.leave(reader)
    for name in kinds:
        whole = getattr(Reader, name)

        def short(one: Reader, key: object, whole: Any = whole) -> memoryview | None:
            data: memoryview | None = whole(one, key)
            return None if data is None else data[:cut]

        monkeypatch.setattr(Reader, name, short)
    cart, device = [CartLine(item_id=item_id(1))], dict[str, ContextValue](device="mobile")
    request = Request(customer_id="ann", cart=cart, context=device, k=3)
    decision = decide(generation, request)
    assert len(decision.offers) == 3
    assert (decision.tier, generation.damaged) == ("safe", 1)
