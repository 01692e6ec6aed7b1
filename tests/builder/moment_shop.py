"""Shops of strangers whose truth is known: what an order holds follows from its moment by formula.

    P(offer | moment) ∝ exp(base[offer] + Σ over features of effect[value, offer])

Customers, if there are any, have no tastes: all that can be learned is what moments say. Since the
chances are known, so is what a list is worth: the chance that it holds the next item, without the
noise of orders.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from builder.duck import literal
from index.request import Request
from tests.builder.files import connected

START = datetime(2025, 3, 3, tzinfo=UTC)
HOUR_US = 3_600_000_000
K = 10
_HOURS_OF_PART = (range(7), range(7, 12), range(12, 18), range(18, 24))
_PART_OF_HOUR = np.repeat(np.arange(4), [len(hours) for hours in _HOURS_OF_PART])
_PART_SHARES = (0.05, 0.3, 0.35, 0.3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a shop is like. Effects are normal with the deviation named here; 0 is none.

    Attributes:
        n_items: items, and offers.
        channel: of six channels.
        source: what `source` adds of its own; it agrees with the channel nine times in ten.
        daypart: of four parts of the day, of which the tables only know hours.
        town: of many towns, few of them large: of the large ones.
        tail: and of the others, which few orders come from.
        n_towns: how many there are.
        large_towns: how many of them are large.
        pair: of each pair of channel and daypart: what no sum of features can say.
        wide: further columns that say nothing, see `_useless`.
        days: length of the history.
        mean_items: of an order.
        customers: whom orders are dealt to by lot; 0 makes all of them guests.
    """

    n_items: int = 300
    channel: float = 0.0
    source: float = 0.0
    daypart: float = 0.0
    town: float = 0.0
    tail: float = 0.0
    n_towns: int = 1500
    large_towns: int = 40
    pair: float = 0.0
    wide: int = 0
    days: int = 120
    mean_items: float = 1.5
    customers: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """When and in which circumstances orders are made.

    Attributes:
        at_us: UTC microseconds, shape (n,).
        codes: by effect, the row of it that holds; int64, shape (n,).
        values: by context feature, as files and requests spell it; empty where it is not known.
    """

    at_us: NDArray[np.int64]
    codes: Mapping[str, NDArray[np.int64]]
    values: Mapping[str, NDArray[np.str_]]

    def __len__(self) -> int:
        return len(self.at_us)

    def request(self, place: int, k: int = K) -> Request:
        """The question of somebody nobody knows."""
        said = {name: str(column[place]) for name, column in self.values.items()}
        return Request(
            k=k,
            at=datetime.fromtimestamp(self.at_us[place] / 1e6, tz=UTC),
            context={name: value for name, value in said.items() if value},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Shop:
    """A plan with its effects drawn.

    Attributes:
        plan: see there.
        base: float64, shape (n_items,), falling.
        effects: by name, float64, shape (n_values, n_items).
        town_shares: float64, shape (n_towns,).
    """

    plan: Plan
    base: NDArray[np.float64]
    effects: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    town_shares: NDArray[np.float64]

    def chances(self, moments: Moments) -> NDArray[np.float64]:
        """Chance of each offer to be the next taken, shape (n, n_items)."""
        logits = np.tile(self.base, (len(moments), 1))
        for name, effect in self.effects.items():
            logits += effect[moments.codes[name]]
        logits -= logits.max(axis=1, keepdims=True)
        chances: NDArray[np.float64] = np.exp(logits)
        chances /= chances.sum(axis=1, keepdims=True)
        return chances

    def moments(
        self, n: int, seed: int, *, from_day: float = 0.0, until_day: float | None = None
    ) -> Moments:
        """Draw moments, evenly over the days."""
        draw = np.random.default_rng(seed)
        until = self.plan.days if until_day is None else until_day
        day = draw.integers(int(from_day), int(until), n)
        part = draw.choice(4, n, p=_PART_SHARES)
        first = np.array([hours[0] for hours in _HOURS_OF_PART])[part]
        length = np.array([len(hours) for hours in _HOURS_OF_PART])[part]
        hour = first + (draw.random(n) * length).astype(np.int64)
        at_us = int(START.timestamp()) * 10**6 + (day * 24 + hour) * HOUR_US
        at_us = at_us + draw.integers(0, HOUR_US, n)
        channel = draw.choice(6, n, p=(0.3, 0.25, 0.2, 0.12, 0.08, 0.05))
        source = np.where(draw.random(n) < 0.9, channel, draw.integers(0, 6, n))
        town = draw.choice(self.plan.n_towns, n, p=self.town_shares)
        values = {
            "channel": np.char.add("c", channel.astype(str)),
            "source": np.char.add("s", source.astype(str)),
            "theme": np.char.add("t", draw.integers(0, 5, n).astype(str)),
            "town": np.char.add("town-", town.astype(str)),
        }
        values |= _useless(self.plan.wide, n, draw)
        codes = {"channel": channel, "source": source, "daypart": part, "town": town}
        codes["pair"] = channel * 4 + part
        codes["customer"] = draw.integers(0, max(self.plan.customers, 1), n)
        return Moments(at_us=at_us, codes=codes, values=values)

    def orders(self, moments: Moments, seed: int) -> list[NDArray[np.int64]]:
        """Items of each moment's order: at least one, each drawn by its chance, none twice."""
        draw = np.random.default_rng(seed)
        n_more = draw.geometric(1.0 / self.plan.mean_items, len(moments)) - 1
        found: list[NDArray[np.int64]] = []
        for start in range(0, len(moments), 4096):
            part = _part(moments, slice(start, start + 4096))
            keys = np.log(self.chances(part)) + draw.gumbel(size=(len(part), self.plan.n_items))
            best = np.argsort(-keys, axis=1)[:, :8]
            found += [
                row[: 1 + n] for row, n in zip(best, n_more[start : start + 4096], strict=True)
            ]
        return found


def make_shop(plan: Plan, seed: int = 0) -> Shop:
    """Draw a shop's effects."""
    draw = np.random.default_rng([seed, 7])
    sizes = {
        "channel": (6, plan.channel),
        "source": (6, plan.source),
        "daypart": (4, plan.daypart),
        "town": (plan.n_towns, plan.town),
        "pair": (24, plan.pair),
    }
    effects = {
        name: draw.normal(0.0, deviation, (n_values, plan.n_items))
        for name, (n_values, deviation) in sizes.items()
        if deviation > 0.0
    }
    if "town" in effects:
        effects["town"][plan.large_towns :] *= plan.tail / plan.town
    shares = (np.arange(plan.n_towns) + 3.0) ** -1.5
    return Shop(
        plan=plan,
        base=-np.log(np.arange(plan.n_items) + 5.0),
        effects=effects,
        town_shares=shares / shares.sum(),
    )


def item_id(number: int) -> str:
    """Id of an item, and of its offer: rows follow the numbers."""
    return f"i{number:05d}"


def write_events(path: Path, shop: Shop, n_orders: int, seed: int) -> Path:
    """Draw orders of the whole history and write their lines as Parquet."""
    moments = shop.moments(n_orders, seed)
    orders = shop.orders(moments, seed + 1)
    order = np.repeat(np.arange(n_orders), [len(items) for items in orders])
    columns: dict[str, Any] = {
        "number": np.arange(n_orders),
        "ts": moments.at_us,
        "customer": moments.codes["customer"],
    }
    names = [f"ctx_{name}" for name in moments.values]
    columns |= dict(zip(names, (v.astype(object) for v in moments.values.values()), strict=True))
    contexts = ", ".join(f"nullif({name}, '') AS {name}" for name in names)
    with connected() as connection:
        connection.register("moments", columns)
        connection.register("lines", {"number": order, "item": np.concatenate(orders)})
        connection.execute(
            f"""COPY (
                SELECT ts, 'o' || number AS order_id, format('i{{:05d}}', item) AS item_id,
                    {"'c' || customer" if shop.plan.customers else "NULL"} AS customer_id,
                    {contexts}
                FROM lines JOIN moments USING (number) ORDER BY number, item
            ) TO {literal(path)} (FORMAT parquet)"""
        )
    return path


def worth(lists: NDArray[np.int64], chances: NDArray[np.float64]) -> tuple[float, float]:
    """Mean recall@k and NDCG@k of lists when one more item is taken.

    Args:
        lists: int64, shape (n, k), offers, best first; -1 for an empty place.
        chances: float64, shape (n, n_items), the true ones.
    """
    gained = np.take_along_axis(chances, np.maximum(lists, 0), axis=1) * (lists >= 0)
    discounts = 1.0 / np.log2(np.arange(2, lists.shape[1] + 2))
    return float(gained.sum(axis=1).mean()), float((gained @ discounts).mean())


def best(chances: NDArray[np.float64], k: int = K) -> NDArray[np.int64]:
    """The lists that nothing can beat."""
    return np.argsort(-chances, axis=1, kind="stable")[:, :k]


def _part(moments: Moments, part: slice) -> Moments:
    return Moments(
        at_us=moments.at_us[part],
        codes={name: codes[part] for name, codes in moments.codes.items()},
        values={name: column[part] for name, column in moments.values.items()},
    )


def _useless(n_columns: int, n: int, draw: np.random.Generator) -> dict[str, NDArray[np.str_]]:
    """What logs are full of: constants, blanks, prices, ids, names that never come again."""
    kinds = (
        lambda: np.full(n, "on"),
        lambda: np.full(n, ""),
        lambda: np.char.add("", np.round(draw.lognormal(3, 1, n), 2).astype(str)),
        lambda: np.char.add("id-", draw.permutation(n).astype(str)),
        lambda: np.char.add("u", draw.integers(0, 5000, n).astype(str)),
        lambda: np.char.add("z", np.minimum(draw.zipf(1.3, n), 10**6).astype(str)),
        lambda: draw.integers(0, 2, n).astype(str),
        lambda: draw.integers(0, 40, n).astype(str),
    )
    return {f"extra_{place:02d}": kinds[place % len(kinds)]() for place in range(n_columns)}
