"""A shop with planted tastes, written as a shop would write it: three files in three formats.

What is planted: every customer has two favourites that stand in all of their orders; whoever buys
`sku-4x` buys `sku-5x` with it; when it rains, umbrellas are bought. A fifth of the orders come
from guests and from visitors known by an anonymous id only.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.builder.files import Row, write_rows

N_CUSTOMERS = 240
N_ITEMS = 60
N_DAYS = 120
START = datetime(2025, 3, 3, 8, tzinfo=UTC)
AS_OF = (START + timedelta(days=90)).date().isoformat()
SECRET_TEXT = "planted-shop-secret-0123456789"
UMBRELLAS = (38, 39)
CONFIG = """\
[brand]
name = "planted"
timezone = "Europe/Vienna"
currency = "EUR"

[input]
test_customers = ["quality.assurance@planted-mail.org"]

[evaluation]
holdout = 0.2
slice_days = 20
"""
ROOT = Path(__file__).parents[2]


def item_id(number: int) -> str:
    """Id of an item (and its offer)."""
    return f"sku-{number:02d}"


def customer_id(number: int) -> str:
    """Id of a customer: an e-mail address, as many shops have it."""
    return f"person.{number:04d}@planted-mail.org"


def favourites(number: int) -> tuple[int, int]:
    """Two of the first 36 items."""
    return number % 36, (number * 5 + 11) % 36


def order_lines(seed: int = 1) -> list[dict[str, str]]:
    """All order lines, in the order of time."""
    draw = random.Random(seed)
    orders: list[tuple[datetime, str, str, list[int], str]] = []
    for number in range(N_CUSTOMERS):
        for _ in range(draw.choice((1, 2, 5, 6, 7, 8))):
            weather = draw.choice(("rain", "sun", "sun"))
            orders.append((_moment(draw), customer_id(number), "", _basket(draw, number), weather))
    for number in range(len(orders) // 4):
        visitor = f"visitor-{number:05d}-cookie" if number % 2 else ""
        weather = draw.choice(("rain", "sun", "sun"))
        orders.append((_moment(draw), "", visitor, _basket(draw, None), weather))
    orders.sort()
    return [
        {
            "ts": (at + timedelta(seconds=place)).isoformat(),
            "customer_id": customer,
            "anonymous_id": visitor,
            "order_id": f"o-{number:05d}",
            "item_id": item_id(item),
            "quantity": "1",
            "unit_price": f"{1 + item % 7}.50",
            "currency": "EUR",
            "device": ("mobile", "desktop")[number % 2],
            "ctx_weather": weather,
            # What no context should be, and some shop will send: a name, different every time.
            "ctx_note": f"order {number} for {customer}" if customer and number % 3 == 0 else "",
        }
        for number, (at, customer, visitor, items, weather) in enumerate(orders)
        for place, item in enumerate(_with_weather(draw, items, weather))
    ]


def _moment(draw: random.Random) -> datetime:
    return START + timedelta(minutes=draw.randrange(N_DAYS * 24 * 60))


def _basket(draw: random.Random, customer: int | None) -> list[int]:
    items = [] if customer is None else list(favourites(customer))
    if draw.random() < 0.4:
        pair = draw.randrange(10)
        items += [40 + pair, 50 + pair]
    items += [draw.randrange(36) for _ in range(draw.randrange(1, 3))]
    return list(dict.fromkeys(items))


def _with_weather(draw: random.Random, items: list[int], weather: str) -> list[int]:
    umbrella = draw.random() < (0.6 if weather == "rain" else 0.02)
    return [*items, draw.choice(UMBRELLAS)] if umbrella else items


def catalogue() -> list[dict[str, str]]:
    """One row per item."""
    return [
        {
            "item_id": item_id(item),
            "title": f"Item {item}",
            "category": f"Shelf {item // 10} > Box {item // 5}",
            "price": f"{1 + item % 7}.50",
        }
        for item in range(N_ITEMS)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Planted:
    """Where the files of the planted shop lie."""

    events: tuple[Path, ...]
    items: Path
    config: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltShop:
    """A finished build: where its snapshot is, and what it said on stdout and stderr."""

    path: Path
    told: Mapping[str, Any]
    stderr: str


def write_planted(folder: Path) -> Planted:
    """Write events (whole orders in CSV, JSON lines and Parquet), catalogue and configuration."""
    parts: list[list[Row]] = [[], [], []]
    for line in order_lines():
        parts[int(line["order_id"][2:]) % 3].append(line)
    names = ("orders-a.csv.gz", "orders-b.jsonl.zst", "orders-c.parquet")
    events = [write_rows(folder / name, part) for name, part in zip(names, parts, strict=True)]
    items = write_rows(folder / "catalogue.csv", catalogue())
    config = folder / "almanac.toml"
    config.write_text(CONFIG)
    return Planted(events=tuple(events), items=items, config=config)


def build_words(planted: Planted, out: Path, *more: str) -> list[str | Path]:
    """The words of a build of the planted shop."""
    words: list[str | Path] = ["build", "--events", *planted.events, "--items", planted.items]
    return [*words, "--config", planted.config, "--out", out, "--effort=quick", "--json", *more]


def build_shop(planted: Planted, out: Path, *more: str) -> BuiltShop:
    """Build the planted shop in processes of its own."""
    done = almanac(*build_words(planted, out, *more))
    assert done.returncode == 0, done.stderr
    return BuiltShop(path=out, told=json.loads(done.stdout), stderr=done.stderr)


def almanac(*words: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    return subprocess.run(
        command(words), cwd=cwd, env=environment(), capture_output=True, text=True, check=False
    )


def command(words: Iterable[str | Path]) -> list[str]:
    """The command line of almanac."""
    return [sys.executable, "-m", "almanac", *map(str, words)]


def environment() -> dict[str, str]:
    """Ours, with the brand's secret, and our checkout importable from anywhere."""
    return {
        **os.environ,
        "ALMANAC_SECRET": SECRET_TEXT,
        "PYTHONPATH": str(ROOT),
        "PYTHONWARNINGS": "error",
    }
