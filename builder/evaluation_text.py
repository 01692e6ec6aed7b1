"""An evaluation for a terminal, a pipe or a log."""

from __future__ import annotations

from builder.comparison import OURS, QUESTION_TITLES, SEGMENT, SLICE_TITLES, title
from builder.evaluation import Evaluation
from builder.report import Figures
from builder.report_ablation import standing
from builder.report_parts import percent
from builder.report_text import aligned, slice_blocks, with_bounds


def evaluation_text(found: Evaluation, *, is_terminal: bool = False) -> str:
    """Every figure of an evaluation, in tables.

    Args:
        found: what was measured.
        is_terminal: draw the main tables with emphasis; otherwise plain aligned text.
    """
    blocks = [
        *slice_blocks(found, is_terminal=is_terminal),
        "intervals are 95 %, × default is of NDCG",
        *further_tables(found),
        "\n".join((f"snapshot: {found.snapshot_id}", *found.notes)),
    ]
    return "\n\n".join(block for block in blocks if block)


def further_tables(found: Figures) -> list[str]:
    """What stands beside the main tables; a block is empty where there is nothing to say."""
    return [_spread(found), _tiers(found), _calibration(found), _segments(found), *_ablation(found)]


def _spread(found: Figures) -> str:
    rows = [
        (
            _place(result.question, result.slice_name),
            with_bounds(ours.ndcg.difference, 4, is_signed=True),
            percent(ours.exposure.coverage, 2),
            percent(ours.exposure.top1_share),
        )
        for result in found.evaluation
        if (ours := result.of(OURS)) is not None
    ]
    header = (f"{OURS} by slice", "NDCG minus default", "coverage", "same first")
    return aligned([header, *rows]) if rows else ""


def _tiers(found: Figures) -> str:
    told = {place: shares for place, shares in found.tier_shares.items() if shares}
    names = sorted({tier for shares in told.values() for tier in shares})
    rows = [
        (_place(*place.split("/")), *(percent(shares.get(tier, 0.0)) for tier in names))
        for place, shares in told.items()
    ]
    return aligned([("share of decisions by tier", *names), *rows]) if rows else ""


def _calibration(found: Figures) -> str:
    blocks = []
    for one in found.calibration:
        curve = one.curve
        bins = zip(curve.mean_probability, curve.positive_share, curve.n_examples, strict=True)
        header = (f"calibration of {one.tier}", "predicted", "observed", "offers")
        rows = [
            (f"bin {place}", percent(predicted, 2), percent(observed, 2), f"{n:,}")
            for place, (predicted, observed, n) in enumerate(bins, start=1)
        ]
        brier = f"  Brier {one.brier:.4f}, of a constant {one.base_brier:.4f}"
        blocks.append(f"{aligned([header, *rows])}\n{brier}")
    return "\n\n".join(blocks)


def _segments(found: Figures) -> str:
    gap = found.segment_gap
    if gap is None or gap.overall is None:
        return ""
    header = (
        f"{OURS} minus {SEGMENT}",
        "customers",
        f"R@{gap.k}",
        f"NDCG@{gap.k}",
        f"value ({gap.value_unit})",
    )
    rows = [
        (
            "all" if one is gap.overall else _orders(one.first, one.last),
            f"{one.n_examples:,}",
            with_bounds(one.recall.difference, 4, is_signed=True),
            with_bounds(one.ndcg.difference, 4, is_signed=True),
            with_bounds(one.value.difference, 2, is_signed=True),
        )
        for one in (*gap.bins, gap.overall)
    ]
    return aligned([header, *rows])


def _orders(first: int, last: int | None) -> str:
    return f"{first}+ past orders" if last is None else f"{first} to {last} past orders"


def _ablation(found: Figures) -> list[str]:
    return [
        aligned(
            [
                (
                    f"{_place(result.question, result.slice_name)}: without",
                    f"R@{result.k} lost",
                    f"NDCG@{result.k} lost",
                    "lists changed",
                    "verdict",
                ),
                *(
                    (
                        one.signal,
                        with_bounds(one.recall, 4, is_signed=True),
                        with_bounds(one.ndcg, 4, is_signed=True),
                        percent(one.changed),
                        standing(one),
                    )
                    for one in result.signals
                ),
            ]
        )
        for result in found.ablation
        if result.signals
    ]


def _place(question: str, slice_name: str) -> str:
    return f"{title(question, QUESTION_TITLES)}, {title(slice_name, SLICE_TITLES).lower()}"
