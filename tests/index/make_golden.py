"""Makes `golden/v1`, the snapshot that every later reader of format 1 must still read.

Run it only when format 1 itself was wrong, which is a decision and not a repair:
`python -m tests.index.make_golden`. A new format gets a new folder beside the old one.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from index.eligibility import parse_rules
from index.layout import NO_ROW, customer_key, item_key, row_key, secret_check
from index.model import Feature, Model, TierModel
from index.records import (
    NO_EXPIRY_US,
    NO_PRICE,
    NO_START_US,
    OFFER_AVAILABLE,
    OFFER_HAS_PLACEMENTS,
    OFFER_HAS_RULES,
    OFFER_HAS_WINDOW,
    ContextRecord,
    CustomerRecord,
    ItemRecord,
    OfferRecord,
    pack_context,
    pack_customer,
    pack_item,
    pack_offer,
)
from index.request import CartLine, Request
from index.writer import SnapshotWriter

GOLDEN_DIR = Path(__file__).parent / "golden" / "v1"
SECRET = b"golden-secret-golden"
BINDING = bytes.fromhex("00112233445566778899aabbccddeeff")
AS_OF_US = 1_764_547_200_000_000

U4, F4 = np.uint32, np.float32
NO_U4, NO_F4 = np.zeros(0, U4), np.zeros(0, F4)

CUSTOMERS = {
    "zoë@example.com": CustomerRecord(
        7,
        20_422,
        np.array([1, 3], U4),
        np.array([2.5, -0.25], F4),
        np.array([4, 0], U4),
        np.array([1, 2, 4], U4),
    ),
    "42": CustomerRecord(1, 20_001, NO_U4, NO_F4, NO_U4, np.array([5], U4)),
}
CONTEXTS = [
    ContextRecord(
        0, 120, np.array([0], U4), np.array([0.5], F4), np.array([60], U4), np.array([1, 0], F4)
    ),
    ContextRecord(1, 30, np.array([2, 5], U4), np.array([1, 2], F4), np.array([8, 9], U4), NO_F4),
    ContextRecord(2, 0, NO_U4, NO_F4, NO_U4, np.array([0, 1], F4)),
]
ITEMS = {
    "bread": ItemRecord(
        0,
        90,
        349,
        2,
        (0, 4),
        np.array([2], U4),
        np.array([1.75], F4),
        np.array([33], U4),
        np.array([0.6, 0.8], F4),
    ),
    "käse": ItemRecord(1, 10, NO_PRICE, NO_ROW, (), NO_U4, NO_F4, NO_U4, NO_F4),
}
NAN = float("nan")
OFFERS = [
    OfferRecord(0, OFFER_AVAILABLE, 0, NO_START_US, NO_EXPIRY_US, NAN, 90, "bread", b"", b""),
    OfferRecord(
        1,
        OFFER_AVAILABLE,
        0,
        NO_START_US,
        NO_EXPIRY_US,
        0.5,
        80,
        "käse",
        b"",
        b'"title":"K\xc3\xa4se"',
    ),
    OfferRecord(
        2,
        OFFER_AVAILABLE | OFFER_HAS_WINDOW,
        0,
        AS_OF_US,
        AS_OF_US + 1,
        1.25,
        70,
        "today",
        b"",
        b'"title":"Today","creative":{"colour":"red"}',
    ),
    OfferRecord(
        3,
        OFFER_AVAILABLE | OFFER_HAS_RULES,
        0,
        NO_START_US,
        NO_EXPIRY_US,
        2.0,
        60,
        "abroad",
        parse_rules('{"country": ["US", "CA"], "cart_total": {"min": 30}}'),
        b"",
    ),
    OfferRecord(
        4,
        OFFER_AVAILABLE | OFFER_HAS_PLACEMENTS,
        0b10,
        NO_START_US,
        NO_EXPIRY_US,
        3.0,
        50,
        "at checkout",
        b"",
        b"",
    ),
    OfferRecord(5, 0, 0, NO_START_US, NO_EXPIRY_US, 4.0, 40, "sold out", b"", b""),
]
TIER = TierModel(
    weights={
        "personal": 0.5,
        "cart": 1.5,
        "cart_sum": 0.75,
        "viewed": 0.25,
        "viewed_sum": 0.5,
        "similar": 0.125,
        "context:device": 2.0,
    },
    slope=0.75,
    intercept=-0.5,
)
MODEL = Model(
    brand="Bäckerei",
    timezone="Europe/Berlin",
    currency="EUR",
    binding=BINDING,
    secret_check=secret_check(SECRET),
    n_items=2,
    n_offers=6,
    n_contexts=3,
    n_customers=2,
    n_shards=1,
    dim=2,
    prior=np.array([-1.0, -1.5, -2.0, -2.5, -3.0, -3.5], F4),
    prior_top={"*": np.array([0, 1, 2], U4), "checkout": np.array([4], U4)},
    values=np.array([1, 0.5, 1.25, 2, 3, 4], F4),
    features=(
        Feature(name="device", kind="request", rows={"mobile": 0, "desktop": 1}),
        Feature(name="category", kind="category", rows={"food > bread": 2}),
    ),
    price_edges_cents=(250, 1000),
    tiers=dict.fromkeys(("individual", "thin", "context", "prior"), TIER),
    cart_power=0.5,
    repeat={"*": "allow", "checkout": "exclude"},
    reserve={"checkout": 0.001},
    exploration=0.0,
    placements=("home", "checkout"),
    n_probe=4,
    similar_top=3,
)
GOLDEN = (
    (None, Request()),
    (
        customer_key(SECRET, "zoë@example.com"),
        Request(placement="checkout", cart=[CartLine(item_id="käse")], k=4, repeat="allow"),
    ),
    (None, Request(context={"device": "mobile", "country": "us"}, viewed=["bread"], k=2)),
)


def write_golden(out_dir: Path) -> None:
    """Write the golden snapshot of the format this code writes."""
    customers = sorted(
        (customer_key(SECRET, name), pack_customer(record)) for name, record in CUSTOMERS.items()
    )
    items = sorted((item_key(name), pack_item(record)) for name, record in ITEMS.items())
    with SnapshotWriter(out_dir, binding=BINDING) as writer:
        writer.customers(0, 1, customers, expected=2, capacity_bytes=1 << 12)
        writer.contexts(
            [(row_key(record.context_row), pack_context(record)) for record in CONTEXTS],
            expected=3,
            capacity_bytes=1 << 12,
        )
        writer.items(items, expected=2, capacity_bytes=1 << 12)
        writer.offers(
            [(row_key(record.offer_row), pack_offer(record)) for record in OFFERS],
            expected=6,
            capacity_bytes=1 << 12,
        )
        writer.vectors(np.array([[1, 0], [0, 1], [0.6, 0.8], [0.8, 0.6], [1, 0], [0, 1]], F4))
        manifest = writer.finish(
            MODEL,
            as_of_us=AS_OF_US,
            data={"from_us": AS_OF_US - 1},
            counts={"orders": 150, "customers": 2, "items": 2, "offers": 6, "contexts": 3},
            invariants={"max_k": 100},
            build={"seed": 1},
            golden_requests=GOLDEN,
        )
        writer.publish(manifest, {"report.json": b"{}"})


if __name__ == "__main__":
    shutil.rmtree(GOLDEN_DIR, ignore_errors=True)
    GOLDEN_DIR.parent.mkdir(parents=True, exist_ok=True)
    write_golden(GOLDEN_DIR)
