"""The second half of report.html: the shop, its input, its weights, and what the build cost."""

from __future__ import annotations

from collections.abc import Sequence

from builder import report_charts as charts
from builder.report import ImportSummary, Report, ShopProfile, Window
from builder.report_charts import Bar
from builder.report_choices import choices
from builder.report_parts import (
    NONE,
    Html,
    details,
    duration,
    element,
    figure,
    html,
    number,
    percent,
    size,
    table,
)


def background(report: Report) -> list[Html]:
    """All sections after the evaluation."""
    return [
        shop(report.shop, report.windows),
        imports(report.imports),
        _weights(report),
        choices(report),
        _cost(report),
        _origin(report),
    ]


def shop(profile: ShopProfile, windows: Sequence[Window]) -> Html:
    """What kind of shop this is, and what its time was used for."""
    facts = (
        ("Customers", number(profile.n_customers)),
        ("Orders", number(profile.n_orders)),
        ("Order lines", number(profile.n_lines)),
        ("Items", number(profile.n_items)),
        ("Offers", number(profile.n_offers)),
        ("Orders per customer, median", figure(profile.orders_per_customer, 1)),
        ("Items per order, mean", figure(profile.items_per_order, 1)),
        ("Orders of several items", percent(profile.basket_share)),
        ("Lines bought before", percent(profile.repeat_share)),
        ("Orders of guests", percent(profile.guest_share)),
        ("Events of a session", percent(profile.session_share)),
        ("Days of history", f"{profile.history_days:,.0f}"),
        ("Times", profile.times),
    )
    return element(
        "section",
        element("h2", "The shop"),
        element("p", character(profile), css="lead"),
        element(
            "dl",
            *(element("div", element("dt", name), element("dd", value)) for name, value in facts),
            css="facts",
        ),
        _windows(windows),
    )


def character(profile: ShopProfile) -> str:
    """What kind of shop this is, in a sentence."""
    if profile.repeat_share is None:
        return "Nobody has bought twice yet, so only carts and context can tell offers apart."
    kind = "A repeat shop" if profile.repeat_share >= 0.3 else "A discovery shop"
    repeats = percent(profile.repeat_share)
    return f"{kind}: {repeats} of what known customers buy they bought before."


def _windows(windows: Sequence[Window]) -> Html:
    if not windows:
        return html("")
    chart = charts.figure(
        charts.timeline([(w.purpose, w.from_at, w.until_at) for w in windows]),
        name="windows",
        title="What the data’s time was used for",
        description="Stretches of time, one under another, on a common axis.",
    )
    return element(
        "article",
        element("h3", "What was learned from when"),
        element(
            "div",
            element("div", Html(chart)),
            table(
                "Stretches of time; the end is not included",
                ("Use", "From", "Until", "Orders"),
                (
                    (
                        window.purpose,
                        f"{window.from_at:%Y-%m-%d}",
                        f"{window.until_at:%Y-%m-%d}",
                        NONE if window.n_orders is None else number(window.n_orders),
                    )
                    for window in windows
                ),
            ),
            css="beside",
        ),
    )


def imports(summary: ImportSummary) -> Html:
    """What became of every row of the input."""
    return element(
        "section",
        element("h2", "The input"),
        element(
            "div",
            element("div", _funnel(summary)),
            element("div", _dropped(summary), _samples(summary), _files(summary)),
            css="beside",
        ),
    )


def _funnel(summary: ImportSummary) -> Html:
    falling = summary.n_rows
    rows = [Bar(label="read", length=falling, text=number(summary.n_rows))]
    for dropped in summary.dropped:
        falling -= dropped.n_rows
        text = f"−{number(dropped.n_rows)}"
        rows.append(Bar(label=dropped.reason, start=falling, length=dropped.n_rows, text=text))
    rows.append(Bar(label="used", length=summary.n_kept, text=number(summary.n_kept), is_ours=True))
    return Html(
        charts.figure(
            charts.bars(rows),
            name="imports",
            title="From rows read to rows used",
            description="; ".join(f"{row.label} {row.text}" for row in rows),
        )
    )


