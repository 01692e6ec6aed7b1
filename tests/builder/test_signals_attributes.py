"""New items get the vectors that their texts foretell."""

from __future__ import annotations

import numpy as np
import pytest

from builder.signals.attributes import RIDGE, attributes_of, foretell


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    """Of two vectors, or of rows, on average."""
    lengths = np.linalg.norm(one, axis=-1) * np.linalg.norm(other, axis=-1)
    return float(((one * other).sum(axis=-1) / lengths).mean())


def test_an_attribute_is_the_shrunken_mean_of_its_items() -> None:
    """Two kinds of as many items, opposite to each other: their mean is 0, so λ alone shrinks."""
    n_each = 30
    vectors = np.repeat([[1.0, 0.0], [-1.0, 0.0], [9.0, 9.0]], [n_each, n_each, 1], axis=0)
    names = [["tea"]] * n_each + [["jam"]] * n_each + [["tea"]]
    is_known = np.arange(2 * n_each + 1) < 2 * n_each

    told = foretell(vectors, is_known, names)

    assert told == pytest.approx(np.array([[n_each / (n_each + RIDGE), 0.0]]), abs=1e-9)


def test_what_shares_nothing_stays_zero() -> None:
    """A word of one known item alone is as good as its id, and says nothing."""
    vectors = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
    is_known = np.array([True, True, False, False])
    names = [["word a", "word once"], ["word a"], ["word once"], []]

    assert not foretell(vectors, is_known, names).any()
    assert not foretell(vectors, is_known, [[], [], [], []]).any()
    assert foretell(vectors, np.ones(4, dtype=bool), names).shape == (0, 2)


def test_words_tell_more_than_the_category_they_are_in() -> None:
    """What an item is, is in its title; its category is as wide as the shop."""
    rng = np.random.default_rng(2)
    kinds = rng.standard_normal((12, 8))
    kind = rng.integers(0, 12, 600)
    vectors = kinds[kind] + 0.3 * rng.standard_normal((600, 8))
    fillers = rng.integers(0, 200, (600, 3))
    titles = [
        f"Kind{k} {' '.join(f'filler{f}' for f in row)}"
        for k, row in zip(kind, fillers, strict=True)
    ]
    is_known = np.arange(600) < 500

    by_title = foretell(vectors, is_known, [attributes_of(t, "All", None) for t in titles])
    by_category = foretell(vectors, is_known, [attributes_of(None, "All", None) for _ in titles])

    assert cosine(by_title, vectors[~is_known]) > 0.85
    assert cosine(by_category, vectors[~is_known]) < 0.5


def test_a_deeper_category_is_heard_over_the_one_above() -> None:
    """Many of one kind and some of another under the same roof."""
    vectors = np.repeat([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]], [80, 40, 2], axis=0)
    paths = ["Food > Bread"] * 80 + ["Food > Jam"] * 40 + ["food > jam", "Food > Salt"]
    is_known = np.arange(122) < 120

    jam, salt = foretell(vectors, is_known, [attributes_of(None, path, None) for path in paths])

    assert jam[1] > 2 * jam[0]
    assert salt[0] > salt[1]
