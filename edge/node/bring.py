"""Bringing a snapshot onto this disk: plan, fetch, verify, put together, prove, receipt."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import structlog

from edge.node.folder import NodeFolder
from edge.node.install import give_name, put_together
from edge.node.objects import Objects
from edge.node.origins import Origins
from edge.node.plan import checked_manifest, objects_of, require_room
from edge.node.prove import prove
from edge.node.receipt import Receipt, receipt_for, write_receipt
from edge.settings import Settings
from index.layout import MANIFEST_NAME
from index.manifest import Manifest
from index.shipping.channel import Target
from index.shipping.disk import disk_failures
from index.shipping.pace import Pace
from index.shipping.store_errors import DiskFull
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
        objects: what files are brought with.
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
        self._meanwhile = meanwhile
        self._on_phase = on_phase
        self._make_room = make_room
        self.objects = Objects(folder, origins, pace=pace, meanwhile=meanwhile)

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
        found_there = [entry for entry in objects.values() if self.objects.bring(entry)]
        self._on_phase("verifying")
        for entry in found_there:
            if self.objects.is_damaged(entry):
                self.objects.mend(entry)
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
        damaged = [entry for entry in objects if self.objects.is_damaged(entry)]
        for entry in damaged:
            self.objects.mend(entry)
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
