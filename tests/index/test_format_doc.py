"""docs/format.md is enough for another reader: this one uses struct, lmdb and msgpack alone.

Nothing of `index` is imported but, in the last tests, the decision it is compared with.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import struct
from pathlib import Path
from typing import Any

import lmdb
import msgpack
import pytest

import almanac
from index.decide import decide
from index.generation import Generation
from index.request import CartLine, Request
from tests.toys import SECRET, item_id

DOC = (Path(almanac.__file__).parent / "docs" / "format.md").read_text()
NO_ROW = 0xFFFFFFFF


class MiniReader:
    """A second reader of format 1: checks what must be checked, and decides plain requests."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.manifest = self._manifest()
        self.model: dict[str, Any] = msgpack.unpackb((directory / "model.msgpack").read_bytes())
        assert (self.model["format"], self.model["version"]) == ("almanac-snapshot", 1)
        assert self.model["binding"].hex() == self.manifest["binding"]
        n = self.model["n_offers"]
        self.prior = struct.unpack(f"<{n}f", self.model["prior"])
        self.customers = self._table("customers.lmdb", 1)
        self.contexts = self._table("contexts.lmdb", 2)
        self.items = self._table("items.lmdb", 3)
        self.offers = self._table("offers.lmdb", 4)

    def _manifest(self) -> dict[str, Any]:
        data = (self.directory / "manifest.json").read_bytes()
        body, _, _ = data.rpartition(b',\n "manifest_sha256": "')
        manifest: dict[str, Any] = json.loads(data)
        assert (manifest["format"], manifest["version"]) == ("almanac-snapshot", 1)
        assert manifest["manifest_sha256"] == hashlib.sha256(body).hexdigest()
        lines = "".join(
            f"{file['sha256']} {file['size']} {file['name']}\n"
            for file in sorted(manifest["files"], key=lambda file: str(file["name"]))
        )
        assert manifest["model_id"] == hashlib.sha256(lines.encode()).hexdigest()
        for file in manifest["files"]:
            content = (self.directory / file["name"]).read_bytes()
            assert (len(content), hashlib.sha256(content).hexdigest()) == (
                file["size"],
                file["sha256"],
            )
        return manifest

    def _table(self, name: str, kind: int) -> dict[bytes, bytes]:
        (entry,) = (file for file in self.manifest["files"] if file["name"] == name)
        page_bytes = self.manifest["platform"]["page_bytes"]
        assert entry["size"] >= (entry["last_pgno"] + 1) * page_bytes
        # A copy, since the same file must not be mapped twice by one process.
        with (
            lmdb.open(
                self._copied(name), subdir=False, readonly=True, lock=False, max_dbs=0
            ) as env,
            env.begin() as txn,
        ):
            records = {bytes(key): bytes(value) for key, value in txn.cursor()}
        magic, version, found_kind, binding = struct.unpack("<4sHH16s", records.pop(b"\0"))
        assert (magic, version, found_kind) == (b"ALMT", 1, kind)
        assert binding.hex() == self.manifest["binding"]
        assert len(records) == entry["entries"]
        return records

    def _copied(self, name: str) -> str:
        path = self.directory / f"copy-of-{name}"
        path.write_bytes((self.directory / name).read_bytes())
        return str(path)

    @staticmethod
    def _row(data: bytes, start: int, n: int) -> dict[int, float]:
        return dict(struct.iter_unpack("<If", data[start : start + 8 * n]))

    def customer(self, secret: bytes, name: str) -> tuple[int, dict[int, float], set[int]] | None:
        data = self.customers.get(
            hashlib.blake2b(name.encode(), digest_size=16, key=secret).digest()
        )
        if data is None:
            return None
        n_orders, n, h, _, _ = struct.unpack_from("<IHHII", data)
        assert len(data) == 16 + 12 * n + 4 * h
        history = struct.unpack_from(f"<{h}I", data, 16 + 12 * n)
        return n_orders, self._row(data, 16, n), set(history)

    def context(self, row: int) -> dict[int, float]:
        data = self.contexts[row.to_bytes(4, "big")]
        found, _, n, dim, _ = struct.unpack_from("<IIHHI", data)
        assert (found, len(data)) == (row, 16 + 12 * n + 4 * dim)
        return self._row(data, 16, n)

    def item(self, name: str) -> tuple[int, int, set[int], dict[int, float]]:
        key = hashlib.blake2b(name.encode(), digest_size=16, person=b"almanac-item").digest()
        data = self.items[key]
        _, _, price, category, m, n, dim, _ = struct.unpack_from("<IIIIHHHH", data)
        assert len(data) == 24 + 4 * m + 12 * n + 4 * dim
        own = struct.unpack_from(f"<{m}I", data, 24)
        return price, category, set(own), self._row(data, 24 + 4 * m, n)

    def offer(self, row: int) -> tuple[int, str]:
        data = self.offers[row.to_bytes(4, "big")]
        found, flags, *_, i, r, f = struct.unpack_from("<IIQqqdIIHHI", data)
        assert (found, len(data)) == (row, 56 + i + r + f)
        return flags, data[56 : 56 + i].decode()

    def decide(
        self,
        customer: str | None,
        context: dict[str, str],
        cart: list[str],
        k: int,
        repeat: float | None = None,
    ) -> tuple[str, list[tuple[str, float, float]]]:
        """Tier, and id, score and probability of each offer; carts of known items with rows."""
        known = self.customer(SECRET, customer) if customer else None
        features = {feature["name"]: feature["rows"] for feature in self.model["features"]}
        parts: list[tuple[str, float, dict[int, float]]] = []
        for name, value in context.items():
            row = features.get(name, {}).get(value.strip().lower())
            if row is not None:
                parts.append((f"context:{name}", 1.0, self.context(row)))
        banned: set[int] = set()
        for name in cart:
            damping = len(cart) ** -self.model["cart_power"]
            price, category, own, row_of_item = self.item(name)
            banned |= own
            parts.append(("cart", 1.0, row_of_item))
            parts.append(("cart_sum", damping, row_of_item))
            if category != NO_ROW:
                parts.append(("context:category", damping, self.context(category)))
            band = sum(edge <= price for edge in self.model["price_edges_cents"])
            band_row = features["price_band"][str(band)]
            parts.append(("context:price_band", damping, self.context(band_row)))
        tier = "context" if parts else "prior"
        if known is not None:
            tier = "thin" if known[0] < 3 else "individual"
            parts.append(("personal", 1.0, known[1]))
            if repeat is not None:
                parts.append(("repeat", math.log(repeat), dict.fromkeys(known[2], 1.0)))
        return tier, self._best(tier, parts, banned, k, has_cart=bool(cart))

    def _best(
        self,
        tier: str,
        parts: list[tuple[str, float, dict[int, float]]],
        banned: set[int],
        k: int,
        *,
        has_cart: bool,
    ) -> list[tuple[str, float, float]]:
        tiers = self.model["tiers"]
        model = tiers.get(f"{tier}+cart", tiers[tier]) if has_cart else tiers[tier]
        weights = model["weights"]
        scores = dict(enumerate(self.prior))
        top = self.model["prior_top"]["*"]
        candidates = set(struct.unpack(f"<{len(top) // 4}I", top))
        peaks: dict[int, float] = {}
        for signal, damping, row in parts:
            candidates |= set(row)
            for offer, value in row.items():
                if signal == "cart":
                    peaks[offer] = max(value, peaks.get(offer, 0.0))
                else:
                    weight = (
                        1.0 / model["slope"] if signal == "repeat" else weights.get(signal, 0.0)
                    )
                    scores[offer] += weight * damping * value
        for offer, value in peaks.items():
            scores[offer] += weights.get("cart", 0.0) * value
        slope, intercept = (model[name] for name in ("slope", "intercept"))
        best = sorted(candidates - banned, key=lambda row: (-scores[row], row))
        rest = sorted(set(scores) - candidates - banned, key=lambda row: (-scores[row], row))
        shown = [row for row in (*best, *rest) if self.offer(row)[0] & 1]
        return [
            (
                self.offer(row)[1],
                scores[row],
                1 / (1 + math.exp(-(slope * scores[row] + intercept))),
            )
            for row in shown[:k]
        ]