def _dropped(summary: ImportSummary) -> Html:
    if not summary.dropped:
        return element("p", "Every row was used.")
    return table(
        "Rows that were not used; bad ones lie in quarantine with their row numbers",
        ("Reason", "Kind", "Rows", "Share"),
        (
            (
                dropped.reason,
                "bad" if dropped.is_bad else "by rule",
                number(dropped.n_rows),
                percent(dropped.n_rows / summary.n_rows, 3),
            )
            for dropped in summary.dropped
        ),
    )


def _files(summary: ImportSummary) -> Html:
    return table(
        "Files",
        ("File", "Kind", "Rows", "Used"),
        (
            (file.name, file.kind, number(file.n_rows), number(file.n_kept))
            for file in summary.files
        ),
    )


def _samples(summary: ImportSummary) -> Html:
    rows = [
        (dropped.reason, sample.file, number(sample.row), sample.column, sample.value)
        for dropped in summary.dropped
        for sample in dropped.samples
    ]
    if not rows:
        return html("")
    caption = "Some of the rows that were not used"
    return details("Examples", table(caption, ("Reason", "File", "Row", "Column", "Value"), rows))


def _weights(report: Report) -> Html:
    if not report.weights:
        return html("")
    signals = dict.fromkeys(name for tier in report.weights for name in tier.weights)
    examples = [("examples", *(number(tier.n_examples) for tier in report.weights))]
    if any(tier.n_redemptions for tier in report.weights):
        redemptions = (number(tier.n_redemptions) for tier in report.weights)
        examples.append(("redemptions, for personal and probability", *redemptions))
    return element(
        "section",
        element("h2", "What counts how much"),
        element(
            "p",
            "Weights of the signals by how much is known of a customer, learned on orders later "
            "than the tables. They multiply log-lifts; zero means a signal adds nothing.",
            css="lead",
        ),
        table(
            "Weights by signal and tier, and on how many examples they were learned",
            ("Signal", *(tier.tier for tier in report.weights)),
            [
                *(
                    (name, *(figure(tier.weights.get(name), 3) for tier in report.weights))
                    for name in signals
                ),
                *examples,
            ],
        ),
    )


def _cost(report: Report) -> Html:
    rows = [
        Bar(label=stage.stage, length=stage.seconds, text=duration(stage.seconds))
        for stage in report.stages
    ]
    chart = charts.figure(
        charts.bars(rows),
        name="stages",
        title="Time by stage",
        description="; ".join(f"{row.label} {row.text}" for row in rows),
    )
    return element(
        "section",
        element("h2", "What it cost"),
        element(
            "div",
            element("div", Html(chart)),
            table(
                "Stages; resumed tasks were finished by an earlier run and cost nothing",
                ("Stage", "Time", "CPU", "Peak memory", "Tasks", "Resumed"),
                (
                    (
                        stage.stage,
                        duration(stage.seconds),
                        duration(stage.cpu_seconds),
                        size(stage.peak_rss_bytes),
                        number(stage.n_tasks),
                        number(stage.n_skipped),
                    )
                    for stage in report.stages
                ),
            ),
            css="beside",
        ),
    )


def _origin(report: Report) -> Html:
    origin = report.origin
    facts = (
        (
            "Machine",
            f"{origin.machine}, {origin.n_cores} cores, {size(origin.memory_bytes)} memory",
        ),
        ("Started", f"{origin.started_at:%Y-%m-%d %H:%M:%S %Z}"),
        ("Finished", f"{origin.finished_at:%Y-%m-%d %H:%M:%S %Z}"),
        ("Seed", str(origin.seed)),
        ("Versions", ", ".join(f"{name} {v}" for name, v in sorted(origin.versions.items()))),
    )
    return element(
        "section",
        element("h2", "What ships, and how it was made"),
        element("pre", element("code", origin.command)),
        element(
            "div",
            element(
                "dl",
                *(element("div", element("dt", key), element("dd", v)) for key, v in facts),
                css="origin",
            ),
            table(
                "Files of the snapshot",
                ("File", "Size", "Entries"),
                (
                    (
                        file.name,
                        size(file.size_bytes),
                        NONE if file.n_entries is None else number(file.n_entries),
                    )
                    for file in report.files
                ),
            ),
            css="beside",
        ),
    )
