"""What stands beside the evaluation's main tables, in plain text."""

from __future__ import annotations

from builder.ablation import SliceAblation
from builder.comparison import OURS, SEGMENT, place_title
from builder.report import Figures
from builder.report_ablation import standing, unheard
from builder.report_parts import percent
from builder.text_tables import aligned, with_bounds


def further_tables(found: Figures) -> list[str]:
    """Coverage, tiers, calibration, and segment against individual, where measured."""
    blocks = (_spread(found), _tiers(found), _calibration(found), _segments(found))
    return [block for block in blocks if block]


def ablation_tables(found: Figures) -> list[str]:
    """What is lost without each signal, a table for each question and slice."""
    return [_ablation(result) for result in found.ablation if result.signals]


def _ablation(result: SliceAblation) -> str:
    header = (
        f"{place_title(result.question, result.slice_name)}: without",
        f"R@{result.k} lost",
        f"NDCG@{result.k} lost",
        "lists changed",
        "verdict",
    )
    rows = [
        (
            one.signal,
            with_bounds(one.recall, 4, is_signed=True),
            with_bounds(one.ndcg, 4, is_signed=True),
            percent(one.changed),
            standing(one),
        )
        for one in result.signals
        if one.changed
    ]
    return f"{aligned([header, *rows])}\n  {unheard(result)}".rstrip()


def _spread(found: Figures) -> str:
    rows = [
        (
            place_title(result.question, result.slice_name),
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
        (place_title(*place.split("/")), *(percent(shares.get(tier, 0.0)) for tier in names))
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