@pytest.fixture
def mini(toy_copy: Path) -> MiniReader:
    return MiniReader(toy_copy)


@pytest.mark.parametrize("customer", [None, "ann", "bob", "eve"])
@pytest.mark.parametrize("context", [{}, {"device": "Mobile"}, {"store": "7", "moon": "full"}])
@pytest.mark.parametrize("cart", [[], [1], [2], [1, 2]])
@pytest.mark.parametrize("repeat", [None, 0.2])
def test_another_reader_decides_alike(
    mini: MiniReader,
    toy: Generation,
    customer: str | None,
    context: dict[str, Any],
    cart: list[int],
    repeat: float | None,
) -> None:
    names = [item_id(row) for row in cart]
    request = Request(
        customer_id=customer,
        context=context,
        cart=[CartLine(item_id=name) for name in names],
        k=30,
        repeat=repeat,
    )
    ours = decide(toy, request)
    tier, theirs = mini.decide(customer, context, names, 30, repeat)

    assert tier == ours.tier
    assert [name for name, _, _ in theirs] == [offer.offer_id for offer in ours.offers]
    for (_, score, probability), offer in zip(theirs, ours.offers, strict=True):
        assert score == pytest.approx(offer.score, abs=1e-4)
        assert probability == pytest.approx(offer.probability, abs=1e-4)


