"""The part of report.html that says what a build tried, and what it took."""

from __future__ import annotations

from builder.report import Choice, Report
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
            "Settings that were tried on the weight slice, which is later than the tables and "
            "earlier than the figures of this report.",
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
