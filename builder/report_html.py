"""report.html: one file for a browser or a printer, with no script and nothing from a network."""

from __future__ import annotations

from importlib.resources import files

from builder.comparison import DEFAULT, OURS, SliceResult
from builder.gate import MIN_CUSTOMERS
from builder.report import MEASURED_ON_SENTENCES, Report
from builder.report_ablation import ablation
from builder.report_background import background
from builder.report_evaluation import evaluation, probabilities
from builder.report_parts import (
    NONE,
    NOT_MEASURED,
    Html,
    duration,
    element,
    figure,
    number,
    percent,
    size,
)
from builder.report_segments import segments

# A page that can't be made to load anything, whatever a file name or an item id holds.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def render(report: Report) -> str:
    """The whole page of a build."""
    return page(
        f"{report.brand}: build report",
        _head(report),
        _headline(report),
        *evaluation(report),
        segments(report),
        ablation(report),
        probabilities(report),
        *background(report),
    )


def page(title: str, *sections: Html) -> str:
    """A page of our looks."""
    style = files("builder").joinpath("report.css").read_text(encoding="utf-8")
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f"{element('title', title)}<style>{style}</style>"
    )
    main = element("main", *sections)
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>{main}</body></html>\n'


def _head(report: Report) -> Html:
    passed = report.verdict.passed
    verdict = "Quality gate passed" if passed else "Quality gate failed"
    return element(
        "header",
        element("p", "Almanac build report", css="eyebrow"),
        element("h1", report.brand),
        element(
            "p",
            f"Made {report.origin.finished_at:%d %B %Y, %H:%M %Z}. Snapshot {report.snapshot_id}",
            css="lead",
        ),
        element("p", verdict, css="verdict passed" if passed else "verdict failed"),
        element("ul", *(element("li", check.sentence) for check in report.verdict.checks)),
        element("p", MEASURED_ON_SENTENCES[report.measured_on], css="note"),
        *(element("p", note, css="note") for note in report.notes),
    )


def _headline(report: Report) -> Html:
    """Four figures that tell most of it."""
    slices = {(result.question, result.slice_name): result for result in report.evaluation}
    warm = slices.get(("next_order", "warm"))
    cold = slices.get(("post_purchase", "cold_with_cart"))
    imports = report.imports
    kept = imports.n_kept / imports.n_rows if imports.n_rows else None
    seconds = sum(stage.seconds for stage in report.stages)
    shipped = sum(file.size_bytes for file in report.files)
    return element(
        "dl",
        fact("Known customers", *lead(warm, "ndcg")),
        fact("New customers with a cart", *lead(cold, "recall")),
        fact("Rows used", percent(kept, 2), f"of {number(imports.n_rows)} read"),
        fact("Snapshot", size(shipped), f"built in {duration(seconds)}"),
        css="headline",
    )


def fact(name: str, value: str, note: str) -> Html:
    """One of a page's leading figures."""
    return element(
        "div", element("dt", name), element("dd", value), element("dd", note, css="note")
    )


def lead(result: SliceResult | None, metric: str) -> tuple[str, str]:
    """How many times better than `default`, and on what."""
    ours = result.of(OURS) if result else None
    if result is None or ours is None or result.n_customers < MIN_CUSTOMERS:
        return NONE, f"{NOT_MEASURED}: too few customers"
    score = ours.ndcg if metric == "ndcg" else ours.recall
    name = f"{'NDCG' if metric == 'ndcg' else 'recall'}@{result.k}"
    if score.ratio is None:
        return figure(score.mean.value, 4), name
    return f"{score.ratio.value:.2f} ×", f"{name} of {DEFAULT} popularity"
