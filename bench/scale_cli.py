"""The verb `almanac bench scale`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from bench.machine import machine_facts
from bench.results import DEFAULT_DIR, tell_run
from bench.scale import Plan, measure_scale
from bench.scale_report import judgement_table, size_table, worker_table
from bench.synthetic import Shape
from builder.places import make_folder

# Few bytes a customer, so that ten million of them are not mostly a test of the disk.
_PERSONAL_ROWS, _HISTORY_ROWS = 8, 4


def scale(
    *,
    customers: list[int] | None = None,
    offers: Annotated[int, Parameter(validator=Number(gte=1000))] = 20_000,
    rounds: Annotated[int, Parameter(validator=Number(gte=1, lte=1000))] = 5,
    requests: Annotated[int, Parameter(validator=Number(gte=1, lte=1_000_000))] = 3000,
    out_dir: Path = DEFAULT_DIR,
    json: bool = False,
) -> None:
    """Measure how costs grow: from one worker to two, and with the number of customers.

    Starts the edge with its supervisor, asks it over loopback, and compares processor time per
    request. Then a fresh process opens a snapshot of each size, and a fresh edge serves it: how
    long opening takes, the first request, the median of those that follow, and the memory that is
    a worker's own. Customers' records hold 8 offers and a history of 4, about 170 bytes on disk,
    at every size; ten million of them take 1.7 GB of disk and two minutes to write. A summary is
    kept under `--out-dir`, the snapshots are not.

    Example: `almanac bench scale --customers 100000 --customers 1000000`

    Parameters
    ----------
    customers
        Sizes, smallest first; 100,000, 1,000,000 and 10,000,000 by default.
    offers
        Offers in every snapshot.
    rounds
        Turns of everybody.
    requests
        In a turn, to each worker.
    out_dir
        Where runs are kept.
    json
        Print the summary as JSON instead of tables.
    """
    make_folder(out_dir, flag="--out-dir")
    sizes = customers or [100_000, 1_000_000, 10_000_000]
    shapes = [
        Shape(
            n_customers=size,
            n_offers=offers,
            personal_rows=_PERSONAL_ROWS,
            history_rows=_HISTORY_ROWS,
        )
        for size in sizes
    ]
    words = f"--offers {offers} --rounds {rounds} --requests {requests}"
    words += "".join(f" --customers {size}" for size in customers or ())
    facts = machine_facts(f"almanac bench scale {words}")
    print(f"writing snapshots of {sizes} customers", file=sys.stderr)
    found = measure_scale(Plan(shapes=shapes, rounds=rounds, requests=requests))
    summary = {"machine": facts, **found}
    rows = found["sizes"]
    text = "\n\n".join((worker_table(found), size_table(rows), judgement_table(rows)))
    tell_run("scale", summary, text, out_dir=out_dir, json=json)
