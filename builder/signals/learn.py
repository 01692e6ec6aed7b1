"""The tasks that turn merged counts into the *globals*: one folder of arrays for one cut.

It holds the files of `facts` (with `prior.npy`), `context`, `affinity`, `vectors` and `neighbours`,
and those of `walk`, `regression` and `factors`.
Every later task maps them into memory.

What does not depend on each other is a task of its own, so that they run side by side;
`GatherGlobals` brings their files together.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import duckdb

from builder.duck import connect, literal
from builder.engine import DONE
from builder.signals.affinity import learn_affinity
from builder.signals.context import ContextSettings, learn_context, write_context
from builder.signals.facts import learn_facts, write_facts
from builder.signals.histories import Histories, load_histories
from builder.signals.neighbours import (
    REFERENCE_GAPS,
    ReferenceSettings,
    learn_reference,
    write_reference,
)
from builder.signals.orders import Vocabulary
from builder.signals.prior import PriorSettings, learn_prior
from builder.signals.rows import write_rows
from builder.signals.vectors import VectorSettings, learn_vectors, write_vectors

# The longest first: what is begun last has nothing beside it when all else is done.
PARTS: Final = ("vectors", "context", "offers")


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalSettings:
    """How counts become signals.

    Attributes:
        trend_days: the counted half-life that trends look at.
        reference: see `neighbours`.
        prior: see `prior`.
        context: see `context`.
        vectors: see `vectors`.
    """

    trend_days: int = 7
    reference: ReferenceSettings = field(default_factory=ReferenceSettings)
    prior: PriorSettings = field(default_factory=PriorSettings)
    context: ContextSettings = field(default_factory=ContextSettings)
    vectors: VectorSettings = field(default_factory=VectorSettings)


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnSignals:
    """The task of one part.

    Attributes:
        label: tells the cuts of one build apart in the task's name.
        part: `offers` (their facts, affinity and the reference), `context` or `vectors`.
        merged_dir: result of `merge.MergeCounts`.
        affinity_dirs: results of all `pairs.LearnAffinity` tasks.
        vocabulary: rows of items and offers.
        settings: see there.
    """

    label: str
    part: str
    merged_dir: Path
    affinity_dirs: tuple[Path, ...]
    vocabulary: Vocabulary
    settings: SignalSettings = field(default_factory=SignalSettings)

    @property
    def name(self) -> str:
        return f"{self.part}-{self.label}"

    def run(self, out_dir: Path, memory_bytes: int) -> None:
        with connect(memory_bytes, out_dir) as connection:
            if self.part == "offers":
                self._learn_offers(connection, out_dir)
                return
            shop = (connection, self.merged_dir, self.affinity_dirs, self.vocabulary)
            if self.part == "context":
                write_context(learn_context(*shop, self.settings.context), out_dir)
            else:
                write_vectors(learn_vectors(*shop, self.settings.vectors), out_dir)

    def _learn_offers(self, connection: duckdb.DuckDBPyConnection, out_dir: Path) -> None:
        settings = self.settings
        n_items, n_offers = (
            _count(connection, path)
            for path in (self.vocabulary.items_path, self.vocabulary.offers_path)
        )
        prior = learn_prior(connection, self.merged_dir, n_offers, settings.prior)
        facts = learn_facts(
            connection, self.merged_dir, self.vocabulary, prior, settings.trend_days
        )
        write_facts(facts, out_dir)
        write_rows(learn_affinity(connection, self.affinity_dirs, n_items), out_dir, "affinity")
        half_life_days = REFERENCE_GAPS * facts.order_gap_days
        sample = _load_sample(connection, self.merged_dir)
        write_reference(learn_reference(sample, half_life_days, settings.reference), out_dir)


@dataclass(frozen=True, slots=True, kw_only=True)
class GatherGlobals:
    """The task that brings together what was learned of one cut.

    Attributes:
        label: tells the cuts of one build apart in the task's name.
        learned_dirs: results of all `LearnSignals` and `collaborative.LearnCollaborative` tasks.
    """

    label: str
    learned_dirs: tuple[Path, ...]

    @property
    def name(self) -> str:
        return f"globals-{self.label}"

    def run(self, out_dir: Path, memory_bytes: int) -> None:  # noqa: ARG002 - as every task
        for directory in self.learned_dirs:
            for path in sorted([*directory.glob("*.npy"), *directory.glob("*.json")]):
                if path.name != DONE:
                    shutil.copy(path, out_dir)


def _count(connection: duckdb.DuckDBPyConnection, path: Path) -> int:
    [(n,)] = connection.execute(f"SELECT count(*) FROM read_parquet({literal(path)})").fetchall()
    return int(n)


def _load_sample(connection: duckdb.DuckDBPyConnection, merged_dir: Path) -> Histories:
    """Histories of the sampled customers; ages are told from the sample's newest order."""
    sample = f"read_parquet({literal(merged_dir / 'sample.parquet')})"
    connection.execute(
        f"""
        CREATE TEMP TABLE orders AS
        SELECT (row_number() OVER (ORDER BY customer_hi, customer_lo, order_key) - 1)::UINTEGER
            AS order_row, *
        FROM (SELECT DISTINCT customer_hi, customer_lo, order_key, ts_us FROM {sample})
        """
    )
    connection.execute(
        f"""
        CREATE TEMP TABLE basket_offers AS SELECT order_row, offer_row
        FROM {sample} JOIN orders USING (customer_hi, customer_lo, order_key)
        """
    )
    [(last_us,)] = connection.execute("SELECT coalesce(max(ts_us), 0) FROM orders").fetchall()
    return load_histories(connection, int(last_us))
