"""Who took what: the sampled customers' offers as one sparse matrix.

The sample is bounded (`counts.CountSettings.sample_uses`), so that these methods fit into one
process however large the shop is; what they learn is applied to every customer later.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import duckdb
import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from builder.duck import literal
from builder.signals.histories import Ints
from builder.signals.rows import open_array

_PARTS: Final = ("starts", "rows", "values")

Matrix = Any
"""A `scipy.sparse.csr_matrix` of float32; SciPy has no types to say so."""


def load_interactions(
    connection: duckdb.DuckDBPyConnection, merged_dir: Path, *, reach: int, per_customer: int
) -> tuple[Ints, Matrix]:
    """Ones where a sampled customer took an offer.

    Args:
        connection: from `builder.duck.connect`.
        merged_dir: result of `merge.MergeCounts`.
        reach: how many offers at most, those that most customers took.
        per_customer: of more offers a customer counts with those taken most often, then last: what
            is learned costs time by the square of this number.

    Returns:
        The offers, int64, rising; and float32, shape (n_customers, n of these offers), customers by
        low key half, then high one.
    """
    sample = f"read_parquet({literal(merged_dir / 'sample.parquet')})"
    connection.execute(
        f"""
        CREATE TEMP TABLE reached AS
        SELECT offer_row, row_number() OVER (ORDER BY offer_row) - 1 AS place FROM (
            SELECT offer_row FROM {sample} GROUP BY offer_row
            ORDER BY count(DISTINCT (customer_hi, customer_lo)) DESC, offer_row LIMIT {reach})
        """
    )
    taken = connection.execute(
        f"""
        SELECT dense_rank() OVER (ORDER BY customer_lo, customer_hi) - 1 AS customer, place
        FROM (SELECT customer_lo, customer_hi, place, count(*) AS n, max(ts_us) AS last_us
              FROM {sample} JOIN reached USING (offer_row)
              GROUP BY customer_lo, customer_hi, place
              QUALIFY row_number() OVER (PARTITION BY customer_lo, customer_hi
                  ORDER BY n DESC, last_us DESC, place) <= {per_customer})
        ORDER BY customer, place
        """
    ).fetchnumpy()
    offers = connection.execute("SELECT offer_row FROM reached ORDER BY place").fetchnumpy()
    customers = taken["customer"].astype(np.int64)
    shape = (int(customers[-1]) + 1 if len(customers) else 0, len(offers["offer_row"]))
    ones: NDArray[np.float32] = np.ones(len(customers), dtype=np.float32)
    matrix = sparse.csr_matrix((ones, (customers, taken["place"].astype(np.int64))), shape=shape)
    return offers["offer_row"].astype(np.int64), matrix


def takers(interactions: Matrix) -> Ints:
    """How many customers took each offer: int64, shape (n_offers,)."""
    return np.bincount(interactions.indices, minlength=interactions.shape[1]).astype(np.int64)


def most_taken(interactions: Matrix, n: int) -> Ints:
    """Columns of the n offers that most customers took, rising; only such that anybody took."""
    taken = takers(interactions)
    best = np.lexsort((np.arange(len(taken)), -taken))[:n]
    return np.sort(best[taken[best] > 0])


def strongest(scores: NDArray[np.float32], n: int) -> NDArray[np.float32]:
    """Only the n largest magnitudes of each row, others 0; those that tie with the last stay."""
    if n >= scores.shape[1]:
        return scores
    size = np.abs(scores)
    least = np.partition(size, -n, axis=1)[:, -n]
    return np.where(size >= least[:, None], scores, np.float32(0.0))


def strongest_links(links: Matrix, sizes: NDArray[np.float32], n: int) -> Matrix:
    """Only the n links of each row with the largest sizes; those that tie with the last stay.

    Args:
        links: CSR.
        sizes: float32, one for each of the links as they are stored.
        n: at least 1.
    """
    kept = np.ones(links.nnz, dtype=np.bool_)
    lengths = np.diff(links.indptr)
    for row in np.flatnonzero(lengths > n):
        part = slice(links.indptr[row], links.indptr[row + 1])
        kept[part] = sizes[part] >= np.partition(sizes[part], lengths[row] - n)[lengths[row] - n]
    starts = np.append(0, np.cumsum(kept))[links.indptr]
    return sparse.csr_matrix((links.data[kept], links.indices[kept], starts), shape=links.shape)


def write_links(links: Matrix, out_dir: Path, name: str) -> None:
    """Write a sparse matrix from offers to offers as three files, `<name>_….npy`."""
    parts = (links.indptr.astype(np.int64), links.indices.astype(np.int32), links.data)
    for part, values in zip(_PARTS, parts, strict=True):
        np.save(out_dir / f"{name}_{part}.npy", values)


def open_links(globals_dir: Path, name: str) -> Matrix:
    """Map what `write_links` wrote."""
    starts, rows, values = (open_array(globals_dir / f"{name}_{part}.npy") for part in _PARTS)
    return sparse.csr_matrix((values, rows, starts), shape=(len(starts) - 1, len(starts) - 1))
