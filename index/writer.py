"""Writing a snapshot: aside, synced, opened with the edge's own loader, and then given its name."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from glob import escape
from pathlib import Path
from typing import Any, Self

import msgspec

from index.arrays import Vectors
from index.decide import decide_for_key
from index.errors import Forestalled, WriteFailed
from index.folders import sync_folder
from index.layout import (
    CONTEXTS,
    CONTEXTS_NAME,
    CUSTOMERS,
    ITEMS,
    ITEMS_NAME,
    MANIFEST_NAME,
    MODEL_NAME,
    OFFERS,
    OFFERS_NAME,
    REPORT_NAMES,
    VECTORS_NAME,
    customers_name,
)
from index.manifest import (
    FileEntry,
    Golden,
    Manifest,
    encode_manifest,
    file_digest,
    model_id,
)
from index.model import Model, pack_model
from index.platform import platform_facts
from index.request import Request
from index.snapshot import open_snapshot
from index.tables import TableWriter, table_facts
from index.vectors import write_vectors
from index.verify import check_golden

Records = Iterable[tuple[bytes, bytes]]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class SnapshotWriter:
    """Writes one snapshot next to where it will be; the directory appears whole or not at all.

    Write the tables and the vectors in any order, then call `finish` and `publish`. Leaving the
    context without `publish` removes everything; what a killed writer left, the next one removes.

    Args:
        out_dir: the directory to make; it must not exist.
        binding: 16 bytes that tie the tables of this build together.

    Raises:
        Forestalled: something is at `out_dir` already.
    """

    def __init__(self, out_dir: Path, *, binding: bytes) -> None:
        if out_dir.exists():
            raise _forestalled(out_dir)
        self.out_dir = out_dir
        self.aside = out_dir.parent / f".{out_dir.name}.writing-{os.getpid()}"
        self._binding = binding
        self._entries: list[FileEntry] = []
        self._lock = -1

    def __enter__(self) -> Self:
        _remove_abandoned(self.out_dir)
        try:
            self.aside.mkdir(parents=True)
            self._lock = os.open(self.aside, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as problem:
            raise WriteFailed(
                f"no directory can be made there ({problem.strerror})", path=self.out_dir
            ) from problem
        _is_locked_by_us(self._lock)
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.aside, ignore_errors=True)
        os.close(self._lock)

    def customers(
        self, shard: int, n_shards: int, records: Records, *, expected: int, capacity_bytes: int
    ) -> None:
        """Write one hash shard of the customers table, records in key order."""
        name = customers_name(shard, n_shards)
        self._table(name, CUSTOMERS, records, expected, capacity_bytes)

    def contexts(self, records: Records, *, expected: int, capacity_bytes: int) -> None:
        """Write the contexts table, records in row order."""
        self._table(CONTEXTS_NAME, CONTEXTS, records, expected, capacity_bytes)

    def items(self, records: Records, *, expected: int, capacity_bytes: int) -> None:
        """Write the items table, records in the order of `layout.item_key`."""
        self._table(ITEMS_NAME, ITEMS, records, expected, capacity_bytes)

    def offers(self, records: Records, *, expected: int, capacity_bytes: int) -> None:
        """Write the offers table, records in row order."""
        self._table(OFFERS_NAME, OFFERS, records, expected, capacity_bytes)

    def vectors(self, vectors: Vectors) -> None:
        """Write the offer vectors, float32, shape (n_offers, dim)."""
        detail = write_vectors(self.aside / VECTORS_NAME, vectors)
        self._entries.append(_entry(self.aside / VECTORS_NAME, entries=len(vectors), detail=detail))

    def finish(
        self,
        model: Model,
        *,
        as_of_us: int,
        data: dict[str, Any],
        counts: dict[str, int],
        invariants: dict[str, Any],
        build: dict[str, Any],
        golden_requests: Sequence[tuple[bytes | None, Request]],
    ) -> Manifest:
        """Write model and manifest, and prove the snapshot with the edge's loader.

        Args:
            model: what `decide` needs besides the tables.
            as_of_us: the moment the tables stand for, UTC microseconds.
            data: window of the orders learned from.
            counts: numbers of customers, items, offers, contexts and orders.
            invariants: bounds a reader may check.
            build: software, versions, seed, settings, digests of inputs.
            golden_requests: customer key and request of each golden decision.

        Returns:
            The manifest, with the golden decisions. The directory still has its aside name:
            add reports and call `publish`.

        Raises:
            WriteFailed: what was written does not read back as it was meant.
        """
        path = self.aside / MODEL_NAME
        _write_synced(path, pack_model(model))
        self._entries.append(_entry(path))
        identity = model_id(self._entries)
        manifest = Manifest(
            snapshot_id=f"{_minute(as_of_us)}-{identity[:12]}",
            model_id=identity,
            brand=model.brand,
            secret_check=model.secret_check,
            binding=model.binding.hex(),
            platform=platform_facts(),
            data={"as_of_us": as_of_us, **data},
            counts=counts,
            invariants=invariants,
            build=build,
            files=sorted(self._entries, key=lambda entry: entry.name),
        )
        self._write_manifest(manifest)
        manifest = msgspec.structs.replace(manifest, golden=self._golden(golden_requests))
        self._write_manifest(manifest)
        with open_snapshot(self.aside) as generation:
            if problems := check_golden(generation):
                raise WriteFailed(f"does not repeat its own decisions: {problems[0]}")
        return manifest

    def publish(self, manifest: Manifest, reports: dict[str, bytes]) -> None:
        """Add report files and give the directory its name, in one step no crash can split."""
        for name, content in sorted(reports.items()):
            if name not in REPORT_NAMES:
                raise WriteFailed(f"{name} is no report file; known are {', '.join(REPORT_NAMES)}")
            _write_synced(self.aside / name, content)
        entries = [_entry(self.aside / name) for name in sorted(reports)]
        self._write_manifest(msgspec.structs.replace(manifest, reports=entries))
        for path in self.aside.iterdir():
            path.chmod(0o444)
        sync_folder(self.aside)
        try:
            self.aside.rename(self.out_dir)
        except OSError as problem:
            if self.out_dir.exists():
                raise _forestalled(self.out_dir) from problem
            raise WriteFailed(
                f"could not be named ({problem.strerror})", path=self.out_dir
            ) from problem
        sync_folder(self.out_dir.parent)

    def _table(
        self, name: str, kind: int, records: Records, expected: int, capacity_bytes: int
    ) -> None:
        path = self.aside / name
        with TableWriter(
            path, kind=kind, binding=self._binding, capacity_bytes=capacity_bytes
        ) as writer:
            writer.append(records)
            writer.finish(expected)
        facts = table_facts(path)
        if facts.entries != expected:
            raise WriteFailed(f"reads back {facts.entries} of {expected} records", path=path)
        self._entries.append(_entry(path, entries=facts.entries, last_pgno=facts.last_pgno))

    def _golden(self, requests: Sequence[tuple[bytes | None, Request]]) -> list[Golden]:
        golden = []
        with open_snapshot(self.aside) as generation:
            for key, request in requests:
                if request.customer_id is not None:
                    raise WriteFailed("a golden request names a customer id; give its key instead")
                decision = decide_for_key(generation, request, key)
                golden.append(
                    Golden(
                        key=key.hex() if key else None,
                        request=request,
                        tier=decision.tier,
                        offer_rows=[offer.offer_row for offer in decision.offers],
                        scores=[round(offer.score, 5) for offer in decision.offers],
                    )
                )
        return golden

    def _write_manifest(self, manifest: Manifest) -> None:
        path = self.aside / MANIFEST_NAME
        # A manifest is what makes a directory a snapshot: never a half-written one, even aside.
        _write_synced(path.with_suffix(".part"), encode_manifest(manifest))
        path.with_suffix(".part").replace(path)


def _forestalled(out_dir: Path) -> Forestalled:
    return Forestalled(
        "something is there already",
        path=out_dir,
        hint="snapshots are never changed: give another --out",
    )


def _remove_abandoned(out_dir: Path) -> None:
    """Remove what killed writers of the same snapshot left aside.

    A living writer holds a lock on its directory and a dead one cannot. Numbers of processes would
    not tell: other containers have their own, and a number is used again.
    """
    for path in out_dir.parent.glob(f".{escape(out_dir.name)}.writing-*"):
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        except OSError:
            continue  # gone by now, or not ours
        try:
            if _is_locked_by_us(descriptor):
                shutil.rmtree(path, ignore_errors=True)
        finally:
            os.close(descriptor)


def _is_locked_by_us(descriptor: int) -> bool:
    """Take the lock of a directory until the descriptor is closed, if nobody else holds it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        # Held by a living writer; or a file system without such locks, where nothing is certain.
        return False
    return True


def _entry(
    path: Path,
    *,
    entries: int | None = None,
    last_pgno: int | None = None,
    detail: str | None = None,
) -> FileEntry:
    return FileEntry(
        name=path.name,
        size=path.stat().st_size,
        sha256=file_digest(path),
        entries=entries,
        last_pgno=last_pgno,
        detail=detail,
    )


def _write_synced(path: Path, content: bytes) -> None:
    try:
        with path.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError as problem:
        raise WriteFailed(f"could not be written ({problem.strerror})", path=path) from problem


def _minute(as_of_us: int) -> str:
    return f"{_EPOCH + timedelta(microseconds=as_of_us):%Y%m%dT%H%MZ}"
