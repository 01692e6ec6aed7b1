"""The part of report.html that says what a build tried, and what it took."""

from __future__ import annotations

from builder.choices import Choice
from builder.report import Report
from builder.report_parts import Html, element, figure, html, table


def choices(report: Report) -> Html:
    """A table of all choices; nothing where none was told."""
    if not report.choices:
        return html("")
    return element(
        "section",
        element("h2", "What was searched and chosen"),
        element(
            "p",
            "What was tried on orders that are earlier than all figures of this report. After ± "
            "stands a standard error; what is better by less than two may be so by chance.",
            css="lead",
        ),
        element(
            "div",
            table(
                "Choices, what decided them, and what else was tried",
                ("Choice", "Chosen", "Why", "Tried"),
                (
                    (choice.name, choice.chosen, choice.why, _tried(choice))
                    for choice in report.choices
                ),
            ),
            css="prose",
        ),
    )


def _tried(choice: Choice) -> str:
    if not choice.figures:
        return ", ".join(choice.tried)
    scored = zip(choice.tried, choice.figures, strict=True)
    return ", ".join(f"{setting}: {figure(score, 4)}" for setting, score in scored)
