"""Coupon choice: which of a campaign's coupons a household redeems, asked of a shipped snapshot.

One snapshot is built from what was known before all measured campaigns: orders, and what was
redeemed of earlier campaigns. It is asked about each choice on the day of its first redemption,
with nothing but household and campaign. Beside it stand two baselines from the same orders: all
lines of a coupon's items (`popularity`), and the household's own lines, then all lines where these
are equal (`frequency`).

What this can't show: coupons were not handed out at random, and which of them a household got is
not known. A method that guesses what was handed out looks good.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from bench.results import aligned
from builder import metrics
from builder.cli import build
from builder.comparison import OURS
from builder.demo_coupons import (
    CUT,
    PLACES,
    Choice,
    load_choices,
    write_offers,
    write_redemptions,
)
from builder.demo_inputs import write_inputs
from builder.metrics import Floats, Interval, Ints
from index.decide import decide
from index.generation import Generation
from index.request import Request
from index.secret import brand_secret
from index.snapshot import open_snapshot

POPULARITY: Final = "popularity"
FREQUENCY: Final = "frequency"
_BRAND: Final = "complete-journey"
# The usual four weeks hold a few redemptions only: campaigns of many coupons are months apart.
_SLICE_DAYS: Final = 91
_SEED: Final = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Of one method, or of its difference from another.

    Attributes:
        hit_at_1: how often the first offer was redeemed.
        ndcg_at_10: of the first ten, with the ideal cut at ten.
    """

    hit_at_1: Interval
    ndcg_at_10: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class CouponRun:
    """What was measured; intervals resample households, alike for all methods.

    Attributes:
        n_choices: households' choices that were asked about.
        methods: figures by method.
        differences: figures of ours minus the method's, by the other methods.
        ranked: by method, int64, shape (n_choices, 10): numbers of the campaigns' offers in the
            order of their ids, best first, -1 behind the last.
    """

    n_choices: int
    methods: Mapping[str, Figures]
    differences: Mapping[str, Figures]
    ranked: Mapping[str, Ints]


def measure_coupons(work_dir: Path) -> CouponRun:
    """Build, ask and compare: a minute or two.

    Args:
        work_dir: folder for inputs and snapshot; holds none of these yet.

    Raises:
        InputNotFound: the package with the data set is not installed.
    """
    snapshot_dir, secret_path = work_dir / "snapshot", work_dir / "brand.key"
    events, items, config = write_inputs(work_dir, before=CUT, slice_days=_SLICE_DAYS)
    secret_path.write_text("complete-journey-coupons-secret\n")
    # The build's own table is about another question: next orders.
    with redirect_stdout(sys.stderr):
        build(
            events=[str(events), str(write_redemptions(work_dir))],
            items=[str(items)],
            offers=[str(write_offers(work_dir))],
            config=config,
            out=snapshot_dir,
            secret_file=secret_path,
        )
    choices = load_choices(work_dir)
    secret = brand_secret(_BRAND, secret_file=secret_path)
    with open_snapshot(snapshot_dir, secret) as generation:
        ours = [ask(generation, choice) for choice in choices]
    return compare(choices, {OURS: ours} | baselines(choices))


def ask(generation: Generation, choice: Choice) -> list[str]:
    """Ids of what the snapshot would show the household when it first redeemed something."""
    request = Request(
        customer_id=choice.household,
        at=choice.at,
        context={"campaign": choice.campaign},
        k=PLACES,
        repeat="allow",
    )
    return [offer.offer_id for offer in decide(generation, request).offers]


def baselines(choices: Sequence[Choice]) -> dict[str, list[list[str]]]:
    """Lists of the other methods; equal offers come in the order of their ids."""
    popularity, frequency = [], []
    for choice in choices:
        known = list(zip(choice.own_lines, choice.lines, choice.offers, strict=True))
        by_all = sorted(known, key=lambda offer: (-offer[1], offer[2]))
        by_own = sorted(by_all, key=lambda offer: -offer[0])
        popularity.append([offer_id for *_, offer_id in by_all[:PLACES]])
        frequency.append([offer_id for *_, offer_id in by_own[:PLACES]])
    return {POPULARITY: popularity, FREQUENCY: frequency}


def compare(choices: Sequence[Choice], lists: Mapping[str, Sequence[Sequence[str]]]) -> CouponRun:
    """Judge each method's lists by what was redeemed.

    Args:
        choices: at least one.
        lists: by method, for each choice the ids of the best offers, best first; ours among them.
    """
    offers = sorted({offer for choice in choices for offer in choice.offers})
    number = {offer: place for place, offer in enumerate(offers)}
    truth = [np.array([number[offer] for offer in choice.redeemed]) for choice in choices]
    households = np.unique([choice.household for choice in choices], return_inverse=True)[1]
    ranked = {method: _numbered(found, number) for method, found in lists.items()}
    columns: list[Floats] = []
    for rows in ranked.values():
        judged = metrics.judge(rows, truth)
        columns += [metrics.hit(judged, 1), metrics.ndcg(judged, PLACES)]
    drawn = metrics.bootstrap(np.column_stack(columns), households, _SEED)
    place = {method: 2 * position for position, method in enumerate(ranked)}
    return CouponRun(
        n_choices=len(choices),
        methods={
            method: Figures(
                hit_at_1=metrics.mean_interval(drawn, at),
                ndcg_at_10=metrics.mean_interval(drawn, at + 1),
            )
            for method, at in place.items()
        },
        differences={
            method: Figures(
                hit_at_1=metrics.difference_interval(drawn, place[OURS], at),
                ndcg_at_10=metrics.difference_interval(drawn, place[OURS] + 1, at + 1),
            )
            for method, at in place.items()
            if method != OURS
        },
        ranked=ranked,
    )


def coupon_table(run: CouponRun) -> str:
    """Every method, then what ours has over each other one."""
    lines = [[f"{run.n_choices} choices", "hit@1", f"NDCG@{PLACES}"]]
    rows = [*run.methods.items()]
    rows += [(f"{OURS} − {method}", figures) for method, figures in run.differences.items()]
    for name, figures in rows:
        lines.append([name, _cell(figures.hit_at_1), _cell(figures.ndcg_at_10)])
    return aligned(lines)


def _cell(interval: Interval) -> str:
    return f"{interval.value:.3f} ({interval.low:.3f} to {interval.high:.3f})"


def _numbered(lists: Sequence[Sequence[str]], number: Mapping[str, int]) -> Ints:
    rows = np.full((len(lists), PLACES), metrics.PADDING, dtype=np.int64)
    for row, offers in zip(rows, lists, strict=True):
        row[: len(offers)] = [number[offer] for offer in offers]
    return rows
