"""Upkeep of the node's folder: what is damaged is fetched anew, what nobody needs is removed."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

import structlog

from edge.node.bring import Bringer
from edge.node.failures import PROBLEMS
from edge.node.folder import NodeFolder
from edge.node.plan import objects_of
from edge.node.receipt import read_receipt
from edge.node.scrub import Scrub
from edge.node.served import Served
from edge.node.standing import NodeState
from edge.node.sweep import sweep
from index.shipping.channel import Channel
from index.shipping.documents import moment_now
from index.shipping.rings import pin_of

_log = structlog.get_logger()


class Upkeep:
    """Keeps a folder sound and small, with respect to what is served.

    Args:
        folder: the node's folder.
        state: the node's memory.
        served: what is served.
        node_id: the node's name.

    Attributes:
        needs_mending: whether what is served has a damaged object.
    """

    def __init__(
        self, folder: NodeFolder, state: NodeState, served: Served, *, node_id: str
    ) -> None:
        self._folder = folder
        self._state = state
        self._served = served
        self._node_id = node_id
        self._scrub = Scrub(folder)
        self.needs_mending = False

    def look(self) -> None:
        """Read a piece of what is served, once it is served for good; call it when idle."""
        serving = self._served.serving
        if serving is None or self._served.is_watching or self.needs_mending:
            return
        with suppress(*PROBLEMS):
            found = self._scrub.step(
                serving, lambda: list(objects_of(self._folder.manifest_of(serving)).values())
            )
            self.needs_mending = found is not None

    def mend(self, bringer: Bringer) -> str | None:
        """Fetch anew what this disk has damaged.

        A snapshot that the supervisor went back from may only have been damaged here: then its
        quarantine is lifted.

        Returns:
            What is served and should be offered again, to be opened from sound files.

        Raises:
            StoreError: the stores or the disk; it is tried again the next time.
            SnapshotError: a manifest on this disk can't be read.
            FolderUnusable, FolderDamaged: it can't be remembered.
        """
        while self._served.suspects:
            suspect = self._served.suspects[-1]
            # Asked of its receipt alone: a file that was cut short counts as damaged as well.
            if read_receipt(self._folder.snapshot(suspect)):
                bringer.mend(suspect)
                # Also what was mended just before the supervisor went back from it.
                mended = bringer.objects.mended
                if found := mended & objects_of(self._folder.manifest_of(suspect)).keys():
                    self._state.forget(suspect, "damaged on this disk, and fetched anew")
                    mended -= found
            self._served.suspects.pop()
        serving = self._served.serving
        if not self.needs_mending or serving is None:
            return None
        n_mended = bringer.mend(serving)
        self.needs_mending = False
        return serving if n_mended else None

    def sweep(self, channel: Channel | None, wanted: set[str], objects: Iterable[str] = ()) -> None:
        """Remove what is needed neither now nor to go back to.

        Args:
            channel: as accepted last.
            wanted: ids of what is being brought or is about to be.
            objects: digests of objects to keep besides.

        Raises:
            StoreFailed: the disk refuses.
        """
        standing = self._state.read()
        keep = {
            *wanted,
            standing.active,
            standing.last_good,
            standing.activating,
            self._served.serving,
            self._served.awaiting,
        }
        if not standing.is_confirmed:
            keep.add(standing.previous)
        if channel is not None:
            pin = pin_of(channel, self._node_id, moment_now())
            targets = (channel.last_good, pin.target if pin else None)
            keep |= {target.snapshot_id for target in targets if target}
        swept = sweep(self._folder, snapshots=filter(None, keep), objects=objects)
        if swept.n_objects or swept.snapshots:
            _log.info("swept", snapshots=swept.snapshots, n_bytes=swept.n_bytes)
