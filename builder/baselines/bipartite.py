"""Which items and offers stand in which orders, as sparse matrices of ones."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from builder.baselines.data import History, distinct_pairs


def orders_by_item(history: History) -> Any:
    """Scipy CSR float64, shape (n_items, n_orders)."""
    n_items = history.item_category.size
    order, item = distinct_pairs(history.order, history.item_row, n_items)
    return sparse.csr_matrix((np.ones(order.size), (item, order)), (n_items, history.n_orders))


def orders_by_offer(history: History) -> Any:
    """Scipy CSR float64, shape (n_orders, n_offers)."""
    order, offer = distinct_pairs(history.order, history.offer_row, history.n_offers)
    shape = (history.n_orders, history.n_offers)
    return sparse.csr_matrix((np.ones(order.size), (order, offer)), shape)
