"""Item and offer vectors from co-purchase, for carts and contexts that no table row knows.

The strongest pairs (`pairs`: `links.parquet`) give a sparse matrix of shrunken positive pointwise
mutual information, ln((c + k) / (E + k)); its truncated singular value decomposition U·S·Vᵀ, found
by randomised subspace iteration with a fixed seed (Halko, Martinsson, Tropp 2011), gives U·√S for
items and V·√S for offers: the product of an item's and an offer's vector tells their log-lift.

What has no pairs gets one that its category, its brand and its title foretell (`attributes`); items
of which nothing is known have a row of zeros.

Globals: `item_vectors.npy` float32 (n_items, dim), `offer_vectors.npy` float32 (n_offers, dim),
rows L2-normalised or zero; `item_is_learned.npy`, `offer_is_learned.npy` bool: False where a row is
foretold, or zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import duckdb
import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from builder.duck import literal
from builder.signals.attributes import attributes_of, foretell
from builder.signals.histories import Floats
from builder.signals.orders import Vocabulary
from index.arrays import Vectors

_OVERSAMPLE: Final = 8
_NAMES: Final = ("item_vectors", "offer_vectors", "item_is_learned", "offer_is_learned")


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorSettings:
    """How vectors are made.

    Attributes:
        dim: length of a vector.
        strength: k, in expected orders.
        seed: of the random start.
        rounds: subspace iterations.
    """

    dim: int = 32
    strength: float = 5.0
    seed: int = 1
    rounds: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorTable:
    """The arrays of the module docstring."""

    item_vectors: Vectors
    offer_vectors: Vectors
    item_is_learned: NDArray[np.bool_]
    offer_is_learned: NDArray[np.bool_]


def learn_vectors(
    connection: duckdb.DuckDBPyConnection,
    merged_dir: Path,
    affinity_dirs: Sequence[Path],
    vocabulary: Vocabulary,
    settings: VectorSettings,
) -> VectorTable:
    """Vectors of all items and offers.

    Args:
        connection: from `builder.duck.connect`.
        merged_dir: result of `merge.MergeCounts`.
        affinity_dirs: results of all `pairs.LearnAffinity` tasks.
        vocabulary: rows of items and offers.
        settings: see there.
    """
    links = ", ".join(literal(path / "links.parquet") for path in affinity_dirs)
    merged = {
        name: f"read_parquet({literal(merged_dir / f'{name}.parquet')})"
        for name in ("items", "offers", "totals")
    }
    pairs = connection.execute(
        f"""
        SELECT item_row, offer_row, ln((c + {settings.strength}) / (e + {settings.strength})) AS pmi
        FROM (SELECT item_row, offer_row, l.n_units AS c,
                     i.n_units * o.n_units / (SELECT n_units FROM {merged["totals"]}) AS e
              FROM read_parquet([{links}]) l JOIN {merged["items"]} i USING (item_row)
              JOIN {merged["offers"]} o USING (offer_row))
        ORDER BY item_row, offer_row
        """
    ).fetchnumpy()
    n_items, n_offers = (
        connection.execute(f"SELECT count(*) FROM read_parquet({literal(path)})").fetchall()[0][0]
        for path in (vocabulary.items_path, vocabulary.offers_path)
    )
    matrix = sparse.csr_matrix(
        (
            pairs["pmi"].astype(np.float32),
            (pairs["item_row"].astype(np.int64), pairs["offer_row"].astype(np.int64)),
        ),
        shape=(n_items, n_offers),
    )
    items, offers = factors(matrix, settings)
    return _completed(connection, vocabulary, items, offers)


def factors(matrix: Any, settings: VectorSettings) -> tuple[Floats, Floats]:
    """U·√S and V·√S of a sparse matrix, shapes (n, dim) and (m, dim), zero beyond its rank.

    Signs are fixed by making the largest element of each column of U positive.
    """
    n, m = matrix.shape
    width = min(settings.dim + _OVERSAMPLE, n, m)
    left, right = np.zeros((n, settings.dim)), np.zeros((m, settings.dim))
    if not width or not matrix.nnz:
        return left, right
    transposed = matrix.T.tocsr()
    start = np.random.default_rng(settings.seed).standard_normal((m, width), dtype=np.float32)
    basis = matrix @ start
    for _ in range(settings.rounds):
        basis = matrix @ (transposed @ np.linalg.qr(basis)[0])
    basis = np.linalg.qr(basis)[0]
    small = (transposed @ basis).T
    u, s, vt = np.linalg.svd(small, full_matrices=False)
    kept = int(min(settings.dim, (s > s[0] * 1e-5).sum()))
    u, s, v = basis @ u[:, :kept], s[:kept], vt[:kept].T
    sign = np.sign(u[np.abs(u).argmax(axis=0), np.arange(kept)])
    left[:, :kept], right[:, :kept] = u * sign * np.sqrt(s), v * sign * np.sqrt(s)
    return left, right


def write_vectors(table: VectorTable, out_dir: Path) -> None:
    """Write the files of the module docstring."""
    for name in _NAMES:
        np.save(out_dir / f"{name}.npy", getattr(table, name))


def _completed(
    connection: duckdb.DuckDBPyConnection, vocabulary: Vocabulary, items: Floats, offers: Floats
) -> VectorTable:
    texts = connection.execute(
        f"SELECT title, category, brand FROM read_parquet({literal(vocabulary.items_path)})"
        " ORDER BY item_row"
    ).fetchall()
    links = connection.execute(
        f"""SELECT item_row, offer_row FROM read_parquet({literal(vocabulary.item_offers_path)})
            ORDER BY offer_row, item_row"""
    ).fetchnumpy()
    attributes = [attributes_of(*text) for text in texts]
    offer_attributes: list[list[str]] = [[] for _ in range(len(offers))]
    for item_row, offer_row in zip(links["item_row"], links["offer_row"], strict=True):
        # An offer of several items is filed under the first.
        offer_attributes[offer_row] = offer_attributes[offer_row] or attributes[item_row]
    item_vectors, item_is_learned = _filled(items, attributes)
    offer_vectors, offer_is_learned = _filled(offers, offer_attributes)
    return VectorTable(
        item_vectors=item_vectors,
        offer_vectors=offer_vectors,
        item_is_learned=item_is_learned,
        offer_is_learned=offer_is_learned,
    )


def _filled(vectors: Floats, attributes: list[list[str]]) -> tuple[Vectors, NDArray[np.bool_]]:
    """Normalise learned rows, and foretell the others from their attributes."""
    is_learned = (vectors != 0.0).any(axis=1)
    unit = _normalised(vectors)
    unit[~is_learned] = foretell(unit, is_learned, attributes)
    filled: Vectors = _normalised(unit).astype(np.float32)
    return filled, is_learned


def _normalised(vectors: Floats) -> Floats:
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    normalised: Floats = np.where(length > 1e-12, vectors / np.maximum(length, 1e-12), 0.0)
    return normalised
