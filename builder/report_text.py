"""The evaluation table for a terminal, a pipe or a log."""

from __future__ import annotations

from collections.abc import Sequence
from io import StringIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from builder.comparison import (
    OURS,
    QUESTION_TITLES,
    SLICE_TITLES,
    MethodResult,
    SliceResult,
    asked_of,
    title,
)
from builder.report import Figures, Report
from builder.report_parts import NOT_MEASURED
from builder.report_text_further import ablation_tables
from builder.text_tables import aligned, with_bounds

_WIDTH = 110


def evaluation_table(report: Report, *, is_terminal: bool = False) -> str:
    """Every question and slice, all methods, what signals are worth, and the gate's verdict.

    Args:
        report: what was measured.
        is_terminal: draw with rules and emphasis; otherwise plain aligned text.
    """
    blocks = [
        *slice_blocks(report, is_terminal=is_terminal),
        *ablation_tables(report),
        closing(report),
    ]
    return "\n\n".join(blocks) + "\n"


def slice_blocks(report: Figures, *, is_terminal: bool = False) -> list[str]:
    """A block for each question and slice, all methods, with 95 % intervals."""
    draw = _drawn if is_terminal else aligned
    return [
        f"{heading(result)}\n{draw(_cells(result))}" if result.methods else heading(result)
        for result in report.evaluation
    ]


def heading(result: SliceResult) -> str:
    """Question, slice and how much stands behind the figures."""
    names = (title(result.question, QUESTION_TITLES), title(result.slice_name, SLICE_TITLES))
    examples = asked_of(result.n_examples, result.n_customers)
    return " · ".join((*names, examples if result.methods else NOT_MEASURED))


def closing(report: Report) -> str:
    """What the figures are of, and whether the gate let them pass."""
    lines = [f"measured on the {report.measured_on}; intervals are 95 %, × default is of NDCG"]
    lines.append(f"quality gate: {'passed' if report.verdict.passed else 'FAILED'}")
    lines.extend(f"  {check.sentence}" for check in report.verdict.checks)
    lines.extend(report.notes)
    return "\n".join(lines)


def _cells(result: SliceResult) -> list[tuple[str, ...]]:
    k = result.k
    header = ("method", f"R@{k}", f"NDCG@{k}", f"hit@{k}", "× default")
    return [header, *(_method_cells(method) for method in result.methods)]


def _method_cells(method: MethodResult) -> tuple[str, ...]:
    return (
        method.method,
        with_bounds(method.recall.mean, 4),
        with_bounds(method.ndcg.mean, 4),
        with_bounds(method.hit.mean, 4),
        with_bounds(method.ndcg.ratio, 2),
    )


def _drawn(cells: Sequence[Sequence[str]]) -> str:
    header, *body = cells
    table = Table(box=None, header_style="dim", pad_edge=True)
    for place, name in enumerate(header):
        table.add_column(name, justify="right" if place else "left", no_wrap=True)
    for row in body:
        table.add_row(*map(Text, row), style="bold" if row[0] == OURS else None)
    console = Console(file=StringIO(), force_terminal=True, width=_WIDTH, color_system="standard")
    with console.capture() as capture:
        console.print(table)
    return capture.get().rstrip("\n")
