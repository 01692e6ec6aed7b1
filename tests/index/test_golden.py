"""The committed snapshot of each format version is read value by value, by every later reader.

When a test here fails, the format has changed: either that was a mistake, or the format's number
goes up, a new golden folder is made beside the old one, and readers go on reading both.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from index.generation import Generation, Reader
from index.manifest import read_manifest
from index.model import Model
from index.platform import platform_facts
from index.records import unpack_offer
from index.snapshot import open_snapshot
from index.tables import Table
from index.verify import verify_snapshot
from tests.index import make_golden as v1

pytestmark = pytest.mark.skipif(
    platform_facts() != read_manifest(v1.GOLDEN_DIR).platform,
    reason="LMDB files are read on machines like the writer's only",
)


@pytest.fixture(scope="module")
def golden() -> Iterator[Generation]:
    with open_snapshot(v1.GOLDEN_DIR, v1.SECRET) as generation:
        yield generation


@pytest.fixture
def reader(golden: Generation) -> Iterator[Reader]:
    reader = golden.enter()
    yield reader
    golden.leave(reader)


def test_it_is_sound_and_decides_as_it_did() -> None:
    assert "3 golden decisions repeated" in list(verify_snapshot(v1.GOLDEN_DIR, deep=True))


def test_the_writer_still_makes_the_same_bytes(tmp_path: Path) -> None:
    v1.write_golden(tmp_path / "v1")
    for path in sorted(v1.GOLDEN_DIR.iterdir()):
        again = (tmp_path / "v1" / path.name).read_bytes()
        assert again == path.read_bytes(), f"{path.name}: the format changed, see above"


def test_its_names(golden: Generation) -> None:
    manifest = golden.manifest

    assert manifest.format == "almanac-snapshot"
    assert manifest.version == 1
    assert manifest.snapshot_id == f"20251201T0000Z-{manifest.model_id[:12]}"
    assert manifest.brand == "Bäckerei"
    assert manifest.binding == "00112233445566778899aabbccddeeff"
    assert manifest.secret_check == "e97af60a67a70bb5"
    assert manifest.data == {"as_of_us": 1_764_547_200_000_000, "from_us": 1_764_547_199_999_999}
    assert manifest.counts == {
        "orders": 150,
        "customers": 2,
        "items": 2,
        "offers": 6,
        "contexts": 3,
    }
    assert [entry.name for entry in manifest.reports] == ["report.json"]


def test_its_model(golden: Generation) -> None:
    found = golden.model
    for name in Model.__dataclass_fields__:
        one, other = getattr(found, name), getattr(v1.MODEL, name)
        if isinstance(other, np.ndarray):
            np.testing.assert_array_equal(one, other, name)
        elif name == "prior_top":
            assert {key: rows.tolist() for key, rows in one.items()} == {
                "*": [0, 1, 2],
                "checkout": [4],
            }
        else:
            assert one == other, name


def test_its_customers(golden: Generation, reader: Reader) -> None:
    assert (golden.key_of("42") or b"").hex() == "61f3437b5354440647636cd79244481b"
    for name, expected in v1.CUSTOMERS.items():
        found = reader.customer(golden.key_of(name) or b"")
        for part, value in expected._asdict().items():
            np.testing.assert_array_equal(getattr(found, part), value, f"{name} {part}")
    assert reader.customer(bytes(16)) is None


def test_its_contexts(reader: Reader) -> None:
    for row, expected in enumerate(v1.CONTEXTS):
        found = reader.context(row)
        for part, value in expected._asdict().items():
            np.testing.assert_array_equal(getattr(found, part), value, f"{row} {part}")


def test_its_items(reader: Reader) -> None:
    for name, expected in v1.ITEMS.items():
        found = reader.item(name)
        for part, value in expected._asdict().items():
            np.testing.assert_array_equal(getattr(found, part), value, f"{name} {part}")


def test_its_offers(reader: Reader) -> None:
    for row, expected in enumerate(v1.OFFERS):
        found = reader.offer(row)
        np.testing.assert_equal(found, expected, str(row))


def test_its_vectors(golden: Generation) -> None:
    assert golden.vectors is not None
    rows, scores = golden.vectors.nearest(np.array([0.6, 0.8], np.float32), 3)

    assert rows.tolist() == [2, 3, 1]
    np.testing.assert_allclose(scores, [1.0, 0.96, 0.8], rtol=1e-6)


def test_its_offer_records_byte_by_byte() -> None:
    table = Table(v1.GOLDEN_DIR / "offers.lmdb", kind=4)
    reader = table.reader()
    keys, values = zip(*reader.records(), strict=True)
    reader.close()
    table.close()

    assert [key.hex() for key in keys] == [f"0000000{row}" for row in range(6)]
    assert values[4].hex(" ", -4) == (
        "04000000 09000000 02000000 00000000 00000000 00000080 ffffffff ffffff7f "
        "00000000 00000840 32000000 00000000 0b000000 00000000 61742063 6865636b 6f7574"
    )
    assert unpack_offer(values[1]).fragment == '"title":"Käse"'.encode()
