"""Who holds which items and offers, as sparse matrices of ones: the graph that walks go over.

An *owner* is an order or a customer. What is known of somebody when offers are chosen belongs to
it: over orders it is the cart, over customers what the customer bought before.

Graphs are kept as long as the history they are of: settings that are tried one after another share
them. Nobody writes into them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
from scipy import sparse

from builder.baselines.data import UNKNOWN, Example, History, distinct_pairs
from builder.baselines.ranking import by_popularity, places
from builder.metrics import Bools, Ints

Known = Callable[[Example], Ints]
"""The item rows that choosing starts from, int64, distinct; none when nothing is known."""

_Made = TypeVar("_Made")


def _kept(make: Callable[[History], _Made]) -> Callable[[History], _Made]:
    """The same, made once of each history, and gone with it."""
    known: WeakKeyDictionary[History, _Made] = WeakKeyDictionary()

    @wraps(make)
    def made(history: History) -> _Made:
        if history not in known:
            known[history] = make(history)
        return known[history]

    return made


@dataclass(frozen=True, slots=True, kw_only=True)
class Bipartite:
    """Items and offers of every owner.

    Attributes:
        items: scipy CSR float64, shape (n_items, n_owners), 1 where an owner holds an item.
        offers: scipy CSR float64, shape (n_owners, n_offers), 1 where an owner holds an offer.
            Columns are places by popularity.
        popular: int64, shape (n_offers,): the offer row of each place.
        known: what an example gives to start from.
    """

    items: Any
    offers: Any
    popular: Ints
    known: Known


@_kept
def over_orders(history: History) -> Bipartite:
    """Every order an owner; what is known is the cart."""
    every = np.ones(history.order.size, dtype=np.bool_)
    return _over(history, history.order, every, history.n_orders, _cart)


@_kept
def over_customers(history: History) -> Bipartite:
    """Every customer an owner, guests left out; what is known is what the customer bought."""
    known = history.customer >= 0
    rows = _matrix(
        history.customer[known],
        history.item_row[known],
        (history.n_customers, history.item_category.size),
    )

    def bought(example: Example) -> Ints:
        customer = example.customer
        places = slice(*rows.indptr[customer : customer + 2]) if customer >= 0 else slice(0)
        return np.asarray(rows.indices[places], dtype=np.int64)

    return _over(history, history.customer, known, history.n_customers, bought)


@_kept
def offers_of_items(history: History) -> Any:
    """Which offers an item is or belongs to, by place: scipy CSR float64, (n_items, n_offers)."""
    shape = (history.item_category.size, history.n_offers)
    return _matrix(history.item_row, offer_places(history), shape)


def ones_at(columns: Sequence[Ints], n_columns: int) -> Any:
    """Rows of ones: scipy CSR float64, shape (n, n_columns), each row in the order given."""
    starts = np.cumsum([0, *(places.size for places in columns)])
    places = np.concatenate([np.empty(0, dtype=np.int64), *columns])
    return sparse.csr_matrix((np.ones(places.size), places, starts), (len(columns), n_columns))


def offer_places(history: History) -> Ints:
    """The place by popularity of every row's offer, -1 where there is none."""
    place = places(by_popularity(history.popularity))
    return np.where(history.offer_row >= 0, place[history.offer_row], UNKNOWN)


def _cart(example: Example) -> Ints:
    return example.cart


def _over(history: History, owner: Ints, lines: Bools, n_owners: int, known: Known) -> Bipartite:
    owner, item = owner[lines], history.item_row[lines]
    offer = offer_places(history)[lines]
    return Bipartite(
        items=_matrix(item, owner, (history.item_category.size, n_owners)),
        offers=_matrix(owner, offer, (n_owners, history.n_offers)),
        popular=by_popularity(history.popularity),
        known=known,
    )


def _matrix(row: Ints, column: Ints, shape: tuple[int, int]) -> Any:
    row, column = distinct_pairs(row, column, shape[1])
    return sparse.csr_matrix((np.ones(row.size), (row, column)), shape)
