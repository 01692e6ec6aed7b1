"""An evaluation as a page, with the looks of a build's report."""

from __future__ import annotations

from builder.evaluation_report import Evaluation, Seen
from builder.report_ablation import ablation
from builder.report_background import imports, shop
from builder.report_evaluation import evaluation, probabilities
from builder.report_html import fact, lead, page
from builder.report_parts import Html, element, number, percent
from builder.report_segments import segments


def render_evaluation(found: Evaluation) -> str:
    """The whole page."""
    return page(
        f"{found.brand}: evaluation",
        _head(found),
        _headline(found),
        *evaluation(found),
        segments(found),
        ablation(found),
        probabilities(found),
        _seen(found.seen),
        shop(found.shop, ()),
        imports(found.imports),
        element("section", element("h2", "What was run"), _command(found)),
    )


def _head(found: Evaluation) -> Html:
    return element(
        "header",
        element("p", "Almanac evaluation", css="eyebrow"),
        element("h1", found.brand),
        element("p", f"Snapshot {found.snapshot_id}, on orders later than its tables", css="lead"),
        *(element("p", note, css="note") for note in found.notes),
    )


def _headline(found: Evaluation) -> Html:
    slices = {(result.question, result.slice_name): result for result in found.evaluation}
    seen = found.seen
    known = seen.n_customers_known / seen.n_customers_after if seen.n_customers_after else None
    return element(
        "dl",
        fact("Known customers", *lead(slices.get(("next_order", "warm")), "ndcg")),
        fact(
            "New customers with a cart",
            *lead(slices.get(("post_purchase", "cold_with_cart")), "recall"),
        ),
        fact("Later orders", number(seen.n_orders_after), f"since {seen.as_of:%Y-%m-%d}"),
        fact("Customers known", percent(known), f"of {number(seen.n_customers_after)} asked about"),
        css="headline",
    )


def _seen(seen: Seen) -> Html:
    facts = (
        ("Tables stand for", f"{seen.as_of:%Y-%m-%d %H:%M} UTC"),
        ("Customers kept out", "not told" if seen.holdout is None else percent(seen.holdout)),
        ("Orders the snapshot learned from", number(seen.n_orders_learned)),
        ("Orders the baselines learned from", number(seen.n_orders_before)),
        ("Orders asked about", number(seen.n_orders_after)),
        ("Their customers", number(seen.n_customers_after)),
        ("Known to the tables", number(seen.n_customers_known)),
        ("Lines of unknown items", percent(seen.n_lines_unknown / seen.n_lines_after, 2)),
    )
    return element(
        "section",
        element("h2", "What the snapshot had seen"),
        element(
            "dl",
            *(element("div", element("dt", name), element("dd", value)) for name, value in facts),
            css="facts",
        ),
    )


def _command(found: Evaluation) -> Html:
    return element("pre", element("code", found.command))
