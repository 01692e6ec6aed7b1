"""A shop where nobody buys anything twice: Complete Journey's first purchases alone.

Of each household and item only the first purchase is left, so that whatever a later order holds is
new to its household, and the builder finds by itself that repeats are of no use. What is new has to
be told from what others bought; the methods made for that, tuned on the same earlier slice, stand
beside ours.

Hardly more than a third of the households have any of ten offers in their next order, and two good
methods differ by less than chance at one cut. So it is asked at three.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from bench.bars import BarRun, bars_of, report_of
from bench.results import aligned
from builder.comparison import OURS
from builder.demo_inputs import write_inputs
from builder.effort import Effort

RIVALS: Final = ("rp3beta", "ease")
"""Ours should be at or above these."""

CUTS: Final = ("2017-06-01", "2017-09-01", "2017-12-01")


def measure_discovery(work_dir: Path, *, effort: Effort) -> BarRun:
    """Build from first purchases as of every cut and read what the reports say.

    Args:
        work_dir: folder for inputs and snapshot; holds none of these yet.
        effort: of the build.

    Raises:
        InputNotFound: the package with the data set is not installed.
    """
    inputs = write_inputs(work_dir, holdout=0.0, first_purchases=True)
    return bars_of([report_of(inputs, work_dir, effort=effort, as_of=cut) for cut in CUTS])


def discovery_table(run: BarRun) -> str:
    """Every method, and whether ours is at or above those made for this."""
    rows = [[f"{run.n_households:,} households", "R@10", "NDCG@10"]]
    for method, figures in run.methods.items():
        rows.append([method, *(f"{one:.4f}" for one in figures)])
    ours = run.methods[OURS]
    reached = all(
        one >= other
        for rival in RIVALS
        for one, other in zip(ours, run.methods[rival], strict=True)
    )
    return f"{aligned(rows)}\n{'reached' if reached else 'missed'}"
