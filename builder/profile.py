"""What kind of shop this is, counted from the canonical events."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from builder.duck import connect, literal
from builder.report import ShopProfile
from builder.signals.orders import DAY_US, kept
from builder.split import Cut

_OWNER = "customer_hi, customer_lo"
_HOUR_US = 3_600_000_000


@dataclass(slots=True)
class _Totals:
    lines: int = 0
    orders: int = 0
    guest_orders: int = 0
    baskets: int = 0
    item_lines: int = 0
    known_lines: int = 0
    repeats: int = 0
    events: int = 0
    session_events: int = 0
    timed_events: int = 0
    customers_by_orders: Counter[int] = field(default_factory=Counter)


def shop_profile(
    events: Sequence[Path],
    *,
    target_kind: int,
    n_items: int,
    n_offers: int,
    span_us: int,
    by_lot: bool,
    memory_bytes: int,
    temp_dir: Path,
) -> ShopProfile:
    """Count a shop, a partition at a time.

    Args:
        events: canonical events; a customer lies in one of the files.
        target_kind: kind of event that makes an order.
        n_items: items of the vocabulary.
        n_offers: offers of the vocabulary.
        span_us: from the first event to the last.
        by_lot: events have no times of their own.
        memory_bytes: for DuckDB.
        temp_dir: where it may spill.
    """
    totals = _Totals()
    for path in events:
        _count(totals, path, target_kind, memory_bytes, temp_dir)
    n_customers = sum(totals.customers_by_orders.values())
    return ShopProfile(
        n_customers=n_customers,
        n_orders=totals.orders,
        n_lines=totals.lines,
        n_items=n_items,
        n_offers=n_offers,
        repeat_share=_share(totals.repeats, totals.known_lines),
        orders_per_customer=_median(totals.customers_by_orders),
        items_per_order=_share(totals.item_lines, totals.orders),
        basket_share=_share(totals.baskets, totals.orders),
        guest_share=_share(totals.guest_orders, totals.orders),
        session_share=_share(totals.session_events, totals.events),
        history_days=span_us / DAY_US,
        times="none" if by_lot else "to the second" if totals.timed_events else "days only",
    )


def orders_between(
    events: Sequence[Path],
    target_kind: int,
    from_us: int,
    until_us: int,
    *,
    holdout_share: float = 0.0,
    memory_bytes: int,
    temp_dir: Path,
) -> int:
    """How many orders lie in [from, until), without those of held-out customers."""
    cut = Cut(until_us=until_us, holdout_share=holdout_share)
    n_orders = 0
    for path in events:
        with connect(memory_bytes, temp_dir) as connection:
            [(n,)] = connection.execute(
                f"""SELECT count(*) FROM (SELECT DISTINCT {_OWNER}, order_key
                    FROM read_parquet({literal(path)}) WHERE kind = {target_kind}
                    AND ts_us >= {from_us} AND ts_us < {until_us} AND {kept(cut)})"""
            ).fetchall()
            n_orders += n
    return n_orders


def share_of_baskets(
    events: Sequence[Path], target_kind: int, *, memory_bytes: int, temp_dir: Path
) -> float:
    """What share of orders holds more than one item, in [0, 1]; 0 without orders."""
    n_orders = n_baskets = 0
    for path in events:
        with connect(memory_bytes, temp_dir) as connection:
            [(orders, baskets)] = connection.execute(
                f"""SELECT count(*), count_if(several) FROM (
                        SELECT min(item_id) <> max(item_id) AS several
                        FROM read_parquet({literal(path)}) WHERE kind = {target_kind}
                        GROUP BY {_OWNER}, order_key)"""
            ).fetchall()
            n_orders += orders
            n_baskets += baskets
    return n_baskets / max(n_orders, 1)


def _count(
    totals: _Totals, path: Path, target_kind: int, memory_bytes: int, temp_dir: Path
) -> None:
    with connect(memory_bytes, temp_dir) as connection:
        source = f"(FROM read_parquet({literal(path)}) WHERE kind = {target_kind})"
        [(events, in_session, timed)] = connection.execute(
            f"""SELECT count(*), count_if(session_key <> 0),
                       count_if(hour_of_week % 24 <> 0 OR ts_us % {_HOUR_US} <> 0)
                FROM read_parquet({literal(path)})"""
        ).fetchall()
        totals.events += events
        totals.session_events += in_session
        totals.timed_events += timed
        [(lines, orders, guests, baskets)] = connection.execute(
            f"""SELECT sum(n)::BIGINT, count(*),
                       count(*) FILTER (customer_hi = 0 AND customer_lo = 0),
                       count(*) FILTER (several)
                FROM (SELECT {_OWNER}, order_key, count(*) AS n,
                             min(item_id) <> max(item_id) AS several
                      FROM {source} GROUP BY ALL)"""
        ).fetchall()
        totals.baskets += baskets
        totals.lines += lines or 0
        totals.orders += orders
        totals.guest_orders += guests
        [(item_lines, known, repeats)] = connection.execute(
            f"""SELECT sum(n)::BIGINT, sum(n) FILTER (is_known)::BIGINT,
                       sum(n - 1) FILTER (is_known)::BIGINT
                FROM (SELECT {_OWNER}, item_id, count(DISTINCT order_key) AS n,
                             NOT (customer_hi = 0 AND customer_lo = 0) AS is_known
                      FROM {source} GROUP BY ALL)"""
        ).fetchall()
        totals.item_lines += item_lines or 0
        totals.known_lines += known or 0
        totals.repeats += repeats or 0
        for n_orders, n_customers in connection.execute(
            f"""SELECT n, count(*) FROM (SELECT {_OWNER}, count(DISTINCT order_key) AS n
                FROM {source} WHERE NOT (customer_hi = 0 AND customer_lo = 0) GROUP BY ALL)
                GROUP BY n"""
        ).fetchall():
            totals.customers_by_orders[n_orders] += n_customers


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _median(customers_by_orders: Counter[int]) -> float | None:
    half = sum(customers_by_orders.values()) / 2
    seen = 0
    for n_orders in sorted(customers_by_orders):
        seen += customers_by_orders[n_orders]
        if seen >= half:
            return float(n_orders)
    return None
