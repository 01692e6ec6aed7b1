"""Objects on their way to this disk: whole, or made of earlier ones where a store has deltas."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import structlog

from edge.node.folder import NodeFolder
from edge.node.install import digest_of, put_in_place
from edge.node.origins import Origins
from edge.node.patch import patch
from index.manifest import FileEntry
from index.shipping.delta_list import DeltaList, read_delta_list
from index.shipping.delta_ways import Step, way_to
from index.shipping.disk import disk_failures, make_folder
from index.shipping.fetch import Progress, fetch_object
from index.shipping.pace import Pace
from index.shipping.part_file import PART_SUFFIX
from index.shipping.store_errors import Damaged, StoreError

_log = structlog.get_logger()


class Objects:
    """Brings objects and mends them.

    Args:
        folder: the node's folder.
        origins: where from.
        pace: limit on bytes per second; None for none.
        meanwhile: asked again and again; what it raises ends the work, which goes on from there
            the next time.

    Attributes:
        bytes_fetched: taken from stores so far.
        bytes_spared: that deltas made needless to fetch.
        mended: digests of objects that were damaged here and fetched anew, for whoever asks what
            became of those who read them meanwhile.
    """

    def __init__(
        self,
        folder: NodeFolder,
        origins: Origins,
        *,
        pace: Pace | None,
        meanwhile: Callable[[], None],
    ) -> None:
        self._folder = folder
        self._origins = origins
        self._pace = pace
        self._meanwhile = meanwhile
        self.bytes_fetched = 0
        self.bytes_spared = 0
        self.mended = set[str]()

    def bring(self, entry: FileEntry) -> bool:
        """Bring an object; True when it was there already, and so was not read now.

        Raises:
            StoreError: the stores or the disk; what was fetched stays for the next time.
        """
        there = self._folder.object(entry.sha256).exists()
        if not there and not self._is_patched(entry):
            self._get(entry.sha256, entry.size, self._folder.objects)
        return there

    def is_damaged(self, entry: FileEntry) -> bool:
        """Whether an object on this disk is not what it should be; all of it is read."""
        path = self._folder.object(entry.sha256)
        try:
            return digest_of(path, self._meanwhile) != entry.sha256
        except StoreError:  # a sector that can't be read is as bad as one that reads wrong
            return True

    def mend(self, entry: FileEntry) -> None:
        """Fetch a damaged object anew.

        Raises:
            StoreError: the stores or the disk.
        """
        _log.error("object damaged on this disk", sha256=entry.sha256, name=entry.name)
        fetched = self._get(entry.sha256, entry.size, self._folder.tmp / "mended")
        put_in_place(self._folder, fetched)
        self.mended.add(entry.sha256)

    def _is_patched(self, entry: FileEntry) -> bool:
        """Make an object of one that is here, if there are deltas that pay.

        Whatever is wrong with them, the whole object is as good.
        """
        path = self._folder.object(entry.sha256)
        if path.with_name(path.name + PART_SUFFIX).exists():
            return False  # begun already, and what is there of it is not fetched again
        try:
            way = way_to(entry.sha256, entry.size, listed=self._listed, is_here=self._is_here)
            if way is None:
                return False
            self._go(way)
        except StoreError as problem:
            _log.warning("delta of no use", name=entry.name, problem=str(problem))
            return False
        finally:
            shutil.rmtree(self._folder.tmp / "deltas", ignore_errors=True)
        n_bytes = sum(step.delta.size for step in way)
        self.bytes_spared += entry.size - n_bytes
        _log.info("patched", name=entry.name, steps=len(way), bytes=n_bytes, of=entry.size)
        return True

    def _go(self, way: Sequence[Step]) -> None:
        """Apply deltas one after the other; the last one makes the object wanted."""
        aside = self._folder.tmp / "deltas"
        with disk_failures(aside):
            make_folder(aside)
        before = self._folder.object(way[0].delta.from_sha256)
        for step in way:
            delta = self._get(step.delta.sha256, step.delta.size, aside)
            made = aside / step.sha256
            patch(
                delta,
                before,
                made,
                sha256=step.sha256,
                size=step.size,
                meanwhile=self._meanwhile,
            )
            if before.parent == aside:
                before.unlink()
            before = made
        put_in_place(self._folder, before)

    def _listed(self, sha256: str) -> DeltaList | None:
        """What the first store that has a list says."""
        for store in self._origins.in_turn:
            with suppress(Damaged):
                if (found := read_delta_list(store, sha256)) is not None:
                    return found
        return None

    def _is_here(self, sha256: str) -> bool:
        return self._folder.object(sha256).exists()

    def _get(self, sha256: str, size: int, folder: Path) -> Path:
        n_known = 0

        def told(progress: Progress) -> None:
            nonlocal n_known
            self.bytes_fetched += progress.bytes_received - n_known
            n_known = progress.bytes_received
            self._meanwhile()

        store, *mirrors = self._origins.in_turn
        return fetch_object(
            store, sha256, size, folder, mirrors=mirrors, pace=self._pace, on_progress=told
        ).path
