"""scorecard.html: one file that loads nothing, with every verdict, its evidence and its command."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from typing import Any, Final

from bench.scorecard.beside import beside_table
from bench.scorecard.charts import course_svg
from bench.scorecard.lines import (
    FAILED,
    NOT_MEASURED,
    PARTS,
    PASSED,
    Bars,
    Course,
    Evidence,
    Line,
    Table,
    Verdict,
)
from builder import report_charts
from builder.metrics import Interval
from builder.report_html import page
from builder.report_parts import Html, element, html, table

_WORDS: Final[Mapping[Verdict, str]] = {
    PASSED: "Every promise was kept",
    FAILED: "A promise was not kept",
    NOT_MEASURED: "Not every promise could be measured",
}
_LEADS: Final = {
    "peak": "Steps of 1×, 5× and 1×, and a spike of 10×, in an open loop: requests are sent when"
    " they are due, whatever the service does, and waiting counts from that moment.",
    "volume": "Orders of the events, at the moments they came, with their customers and carts.",
    "cold": "Customers who were kept out of learning: no table knows anything of them.",
    "segments": "Lists for a segment beside lists for the customer, for the same orders.",
    "trial": "The busiest day, while a snapshot is swapped, a worker is killed and the overlay"
    " changes.",
}


def render(told: Mapping[str, Any], lines: Sequence[Line]) -> str:
    """The whole page.

    Args:
        told: what the scorecard's file says besides its lines: `verdict`, `service`, `machine`,
            `command`, `rate`, and `beside`.
        lines: in their order.
    """
    style = files("bench.scorecard").joinpath("scorecard.css").read_text(encoding="utf-8")
    numbered = [(f"line-{number}", line) for number, line in enumerate(lines, 1)]
    return page(
        f"{told['service']['name']}: scorecard",
        Html(f"<style>{style}</style>"),
        _head(told, numbered),
        *(
            section
            for part in PARTS
            if (section := _part(part, [one for one in numbered if one[1].part == part]))
        ),
        *_beside(told),
        _run(told),
    )


def badge(verdict: Verdict) -> Html:
    """A verdict as it stands beside a title."""
    return element("span", verdict, css=f"badge {verdict.replace(' ', '-')}")


def _head(told: Mapping[str, Any], numbered: Sequence[tuple[str, Line]]) -> Html:
    counts = Counter(line.verdict for _, line in numbered)
    verdict: Verdict = told["verdict"]
    words = ", ".join(f"{counts[name]} {name}" for name in _WORDS)
    told_in_all = _WORDS[verdict]
    if verdict == NOT_MEASURED and not any(line.is_promise for _, line in numbered):
        told_in_all = "No promise was asked for"
    css = {PASSED: "verdict passed", FAILED: "verdict failed"}.get(verdict, "verdict")
    return element(
        "header",
        element("p", "Almanac scorecard", css="eyebrow"),
        element("h1", str(told["service"]["name"])),
        element("p", f"{told['service']['about']} {told['made_at']}.", css="lead"),
        element("p", f"{told_in_all}: {words}.", css=css),
        element("p", str(told["rate"]), css="note"),
        element(
            "ul",
            *(
                element(
                    "li",
                    badge(line.verdict),
                    element("a", line.title, href=f"#{name}"),
                    element("p", line.sentence),
                )
                for name, line in numbered
            ),
            css="overview",
        ),
    )


def _part(part: str, numbered: Sequence[tuple[str, Line]]) -> Html | None:
    if not numbered:
        return None
    return element(
        "section",
        element("h2", PARTS[part]),
        element("p", _LEADS[part], css="lead"),
        *(_line(name, line) for name, line in numbered),
    )


def _line(name: str, line: Line) -> Html:
    return element(
        "article",
        element("h3", badge(line.verdict), line.title),
        element("p", line.sentence),
        *_shown(name, line.evidence),
        element("p", "Again", css="again"),
        element("pre", element("code", line.command)),
        css="asked",
        id=name,
    )


def _shown(name: str, evidence: Sequence[Evidence]) -> Iterator[Html]:
    for number, one in enumerate(evidence):
        match one:
            case Table():
                yield table(one.caption, one.header, one.rows, strong=one.strong)
            case Bars():
                yield _figure(one.title, _bars(one, f"{name}-{number}"), one.note)
            case Course():
                yield _figure(one.title, course_svg(one, f"{name}-{number}"), one.note, css="wide")


def _figure(title: str, svg: str, note: str, css: str = "") -> Html:
    caption = element("figcaption", title)
    return element("figure", caption, Html(svg), element("p", note, css="note"), css=css)


def _bars(bars: Bars, name: str) -> str:
    drawing = report_charts.bars(
        [
            report_charts.Bar(
                label=one.label,
                length=one.value,
                text=one.text,
                is_ours=one.is_ours,
                interval=None
                if one.low is None or one.high is None
                else Interval(value=one.value, low=one.low, high=one.high),
            )
            for one in bars.rows
        ],
        reference=bars.reference,
    )
    return report_charts.figure(drawing, name=name, title=bars.title, description=bars.note)


def _beside(told: Mapping[str, Any]) -> Iterator[Html]:
    if told["beside"]:
        yield element(
            "section",
            element("h2", "Beside others"),
            element(
                "p",
                "Scorecards of other services on the same events. Rates differ where they were not"
                " given; what was asked stands beside each figure.",
                css="lead",
            ),
            *_shown("beside", [beside_table(told, told["beside"])]),
        )


def _still(found: Mapping[str, Any]) -> str:
    return (
        f"{found['per_second']:.1f} times a second, {found['longest_ms']:.1f} ms at most"
        f" ({found['cores']} cores, {found['seconds']:g} s)"
    )


def _run(told: Mapping[str, Any]) -> Html:
    machine = told["machine"]
    facts = {
        "Processor": f"{machine['cpu']}, {machine['cores']} cores",
        "Memory": f"{machine['memory_gib']} GiB",
        "Kernel and Python": f"{machine['kernel']}, {machine['python']}",
        "Sums of decisions": machine["sums"],
        "Load of the machine before": f"{machine['load_at_start']}",
        "Priority of service and driver": "real-time" if machine["is_real_time"] else "the usual",
        **({"Standing still by itself": _still(found)} if (found := told["stood_still"]) else {}),
        "Commit": machine["commit"] or "none",
    }
    return element(
        "section",
        element("h2", "What was run"),
        element(
            "p",
            "scorecard.json beside this page holds every request of every run: when it was due, how"
            " long it waited, and its status; and HdrHistograms of each phase.",
            css="lead",
        ),
        element(
            "dl",
            *(
                element("div", element("dt", name), element("dd", html(str(value))))
                for name, value in facts.items()
            ),
            css="facts origin",
        ),
        element("pre", element("code", machine["command"])),
    )
