"""Vectors for what has none: foretold from category, brand and the words of the title.

A ridge regression from an item's attributes to its vector, fitted on the items that have one: every
attribute gets a vector of its own, and an item's is the sum of its attributes'. Attributes are the
item's category and all above it, its brand, and the words of its title. An attribute that few items
have stays near zero, so that a rare one speaks softly and its parents for it; that is what a mean
over the nearest category with any members lacks.

Solved by conjugate gradients, since words are many and nearly all of them are in few titles.

Sources: Hoerl and Kennard (1970), ridge regression; Gantner et al. (2010), mapping attributes to
factors for new items.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from builder.signals.histories import Floats
from index.context import CATEGORY_SEPARATOR

RIDGE: Final = 10.0
"""In items: an attribute of so many items, and of nothing else, gets half of what their mean is."""

_ROUNDS: Final = 30
_LEAST_ITEMS: Final = 2
_WORD: Final = re.compile(r"\w+")


def attributes_of(title: str | None, category: str | None, brand: str | None) -> list[str]:
    """What is known of an item, each thing once.

    >>> attributes_of("Dark Rye, dark", "Bread > Rye", None)
    ['category bread', 'category bread > rye', 'word dark', 'word rye']
    """
    levels = category.casefold().split(CATEGORY_SEPARATOR) if category else []
    paths = [CATEGORY_SEPARATOR.join(levels[:depth]) for depth in range(1, len(levels) + 1)]
    words = sorted(set(_WORD.findall(title.casefold()))) if title else []
    brands = [f"brand {brand.casefold()}"] if brand else []
    return [*(f"category {path}" for path in paths), *brands, *(f"word {word}" for word in words)]


def foretell(
    vectors: Floats, is_known: NDArray[np.bool_], attributes: Sequence[Sequence[str]]
) -> Floats:
    """Vectors of the rows that have none, in their order.

    Args:
        vectors: float64, shape (n, dim).
        is_known: bool, shape (n,): rows that have one.
        attributes: of every row.

    Returns:
        Float64, shape (number of unknown rows, dim); zero where no attribute is shared with at
        least two known rows.
    """
    known, unknown = np.flatnonzero(is_known).tolist(), np.flatnonzero(~is_known).tolist()
    seen = Counter(name for row in known for name in attributes[row])
    names = sorted(name for name, n_items in seen.items() if n_items >= _LEAST_ITEMS)
    columns = {name: place for place, name in enumerate(names)}
    if not columns or not len(unknown):
        return np.zeros((len(unknown), vectors.shape[1]))
    teaching = _matrix([attributes[row] for row in known], columns)
    asked = _matrix([attributes[row] for row in unknown], columns)
    mean = vectors[known].mean(axis=0)
    told: Floats = asked @ _ridge(teaching, vectors[known] - mean)
    return np.where((np.diff(asked.indptr) > 0)[:, None], told + mean, 0.0)


def _matrix(attributes: Sequence[Sequence[str]], columns: dict[str, int]) -> Any:
    """Which row has which attribute, as a sparse float64 matrix."""
    places = [[columns[name] for name in names if name in columns] for names in attributes]
    starts = np.cumsum([0, *map(len, places)])
    flat = np.array([place for row in places for place in row], dtype=np.int64)
    return sparse.csr_matrix((np.ones(len(flat)), flat, starts), (len(places), len(columns)))


def _ridge(features: Any, targets: Floats) -> Floats:
    """Weights W, shape (m, dim), of the least ‖X·W - Y‖² + λ‖W‖², all columns at once."""
    transposed = features.T.tocsr()
    scale = np.asarray(features.sum(axis=0)).ravel()[:, None] + RIDGE
    weights = np.zeros((features.shape[1], targets.shape[1]))
    left: Floats = transposed @ targets
    direction: Floats = left / scale
    size = (left * direction).sum(axis=0)
    for _ in range(_ROUNDS):
        image = transposed @ (features @ direction) + RIDGE * direction
        step = size / np.maximum((direction * image).sum(axis=0), 1e-300)
        weights += step * direction
        left -= step * image
        scaled = left / scale
        new_size = (left * scaled).sum(axis=0)
        direction = scaled + new_size / np.maximum(size, 1e-300) * direction
        size = new_size
    return weights
