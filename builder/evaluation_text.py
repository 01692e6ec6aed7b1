"""An evaluation for a terminal, a pipe or a log."""

from __future__ import annotations

from builder.evaluation_report import Evaluation
from builder.report_text import slice_blocks
from builder.report_text_further import ablation_tables, further_tables


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
        *ablation_tables(found),
        "\n".join((f"snapshot: {found.snapshot_id}", *found.notes)),
    ]
    return "\n\n".join(blocks)
