"""A rehearsal: tables for those alone whom it is asked about, and nothing left behind."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from builder import slices
from builder.build import Built
from builder.duck import connect
from tests.builder.files import settings
from tests.builder.nights import MEMORY_BYTES, build_here

DAY_US = 86_400_000_000
# Sixty customers who order every third day; those of even number end with what nobody else has.
LINES = [
    {
        "ts": str(1_740_000_000_000_000 + visit * 3 * DAY_US + customer * 1_000_000),
        "customer_id": f"c{customer}",
        "order_id": f"o{customer}-{visit}",
        "item_id": f"rare{customer}-{visit}"
        if visit >= 10 and customer % 2 == 0
        else f"i{(customer + visit + place) % 10}",
    }
    for customer in range(60)
    for visit in range(20)
    for place in range(2)
]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Twenty are asked about, and offers in few order lines do not count."""
    chosen = settings(evaluation__min_orders=3, evaluation__holdout=0.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slices, "MAX_CUSTOMERS", 20)
        return build_here(tmp_path_factory.mktemp("shop"), LINES, chosen)


def test_whoever_is_asked_about_is_known(built: Built) -> None:
    """Though some are passed over who would be asked if rare offers counted."""
    asked = {
        (one.question, one.slice_name): one.n_examples
        for one in built.report.evaluation
        if one.n_examples
    }

    assert built.report.measured_on == "rehearsal snapshot"
    assert asked == {("next_order", "warm"): 20, ("post_purchase", "warm"): 20}


@pytest.mark.usefixtures("built")
def test_a_build_leaves_its_databases_empty(tmp_path: Path) -> None:
    """They are used again, by whatever comes next in the process."""
    with ExitStack() as stack:
        for _ in range(4):
            connection = stack.enter_context(connect(MEMORY_BYTES, tmp_path))
            for kind in ("tables", "views", "functions", "types"):
                assert not connection.execute(
                    f"FROM duckdb_{kind}() WHERE NOT internal"
                ).fetchall(), kind
