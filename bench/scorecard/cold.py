"""Cold start: what customers in no table are shown, by how much their first request tells.

Each order is asked about up to five times: with nothing told but its moment, which a service knows
anyway; with its context; with its context and its first one, two or four items as a cart, where it
holds more. To be found is what the order holds besides its cart, by every method alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from bench.scorecard.lines import (
    FAILED,
    NOT_MEASURED,
    PASSED,
    Bar,
    Bars,
    Line,
    Table,
    Verdict,
    not_measured,
)
from bench.scorecard.people import People, owners_of, without_context
from builder.answering import K
from builder.baselines import default, segment
from builder.cases import Case, Order
from builder.comparison import DEFAULT, OURS, SEGMENT, MethodResult, Score, SliceResult, compare
from builder.gate import MIN_CUSTOMERS
from index.request import CartLine, Request
from index.wording import many

CARTS: Final = (1, 2, 4)
_PLACEMENT: Final = "checkout"
_SEED: Final = 1
_TITLE: Final = "Strangers get more than the default experience"


class Richness(NamedTuple):
    """How much a request tells, and how well it was answered."""

    name: str
    n_cart: int | None
    result: SliceResult


def cold_line(people: People, command: str) -> Line:
    """Ask about the orders of held-out customers."""
    orders = people.held_out
    n_customers = len({one.key for one in orders if len(one.item_ids) > max(CARTS)})
    if n_customers < MIN_CUSTOMERS:
        why = (
            f"{many(n_customers, 'customer')} kept out of learning ordered more than"
            f" {max(CARTS)} items afterwards; at least {MIN_CUSTOMERS} are needed."
        )
        return not_measured("cold", why, command)
    found = [_asked(people, orders, name, n_cart) for name, n_cart in _levels()]
    verdict, sentence = _judged(found)
    return Line(
        part="cold",
        title=_TITLE,
        verdict=verdict,
        sentence=sentence,
        command=command,
        evidence=(_chart(found), _table(found)),
    )


def question(order: Order, n_cart: int | None) -> Case:
    """A question about an order.

    Args:
        order: whose items besides those in the cart are to be found.
        n_cart: how many first items are in the cart; None also keeps the context to itself.
    """
    n = n_cart or 0
    case = Case(
        question="cold",
        order=order,
        key=None,
        request=Request(
            placement=_PLACEMENT,
            k=K,
            at=order.at,
            context=dict(order.context),
            cart=[CartLine(item_id=item_id) for item_id in order.item_ids[:n]],
        ),
        truth=np.array(order.wanted(n), dtype=np.int64),
        cart_rows=np.array(order.item_rows[:n], dtype=np.int64),
        banned=np.array(order.given(n), dtype=np.int64),
    )
    return without_context(case) if n_cart is None else case


def _levels() -> list[tuple[str, int | None]]:
    carts = [(f"cart of {n}", n) for n in CARTS]
    return [("bare request", None), ("context", 0), *carts]


def _asked(people: People, orders: Sequence[Order], name: str, n_cart: int | None) -> Richness:
    fitting = [one for one in orders if len(one.item_ids) > (n_cart or 0)]
    cases = [case for one in fitting if (case := question(one, n_cart)).truth.size]
    cases, ranked, _ = people.ask(cases)
    result = compare(
        question="cold",
        slice_name=name,
        ranked={
            OURS: ranked,
            DEFAULT: people.rank(default.fit(people.history), cases),
            SEGMENT: people.rank(segment.fit(people.history), cases),
        },
        truth=[case.truth for case in cases],
        customers=owners_of(cases),
        n_offers=people.generation.model.n_offers,
        k=K,
        seed=_SEED,
    )
    return Richness(name, n_cart, result)


def _judged(found: Sequence[Richness]) -> tuple[Verdict, str]:
    ratios = {one.name: _ours(one).ratio for one in found}
    known = {name: ratio for name, ratio in ratios.items() if ratio is not None}
    with_cart = [known.get(one.name) for one in found if one.n_cart]
    behind = [name for name, ratio in known.items() if ratio.high < 1]
    lifts = ", ".join(f"{name} {ratio.value:.2f} ×" for name, ratio in known.items())
    asked = found[0].result
    whom = f"{many(asked.n_customers, 'customer')} in no table ({many(asked.n_examples, 'order')})"
    told = f"NDCG@{K} against the shop’s most popular offers, for {whom}: {lifts}."
    if behind:
        return FAILED, f"{told} Surely behind: {', '.join(behind)}."
    if all(ratio is not None and ratio.low > 1 for ratio in with_cart):
        return PASSED, f"{told} Surely ahead with every cart, and never surely behind."
    return NOT_MEASURED, f"{told} With a cart no difference can be shown: too few orders."


def _ours(one: Richness) -> Score:
    return _method(one, OURS).ndcg


def _method(one: Richness, name: str) -> MethodResult:
    found = one.result.of(name)
    assert found is not None, f"{name} ran on every level"
    return found


def _chart(found: Sequence[Richness]) -> Bars:
    rows = []
    for one in found:
        ratio = _ours(one).ratio
        if ratio is not None:
            rows.append(
                Bar(
                    label=one.name,
                    value=ratio.value,
                    text=f"{ratio.value:.2f} ×",
                    low=ratio.low,
                    high=ratio.high,
                    is_ours=True,
                )
            )
    return Bars(
        title=f"NDCG@{K}, times that of the default experience",
        rows=rows,
        reference=1.0,
        note="The dashed line is the default: the most popular offers, without those in the cart."
        " 95 % intervals, whole customers resampled.",
    )


def _table(found: Sequence[Richness]) -> Table:
    header = ["what the request tells", "orders"]
    header += [f"{name} NDCG@{K}" for name in (OURS, DEFAULT, SEGMENT)]
    header += [f"{name} hit@{K}" for name in (OURS, DEFAULT)]
    rows = []
    for one in found:
        ndcgs = [_method(one, name).ndcg.mean.value for name in (OURS, DEFAULT, SEGMENT)]
        hits = [_method(one, name).hit.mean.value for name in (OURS, DEFAULT)]
        cells = [f"{value:.4f}" for value in (*ndcgs, *hits)]
        rows.append([one.name, f"{one.result.n_examples:,}", *cells])
    return Table(
        caption="Orders that hold more than the cart; to be found is what each holds besides. The"
        " segment is that of the cart’s category, the visit’s source and the part of the day.",
        header=header,
        rows=rows,
    )
