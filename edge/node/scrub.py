"""Scrubbing: reading installed objects again, slowly, to find what a disk has changed."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from typing import Final

from edge.node.folder import NodeFolder
from index.manifest import FileEntry
from index.shipping.chunks import file_chunks
from index.shipping.store_errors import StoreError

PIECE_BYTES: Final = 1 << 20
LAP_S: Final = 24 * 3600.0


class Scrub:
    """One snapshot's objects, read piece by piece, round after round.

    What comes from the page cache is what workers read, too; what is only on the disk is seen once
    the cache has let go of it.

    Args:
        folder: the node's folder.
        lap_s: least time from the begin of one round to the begin of the next.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        folder: NodeFolder,
        *,
        lap_s: float = LAP_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder = folder
        self._lap_s = lap_s
        self._clock = clock
        self._snapshot_id: str | None = None
        self._next_lap = clock()
        self._pieces: Iterator[FileEntry | None] = iter(())

    def step(self, snapshot_id: str, objects: Callable[[], list[FileEntry]]) -> FileEntry | None:
        """Read one piece of a snapshot's objects; another snapshot begins a new round.

        Args:
            snapshot_id: which.
            objects: what it is made of; asked for once a round.

        Returns:
            The object that turned out damaged or unreadable with this piece; usually None.
        """
        if snapshot_id != self._snapshot_id:
            self._snapshot_id, self._next_lap, self._pieces = snapshot_id, self._clock(), iter(())
        found = next(self._pieces, _END)
        if not isinstance(found, _End):
            return found
        if self._clock() >= self._next_lap:
            self._next_lap = self._clock() + self._lap_s
            self._pieces = self._round(objects())
        return None

    def _round(self, objects: list[FileEntry]) -> Iterator[FileEntry | None]:
        for entry in objects:
            digest = hashlib.sha256()
            try:
                for piece in file_chunks(self._folder.object(entry.sha256), PIECE_BYTES):
                    digest.update(piece)
                    yield None
            except StoreError:  # a sector that can't be read is as bad as one that reads wrong
                yield entry
                continue
            if digest.hexdigest() != entry.sha256:
                yield entry


class _End:
    """There is nothing more to read."""


_END: Final = _End()
