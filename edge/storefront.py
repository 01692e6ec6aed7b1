"""The demonstration shop at `/`: who can be picked, what can be searched, what can be set.

For demonstrations only: a real shop has its own catalogue, and its customers are nobody's list.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs

import msgspec
from msgspec import Struct
from starlette.types import ASGIApp, Receive, Scope, Send

from edge.errors import SettingsRefused
from edge.health import send_json
from edge.offers import current_snapshot
from edge.pages import Page
from edge.state import State
from index.generation import Generation

_KNOWN_TITLES: Final = 6000
_FOUND: Final = 12
_CHOICES: Final = 400
_PAGE: Final = Path(__file__).with_name("storefront.html")


class Persona(Struct, frozen=True, kw_only=True):
    """A customer the page offers to be."""

    customer_id: str
    label: str
    note: str = ""


class Product(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something that can be put into the cart."""

    item_id: str
    item_row: int
    title: str
    category: str | None = None
    price: float | None = None


class _Fragment(Struct):
    title: str | None = None
    category: str | None = None
    price: float | None = None


def storefront_routes(state: State, personas_path: Path | None) -> Mapping[str, ASGIApp]:
    """The page and what it asks for, by path.

    Raises:
        SettingsRefused: the file of personas is none.
    """
    shop = _Shop(state, _personas(personas_path))
    return {
        "/": Page(_PAGE),
        "/storefront/setup.json": shop.setup,
        "/storefront/items.json": shop.items,
    }


def _personas(path: Path | None) -> list[Persona]:
    if path is None:
        return []
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[Persona])
    except (OSError, msgspec.DecodeError) as problem:
        raise SettingsRefused(
            f"--personas={path}: {problem}",
            hint='wanted is a JSON list of {"customer_id", "label", "note"}',
        ) from problem


class _Shop:
    def __init__(self, state: State, personas: list[Persona]) -> None:
        self._state = state
        self._personas = personas
        self._known: tuple[str, list[tuple[str, Product]]] = ("", [])

    async def setup(self, scope: Scope, _receive: Receive, send: Send) -> None:
        generation = current_snapshot(self._state)
        model = generation.model
        await send_json(
            scope,
            send,
            {
                "brand": model.brand,
                "currency": model.currency,
                "timezone": model.timezone,
                "snapshot_id": generation.snapshot_id,
                "as_of_us": generation.manifest.data["as_of_us"],
                "counts": generation.manifest.counts,
                "placements": model.placements,
                "personas": self._personas,
                "features": _features(generation),
            },
        )

    async def items(self, scope: Scope, _receive: Receive, send: Send) -> None:
        asked = parse_qs(scope["query_string"].decode("latin-1")).get("q", [""])[0].casefold()
        words = asked.split()
        known = self._titles(current_snapshot(self._state))
        found = (product for text, product in known if all(word in text for word in words))
        await send_json(
            scope, send, [product for product, _ in zip(found, range(_FOUND), strict=False)]
        )

    def _titles(self, generation: Generation) -> list[tuple[str, Product]]:
        if self._known[0] != generation.snapshot_id:
            self._known = (generation.snapshot_id, _products(generation))
        return self._known[1]


def _features(generation: Generation) -> list[dict[str, Any]]:
    return [
        {"name": feature.name, "kind": feature.kind, "values": sorted(feature.rows)[:_CHOICES]}
        for feature in generation.model.features
        if feature.kind in ("request", "hour_of_week")
    ]


def _products(generation: Generation) -> list[tuple[str, Product]]:
    """Titles of the best-selling offers, with what is searched in them, best first."""
    found = []
    with generation.reading() as reader:
        for offer_row in generation.prior_order[:_KNOWN_TITLES].tolist():
            offer = reader.offer(offer_row)
            item = None if offer is None else reader.item(offer.offer_id)
            if offer is None or item is None:
                continue
            told = msgspec.json.decode(b"{%b}" % offer.fragment, type=_Fragment)
            title = told.title or offer.offer_id
            product = Product(
                item_id=offer.offer_id,
                item_row=item.item_row,
                title=title,
                category=told.category,
                price=told.price,
            )
            found.append((f"{title} {offer.offer_id} {told.category or ''}".casefold(), product))
    return found
