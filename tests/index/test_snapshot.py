"""Opening: everything of one build and whole, or one error that says what to do."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from index import errors
from index.errors import (
    Corrupt,
    Incomplete,
    Mixed,
    NotASnapshot,
    SnapshotError,
    SnapshotNotFound,
    WrongSecret,
    WrongVersion,
)
from index.generation import Generation
from index.layout import MANIFEST_NAME, MODEL_NAME, VECTORS_NAME
from index.manifest import Manifest, encode_manifest, model_id, read_manifest
from index.request import Request
from index.snapshot import open_snapshot
from index.vectors import write_vectors
from index.verify import verify_snapshot
from tests.toys import SECRET, toy_customers, toy_model, toy_vectors, write_toy

ROOT = Path(__file__).parents[2]
TABLES = ["contexts.lmdb", "customers.lmdb", "items.lmdb", "offers.lmdb"]
FILES = [*TABLES, MODEL_NAME, VECTORS_NAME]


def rewrite(directory: Path, **changes: object) -> Path:
    """Change members of the manifest and seal it again, as only a writer's defect could."""
    manifest = msgspec.structs.replace(read_manifest(directory), **changes)
    (directory / MANIFEST_NAME).write_bytes(encode_manifest(manifest))
    return directory


@pytest.fixture(scope="session")
def other_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A snapshot of another build: other binding, other numbers, some other lengths."""
    directory = tmp_path_factory.mktemp("other") / "snapshot"
    prior = np.linspace(-3.0, -5.0, 40, dtype=np.float32)
    write_toy(directory, model=toy_model(binding=bytes(16), prior=prior))
    return directory


def test_a_sound_snapshot_tells_what_it_is(toy: Generation, toy_dir: Path) -> None:
    assert toy.directory == toy_dir
    assert re.fullmatch(r"20251201T0000Z-[0-9a-f]{12}", toy.snapshot_id)
    assert toy.snapshot_id.endswith(toy.model_id[:12])
    assert toy.manifest.brand == toy.model.brand == "toy"
    assert toy.damaged == 0


def test_the_same_snapshot_may_be_open_twice(toy_dir: Path) -> None:
    with open_snapshot(toy_dir) as one, open_snapshot(toy_dir) as other:
        assert one.model_id == other.model_id
    assert one.is_closed
    assert other.is_closed


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_incomplete(toy_copy: Path, name: str) -> None:
    (toy_copy / name).unlink()

    with pytest.raises(Incomplete, match="is missing") as raised:
        open_snapshot(toy_copy)
    assert raised.value.path == toy_copy / name


@pytest.mark.parametrize("name", [*TABLES, VECTORS_NAME])
@pytest.mark.parametrize("cut", [1, 7, 100, 5000])
def test_a_cut_file_is_incomplete(toy_copy: Path, name: str, cut: int) -> None:
    path = toy_copy / name
    os.truncate(path, max(0, path.stat().st_size - cut))

    with pytest.raises(Incomplete) as raised:
        open_snapshot(toy_copy)
    assert raised.value.path == path


@pytest.mark.parametrize("name", [*TABLES, VECTORS_NAME])
def test_a_longer_file_is_corrupt(toy_copy: Path, name: str) -> None:
    with (toy_copy / name).open("ab") as file:
        file.write(b"x")

    with pytest.raises(Corrupt, match="bytes, the manifest says"):
        open_snapshot(toy_copy)


@pytest.mark.parametrize("name", FILES)
def test_a_folder_in_a_file_s_place_is_named(toy_copy: Path, name: str) -> None:
    (toy_copy / name).unlink()
    (toy_copy / name).mkdir()

    with pytest.raises((Corrupt, Incomplete)) as raised:
        open_snapshot(toy_copy)
    assert raised.value.path == toy_copy / name


@pytest.mark.parametrize("name", [*TABLES, MODEL_NAME])
def test_a_file_of_another_build_is_mixed(toy_copy: Path, other_dir: Path, name: str) -> None:
    """Case 5."""
    shutil.copyfile(other_dir / name, toy_copy / name)

    with pytest.raises(Mixed, match="belongs to build 000000000000…") as raised:
        open_snapshot(toy_copy)
    assert raised.value.path == toy_copy / name
    with pytest.raises(Mixed):
        list(verify_snapshot(toy_copy))


def test_a_table_of_another_build_is_mixed_whatever_its_length(
    toy_copy: Path, tmp_path: Path
) -> None:
    """Case 5."""
    longer = {row: {31: 1.0} for row in range(9)}
    write_toy(tmp_path / "longer", model=toy_model(binding=bytes(16)), contexts=longer)
    shutil.copyfile(tmp_path / "longer" / "contexts.lmdb", toy_copy / "contexts.lmdb")
    with (toy_copy / "contexts.lmdb").open("ab") as file:
        file.write(bytes(4096))

    with pytest.raises(Mixed):
        open_snapshot(toy_copy)
    with pytest.raises(Mixed):
        list(verify_snapshot(toy_copy))


def test_vectors_of_another_shape_are_mixed(toy_copy: Path) -> None:

    path = toy_copy / VECTORS_NAME
    path.unlink()
    write_vectors(path, toy_vectors()[:, :2].copy())
    size = path.stat().st_size
    manifest = read_manifest(toy_copy)
    files = [
        msgspec.structs.replace(entry, size=size) if entry.name == VECTORS_NAME else entry
        for entry in manifest.files
    ]

    rewrite(toy_copy, files=files, model_id=model_id(files))
    with pytest.raises(Mixed, match="40 vectors of 2 numbers, the model speaks of 40 of 4"):
        open_snapshot(toy_copy)


def test_a_manifest_of_another_build_is_mixed(toy_copy: Path, other_dir: Path) -> None:
    shutil.copyfile(other_dir / MANIFEST_NAME, toy_copy / MANIFEST_NAME)

    with pytest.raises(Mixed):
        open_snapshot(toy_copy)


def test_another_secret_is_refused(toy_dir: Path) -> None:
    with pytest.raises(WrongSecret, match="built with secret") as raised:
        open_snapshot(toy_dir, b"another-secret-another")
    assert SECRET.decode() not in str(raised.value)


@pytest.mark.parametrize("name", FILES)
def test_a_file_the_manifest_does_not_list_is_corrupt(toy_copy: Path, name: str) -> None:

    files = [entry for entry in read_manifest(toy_copy).files if entry.name != name]
    rewrite(toy_copy, files=files, model_id=model_id(files))

    with pytest.raises(Corrupt, match=f"lists no {name}"):
        open_snapshot(toy_copy)


@pytest.mark.parametrize(
    ("fact", "value"),
    [("byte_order", "big"), ("pointer_bits", 32), ("page_bytes", 65536), ("gpu", "yes")],
)
def test_another_machine_s_snapshot_is_refused(toy_copy: Path, fact: str, value: object) -> None:
    rewrite(toy_copy, platform=read_manifest(toy_copy).platform | {fact: value})

    with pytest.raises(WrongVersion, match=f"needs a machine with {fact} {value}"):
        open_snapshot(toy_copy)


@pytest.mark.parametrize("change", [{"entries": 3}, {"last_pgno": 9}])
def test_counts_of_a_table_are_compared(toy_copy: Path, change: dict[str, int]) -> None:
    """Case 2."""
    files = [
        msgspec.structs.replace(entry, **change) if entry.name == "items.lmdb" else entry
        for entry in read_manifest(toy_copy).files
    ]
    rewrite(toy_copy, files=files)

    with pytest.raises(Corrupt, match="40 records up to page 2, the manifest says"):
        open_snapshot(toy_copy)


def test_the_model_s_digest_is_compared(toy_copy: Path) -> None:
    path = toy_copy / MODEL_NAME
    path.write_bytes(path.read_bytes().replace(b"Europe/Berlin", b"Europe/London"))

    with pytest.raises(Corrupt, match="sha256"):
        open_snapshot(toy_copy)


@pytest.mark.parametrize("change", [{"n_customers": 3}, {"n_customers": 1}])
def test_a_model_with_other_counts_is_refused(tmp_path: Path, change: dict[str, int]) -> None:
    with pytest.raises(Corrupt, match="2 records, the model says"):
        write_toy(tmp_path / "toy", model=replace(toy_model(), **change))  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_best_offers_that_cannot_be_read_are_corrupt(toy_copy: Path) -> None:
    path = toy_copy / "offers.lmdb"
    path.write_bytes(path.read_bytes().replace(b"item-007", b"\xff" * 8))

    with pytest.raises(Corrupt, match="best offers cannot be read"):
        open_snapshot(toy_copy)


def test_what_was_refused_leaves_nothing_open(toy_copy: Path, toy_dir: Path) -> None:
    manifest = (toy_copy / MANIFEST_NAME).read_bytes()
    (toy_copy / VECTORS_NAME).unlink()
    with pytest.raises(Incomplete):
        open_snapshot(toy_copy)

    mapped = Path("/proc/self/maps").read_text()
    assert str(toy_copy) not in mapped
    shutil.copyfile(toy_dir / VECTORS_NAME, toy_copy / VECTORS_NAME)
    assert (toy_copy / MANIFEST_NAME).read_bytes() == manifest
    open_snapshot(toy_copy).close()


def test_every_table_is_mapped_whole_and_unmapped_when_closed(toy_copy: Path) -> None:
    """Case 38."""
    with open_snapshot(toy_copy):
        mapped = Path("/proc/self/maps").read_text()
        assert all(str(toy_copy / name) in mapped for name in [*TABLES, VECTORS_NAME])
    assert str(toy_copy) not in Path("/proc/self/maps").read_text()


Damage = Callable[[Path], object]


DAMAGED: dict[type[SnapshotError], Damage] = {
    SnapshotNotFound: shutil.rmtree,
    NotASnapshot: lambda path: (path / MANIFEST_NAME).unlink(),
    WrongVersion: lambda path: rewrite(path, version=2),
    Incomplete: lambda path: (path / "items.lmdb").unlink(),
    Corrupt: lambda path: (path / "items.lmdb").write_bytes(b"x" * 12_288),
    Mixed: lambda path: shutil.copyfile(path / "items.lmdb", path / "offers.lmdb"),
    WrongSecret: lambda path: rewrite(path, secret_check="0" * 16),
}


@pytest.mark.parametrize("error", DAMAGED, ids=lambda error: error.__name__)
def test_every_error_comes_of_a_really_damaged_snapshot(
    toy_copy: Path, error: type[SnapshotError]
) -> None:
    DAMAGED[error](toy_copy)

    with pytest.raises(error) as raised:
        open_snapshot(toy_copy, SECRET)
    assert type(raised.value) is error
    assert raised.value.path is not None
    assert str(raised.value).startswith(f"{raised.value.path}: ")
    assert raised.value.exit_code == (4 if error is SnapshotNotFound else 3)


def test_the_tree_of_errors_is_drawn_completely() -> None:
    classes = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, SnapshotError)
    }
    drawn = set(re.findall(r"^[├└─ ]*(\w+) ", errors.__doc__ or "", re.MULTILINE))

    assert classes - {"SnapshotError"} == drawn - {"What", "SnapshotError"}
    raised_elsewhere = {"Exhausted", "Forestalled", "WriteFailed"}
    raised_elsewhere |= {"SecretUnavailable", "SnapshotError"}
    assert {error.__name__ for error in DAMAGED} == classes - raised_elsewhere


def test_another_process_writes_the_same_bytes(toy_dir: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from tests.index.conftest import GOLDEN;"
        "from tests.toys import write_toy; write_toy(Path(sys.argv[1]), golden=GOLDEN)"
    )
    environ = os.environ | {"PYTHONHASHSEED": "7"}
    command = [sys.executable, "-c", code, str(tmp_path / "again")]
    subprocess.run(command, cwd=ROOT, env=environ, check=True)

    for name in [*FILES, MANIFEST_NAME]:
        assert (tmp_path / "again" / name).read_bytes() == (toy_dir / name).read_bytes(), name


def test_no_customer_and_no_secret_is_in_any_byte(tmp_path: Path) -> None:
    people = ["ann.lee@example.com", "Bob Ross <bob@example.org>", "+49 151 23456789", "ann"]
    customers = dict.fromkeys(people, toy_customers()["ann"])
    model: object = replace(toy_model(), n_customers=len(people))
    write_toy(tmp_path / "toy", model=model, customers=customers)  # type: ignore[arg-type]
    whole = b"".join(path.read_bytes() for path in sorted((tmp_path / "toy").iterdir()))

    traces = [*people, "example", "Ross", SECRET.decode(), SECRET.hex()]
    for trace in traces:
        if trace == "ann":
            continue  # too short to prove anything; it is here to show that lengths don't matter
        for spelled in (trace.encode(), trace.encode("utf-16-le"), trace.lower().encode()):
            assert spelled not in whole, trace
    with open_snapshot(tmp_path / "toy", SECRET) as generation:
        reader = generation.enter()
        assert all(reader.customer(generation.key_of(name) or b"") for name in people)
        generation.leave(reader)


def test_golden_requests_may_not_name_a_customer(tmp_path: Path) -> None:

    with pytest.raises(errors.WriteFailed, match="names a customer id"):
        write_toy(tmp_path / "toy", golden=[(None, Request(customer_id="ann"))])
    assert list(tmp_path.iterdir()) == []


def test_the_manifest_is_what_a_reader_sees(toy: Generation, toy_dir: Path) -> None:
    assert isinstance(toy.manifest, Manifest)
    assert toy.manifest == read_manifest(toy_dir)
    assert len(toy.manifest.golden) == 3