def test_the_worked_keys_are_right() -> None:
    worked = dict(re.findall(r"^\| ([^|]+) \| `([0-9a-f]+)` \|$", DOC, re.MULTILINE))
    secret = b"toy-secret-toy-secret"

    assert worked == {
        "key of customer `ann`": hashlib.blake2b(b"ann", digest_size=16, key=secret).hexdigest(),
        "`secret_check`": hashlib.blake2b(
            b"almanac secret check", digest_size=8, key=secret
        ).hexdigest(),
        "key of item `item-007`": hashlib.blake2b(
            b"item-007", digest_size=16, person=b"almanac-item"
        ).hexdigest(),
        "key of offer row 258": (258).to_bytes(4, "big").hex(),
    }


def test_the_worked_decision_is_right(mini: MiniReader) -> None:
    _, offers = mini.decide("ann", {}, [], 3)

    assert [(name, round(score, 4)) for name, score, _ in offers] == [
        ("item-030", -0.0769),
        ("item-031", -1.1795),
        ("item-000", -2.0),
    ]
    _, lowered = mini.decide("ann", {}, [], 10, 0.2)
    assert [(name, round(score, 4)) for name, score, _ in (lowered[0], lowered[-1])] == [
        ("item-030", -1.6864),
        ("item-031", -2.7889),
    ]


@pytest.mark.parametrize(
    ("section", "layout"),
    [
        ("Customers", "<IHHII"),
        ("Contexts", "<IIHHI"),
        ("Items", "<IIIIHHHH"),
        ("Offers", "<IIQqqdIIHHI"),
    ],
)
def test_the_tables_of_fields_are_the_layout(section: str, layout: str) -> None:
    """Offsets and types of a record's head follow from each other, without gap or overlap."""
    text = DOC.split(f"### {section}\n")[1].split("\n### ")[0]
    codes = {"u16": "H", "u32": "I", "u64": "Q", "i64": "q", "f64": "d"}
    fields = [
        (int(offset), codes[kind])
        for offset, kind in re.findall(r"^\| (\d+) \| `([uif]\d+)` \|", text, re.MULTILINE)
    ]

    assert "<" + "".join(code for _, code in fields) == layout
    assert [offset for offset, _ in fields] == [
        struct.calcsize("<" + layout[1 : 1 + place]) for place in range(len(fields))
    ]


def test_the_flat_vectors_are_laid_out_as_told(mini: MiniReader) -> None:
    data = (mini.directory / "offers.faiss").read_bytes()
    magic, dim, n, _, _, trained, metric, floats = struct.unpack_from("<4siqqqBiQ", data)

    assert (magic, dim, n, trained, metric, floats) == (b"IxFI", 4, 40, 1, 0, 160)
    assert struct.unpack_from("<4f", data, 45 + 16 * 5) == (0.0, 1.0, 0.0, 0.0)
    assert len(data) == 45 + 4 * floats


def test_every_member_of_manifest_and_model_is_told(mini: MiniReader) -> None:
    manifest, model = DOC.split("\n## Manifest\n")[1], DOC.split("\n## Model\n")[1]

    told = set(re.findall(r"`(\w+)`", manifest.split("\n## ")[0]))
    assert set(mini.manifest) <= told
    assert {name for file in mini.manifest["files"] for name in file} <= told
    assert {name for golden in mini.manifest["golden"] for name in golden} <= told
    assert set(mini.model) <= set(re.findall(r"`(\w+)`", model.split("\n## ")[0]))
