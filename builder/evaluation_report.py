"""What an evaluation has to tell, as plain values, and what one must know before believing it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from builder.report import Figures, ImportSummary, ShopProfile

FORMAT_VERSION: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What the snapshot had seen of the events, and what was new to it.

    Attributes:
        as_of: the moment the tables stand for; they know nothing later.
        holdout: share of customers that were kept out of the tables; None when the snapshot does
            not say.
        n_orders_learned: orders that the snapshot says it learned from.
        n_orders_before: orders among the events before that moment, of customers that were not kept
            out: what the baselines learn from.
        n_orders_after: orders at or after it, of everybody: what is asked about.
        n_customers_after: different customers with an id among these.
        n_customers_known: those of whom the tables know something.
        n_lines_after: their order lines.
        n_lines_unknown: lines of items that the snapshot does not know, or has in no offer: nothing
            can rank these, and they count for no method.
    """

    as_of: datetime
    holdout: float | None
    n_orders_learned: int
    n_orders_before: int
    n_orders_after: int
    n_customers_after: int
    n_customers_known: int
    n_lines_after: int
    n_lines_unknown: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation(Figures):
    """All that an evaluation has to tell.

    Attributes:
        brand: whose snapshot.
        snapshot_id: which.
        seen: what was new to it.
        min_orders: see `config.Evaluation`.
        shop: what kind of shop the events are of.
        imports: what became of every row of the input.
        notes: sentences a reader should know before believing the figures.
        command: what repeats it.
        format_version: of the JSON form.
    """

    brand: str
    snapshot_id: str
    seen: Seen
    min_orders: int
    shop: ShopProfile
    imports: ImportSummary
    notes: tuple[str, ...]
    command: str
    format_version: int = FORMAT_VERSION


def notes(seen: Seen, *, min_orders: int) -> Iterator[str]:
    """What one must know before believing the figures, a sentence each."""
    yield (
        f"The tables stand for {seen.as_of:%Y-%m-%d %H:%M} UTC and have seen nothing later. The"
        f" {seen.n_orders_after:,} orders since then are what is asked about."
    )
    if seen.n_orders_before == 0:
        yield (
            "The events hold nothing from before, so only default stands beside ours, with the"
            f" snapshot's own counts of {seen.n_orders_learned:,} orders."
        )
    elif seen.n_orders_before == seen.n_orders_learned:
        yield (
            f"The baselines learned from the same {seen.n_orders_before:,} orders as the snapshot."
        )
    else:
        yield (
            f"The baselines learned from {seen.n_orders_before:,} orders of these files, the"
            f" snapshot from {seen.n_orders_learned:,}: they do not know the same past."
        )
    yield _held_out(seen)
    if seen.n_lines_unknown:
        share = seen.n_lines_unknown / seen.n_lines_after
        yield (
            f"{seen.n_lines_unknown:,} of {seen.n_lines_after:,} lines ({share:.1%}) are of items"
            " that the snapshot does not know. Nothing can rank them; they count for no method."
        )
    if min_orders > 1:
        yield (
            f"Offers in fewer than {min_orders} order lines before that moment are neither asked"
            " for nor ranked, by any method."
        )


def _held_out(seen: Seen) -> str:
    known = (
        f"{seen.n_customers_known:,} of the {seen.n_customers_after:,} customers asked about are"
        " known to the tables"
    )
    if seen.holdout is None:
        return (
            f"{known}. The snapshot does not say whether customers were kept out of its tables; if"
            " some were, the baselines know more of them than it does."
        )
    if seen.holdout > 0.0:
        return (
            f"{known}; {seen.holdout:.0%} of all customers were kept out of them on purpose, and"
            " out of what the baselines learned from."
        )
    return f"{known}; nobody was kept out of them on purpose."
