"""Bringing a snapshot onto this disk: plan, fetch, verify, put together, prove, receipt."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import structlog

from edge.node.folder import NodeFolder
from edge.node.install import digest_of, give_name, put_in_place, put_together
from edge.node.origins import Origins
from edge.node.plan import checked_manifest, objects_of, require_room
from edge.node.prove import prove
from edge.node.receipt import Receipt, receipt_for, write_receipt
from edge.settings import Settings
from index.layout import MANIFEST_NAME
from index.manifest import FileEntry, Manifest
from index.shipping.channel import Target
from index.shipping.disk import disk_failures
from index.shipping.fetch import Progress, fetch_object
from index.shipping.pace import Pace
from index.shipping.store_errors import DiskFull, StoreError
from index.shipping.trust import Trust

_log = structlog.get_logger()


class Bringer:
    """Brings snapshots and mends them; it changes nothing that is served.

    Whatever takes long asks `meanwhile` again and again; what that raises ends the work, which
    goes on from there the next time.

    Args:
        settings: with which secret, and within how much memory.
        folder: the node's folder.
        origins: where from.
        trust: what receipts say of who vouched.
        pace: limit on bytes per second; None for none.
        meanwhile: see above.
        on_phase: told what is being done now, in one word.
        make_room: removes what the folder can do without, but for these objects.

    Attributes:
        bytes_fetched: taken from stores so far.
    """

    def __init__(
        self,
        settings: Settings,
        folder: NodeFolder,
        origins: Origins,
        *,
        trust: Trust,
        pace: Pace | None,
        meanwhile: Callable[[], None],
        on_phase: Callable[[str], None],
        make_room: Callable[[Iterable[str]], None],
    ) -> None:
        self._settings = settings
        self._folder = folder
        self._origins = origins
        self._trust: Trust = trust
        self._pace = pace
        self._meanwhile = meanwhile
        self._on_phase = on_phase
        self._make_room = make_room
        self.bytes_fetched = 0

    def bring(self, target: Target) -> Receipt:
        """Install what a channel points at.

        Raises:
            NotProved: nobody should serve it. Unfit: this node, as it is, can't.
            SnapshotError: its manifest is not to be believed, or not for this machine.
            StoreError: the stores or the disk; what was fetched stays for the next time.
        """
        self._on_phase("planning")
        data, envelope = self._origins.manifest(target)
        manifest = checked_manifest(data, Path(target.snapshot_id))
        objects = objects_of(manifest)
        try:
            require_room(self._folder, objects.values())
        except DiskFull:
            self._make_room(objects)
            require_room(self._folder, objects.values())
        self._on_phase("fetching")
        found_there = [entry for entry in objects.values() if self._fetch(entry)]
        self._on_phase("verifying")
        for entry in found_there:
            if self._is_damaged(entry):
                self._mend(entry)
        return self._install(manifest, data, envelope)

    def prove_again(self, snapshot_id: str) -> Receipt:
        """Prove an installed snapshot with the software of today.

        Raises:
            NotProved, Unfit: see `bring`.
            SnapshotError, StoreError: its manifest can't be read, the receipt not be written.
        """
        path = self._folder.snapshot(snapshot_id)
        manifest = self._folder.manifest_of(snapshot_id)
        with disk_failures(path):
            receipt = self._proved(path, manifest, (path / MANIFEST_NAME).read_bytes())
            write_receipt(path, receipt)
        return receipt

    def mend(self, snapshot_id: str) -> int:
        """Read all objects of an installed snapshot and fetch the damaged ones anew.

        Returns:
            How many were damaged.

        Raises:
            SnapshotError: its manifest can't be read.
            StoreError: the stores or the disk.
        """
        self._on_phase("verifying")
        objects = objects_of(self._folder.manifest_of(snapshot_id)).values()
        damaged = [entry for entry in objects if self._is_damaged(entry)]
        for entry in damaged:
            self._mend(entry)
        return len(damaged)

    def _install(self, manifest: Manifest, data: bytes, envelope: bytes) -> Receipt:
        aside = put_together(self._folder, manifest, data, envelope)
        try:
            receipt = self._proved(aside, manifest, data)
            give_name(self._folder, aside, receipt)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
        return receipt

    def _proved(self, path: Path, manifest: Manifest, data: bytes) -> Receipt:
        self._on_phase("proving")
        verdict = prove(
            path,
            secret_file=self._settings.secret_file,
            max_private_bytes=self._settings.max_private_bytes,
            meanwhile=self._meanwhile,
        )
        receipt = receipt_for(manifest, data, verdict, self._trust)
        _log.info(
            "proved",
            snapshot_id=receipt.snapshot_id,
            golden=receipt.n_golden,
            private_bytes=receipt.private_bytes,
        )
        return receipt

    def _fetch(self, entry: FileEntry) -> bool:
        """Fetch an object; True when it was there already, and so was not read now."""
        there = self._folder.object(entry.sha256).exists()
        self._get(entry, self._folder.objects)
        return there

    def _get(self, entry: FileEntry, folder: Path) -> Path:
        n_known = 0

        def told(progress: Progress) -> None:
            nonlocal n_known
            self.bytes_fetched += progress.bytes_received - n_known
            n_known = progress.bytes_received
            self._meanwhile()

        store, *mirrors = self._origins.in_turn
        return fetch_object(
            store,
            entry.sha256,
            entry.size,
            folder,
            mirrors=mirrors,
            pace=self._pace,
            on_progress=told,
        ).path

    def _is_damaged(self, entry: FileEntry) -> bool:
        path = self._folder.object(entry.sha256)
        try:
            return digest_of(path, self._meanwhile) != entry.sha256
        except StoreError:  # a sector that can't be read is as bad as one that reads wrong
            return True

    def _mend(self, entry: FileEntry) -> None:
        _log.error("object damaged on this disk", sha256=entry.sha256, name=entry.name)
        put_in_place(self._folder, self._get(entry, self._folder.tmp / "mended"))
