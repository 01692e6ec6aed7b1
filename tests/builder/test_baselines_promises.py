"""What every baseline promises, whoever asks and whatever was learned from."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builder.baselines import data, default, recent, registry
from builder.baselines.data import Example
from tests.builder.small_history import CARTS, ask, history, offers_for, rows

EVERY = [
    pytest.param(fit, id=f"{question}-{name}")
    for question, fits in (("next", registry.NEXT_ORDER), ("post", registry.POST_PURCHASE))
    for name, fit in fits.items()
    if question == "next" or registry.NEXT_ORDER.get(name) is not fit
]
N_OFFERS = 6
OFFERS = st.lists(st.integers(0, N_OFFERS - 1), unique=True)
ORDERS = st.lists(
    st.tuples(st.integers(-1, 2), st.integers(1, 50), OFFERS.filter(bool)), max_size=12
)


@pytest.mark.parametrize("fit", EVERY)
@given(orders=ORDERS, customer=st.integers(-1, 2), cart=OFFERS, exclude=OFFERS, k=st.integers(1, 8))
@settings(max_examples=30)
def test_every_method_answers_every_example(
    fit: registry.Fit,
    orders: list[tuple[int, int, list[int]]],
    customer: int,
    cart: list[int],
    exclude: list[int],
    k: int,
) -> None:
    """The promised number of offers, each once, none of them excluded."""
    method = fit(history(orders, n_offers=N_OFFERS))

    ranked = offers_for(method, ask(customer, cart=rows(*cart), exclude=rows(*exclude)), k)

    assert len(ranked) == len(set(ranked)) == min(k, N_OFFERS - len(exclude))
    assert not set(ranked) & set(exclude)


@pytest.mark.parametrize("fit", EVERY)
def test_what_is_excluded_makes_room_for_the_next_best(fit: registry.Fit) -> None:
    """Offers 3, 4 and 5 go together; without 3 and 4 a customer of theirs gets 5.

    Whoever knows only popularity goes on with 0, which stands in twice as many orders.
    """
    together = [(customer, day, [3, 4, 5]) for customer in (1, 2) for day in range(60)]
    others = [(-1, day, [0, 1, 2]) for day in range(240)]
    orders = [(0, 1, [3, 4, 5]), (0, 2, [3, 4]), *together, *others]
    method = fit(history(orders, n_offers=6, categories=[0, 0, 0, 1, 1, 1]))
    expected = 0 if fit in {default.fit, recent.fit} else 5

    ranked = offers_for(method, ask(0, cart=rows(3), exclude=rows(3, 4)), k=1)

    assert ranked == [expected]


@pytest.mark.parametrize("fit", EVERY)
def test_every_method_shows_a_stranger_what_is_popular(fit: registry.Fit) -> None:
    """Nothing is known but four orders, in which offer 2 stands most often, then 4, then 1."""
    method = fit(history([(0, 1, [2, 4]), (1, 1, [2, 1]), (1, 1, [2, 4]), (-1, 1, [3])]))

    assert offers_for(method, ask(), k=4) == [2, 4, 1, 3]


@pytest.mark.parametrize("fit", EVERY)
def test_every_method_learns_from_nothing(fit: registry.Fit) -> None:
    assert offers_for(fit(history([])), ask(0, cart=rows(1)), k=2) == [0, 1]


@pytest.mark.parametrize("fit", EVERY)
def test_every_method_ignores_the_order_of_lines(fit: registry.Fit) -> None:
    forwards, backwards = history(CARTS), history([*reversed(CARTS)])

    ranked = [offers_for(fit(lines), ask(0, cart=rows(3)), k=5) for lines in (forwards, backwards)]

    assert ranked[0] == ranked[1]


def test_short_lists_are_padded() -> None:
    method = default.fit(history(CARTS))

    assert method.rank([ask(exclude=rows(0, 1, 2))], k=3).tolist() == [[3, 4, -1]]


@pytest.mark.parametrize("fit", EVERY)
@given(orders=ORDERS, asked=st.lists(st.tuples(st.integers(-1, 2), OFFERS, OFFERS), max_size=70))
@settings(max_examples=20)
def test_many_examples_are_answered_as_each_alone(
    fit: registry.Fit,
    orders: list[tuple[int, int, list[int]]],
    asked: list[tuple[int, list[int], list[int]]],
) -> None:
    method = fit(history(orders, n_offers=N_OFFERS))
    examples = [ask(one, cart=rows(*cart), exclude=rows(*out)) for one, cart, out in asked]

    ranked = method.rank(examples, k=4)

    assert ranked.tolist() == [method.rank([one], k=4)[0].tolist() for one in examples]


def test_tuning_takes_the_best_settings() -> None:
    """Offer 3 goes with item 0 but is rare: it leads item-kNN only when little is shrunk."""
    orders = [(0, 1, [0, 3])] * 6 + [(0, 1, [0, 1])] * 8 + [(1, 1, [1])] * 40
    example = Example(customer=-1, cart=rows(0), truth=rows(1), exclude=rows(0))

    tuned = registry.tune(registry.POST_PURCHASE, history(orders), [example], k=1)

    assert tuned.settings["item_knn"] == "n_neighbours=200, shrinkage=50.0"
    assert tuned.fits["default"] is registry.POST_PURCHASE["default"]
    method = tuned.fits["item_knn"](history(orders))
    assert offers_for(method, example, k=1) == [1]


@pytest.mark.parametrize(
    ("fits", "names"),
    [
        (registry.NEXT_ORDER, {"tifu_knn", "ease", "rp3beta"}),
        (registry.POST_PURCHASE, {"tifu_knn", "ease", "rp3beta", "item_knn", "v_sknn"}),
    ],
)
def test_every_published_method_is_tuned(fits: Mapping[str, registry.Fit], names: set[str]) -> None:
    example = Example(customer=0, cart=rows(0), truth=rows(1), exclude=rows(0))

    tuned = registry.tune(fits, history(CARTS), [example], k=1)

    assert tuned.settings.keys() == names
    assert tuned.fits.keys() == fits.keys()


def test_tuning_without_examples_changes_nothing() -> None:
    tuned = registry.tune(registry.NEXT_ORDER, history(CARTS), [], k=1)

    assert tuned.fits == dict(registry.NEXT_ORDER)
    assert tuned.settings == {}


@pytest.mark.parametrize("fit", EVERY)
def test_offers_may_hold_several_items(fit: registry.Fit) -> None:
    """Items 0 and 1 stand for offer 1, item 2 for none: carts are items, answers are offers."""
    lines = [(0, 0, 1, 0), (0, 0, 0, 3), (1, 1, 1, 1), (1, 1, -1, 2)]
    customer, order, offer, item = (rows(*values) for values in zip(*lines, strict=True))
    stock = data.make_history(
        customer=customer,
        order=order,
        ts_us=order,
        offer_row=offer,
        item_row=item,
        hour_of_week=np.full(4, -1),
        context={},
        item_category=np.full(4, -1),
        n_customers=2,
        n_offers=2,
    )

    assert offers_for(fit(stock), ask(cart=rows(2)), k=2) == [1, 0]
