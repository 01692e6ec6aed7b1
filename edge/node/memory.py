"""A node's memory as its supervisor uses it: what to begin with, and what to go back to."""

from __future__ import annotations

import structlog

from edge.errors import FolderDamaged, FolderUnusable
from edge.node.folder import NodeFolder
from edge.node.standing import NodeState, Standing
from edge.settings import Settings
from edge.swap import OnDisk

_log = structlog.get_logger()


class NodeMemory:
    """Reads and writes the node's folder; a folder that fails never keeps a node from serving.

    Args:
        settings: the node's.
    """

    def __init__(self, settings: Settings) -> None:
        self._folder = NodeFolder(settings.state_dir)
        self._state = NodeState(settings.state_dir, tries=settings.tries)

    def begin(self) -> OnDisk | None:
        """What to start with; None when nothing is installed that may be served.

        Raises:
            FolderUnusable, FolderDamaged: the folder can't be read.
        """
        found = self._state.begin()
        return None if found is None else self._on_disk(found.snapshot_id)

    def fallback(self, bad: str, reason: str) -> OnDisk | None:
        """What proved good, after a snapshot that did not was quarantined; None for nothing."""
        standing = Standing()
        try:
            standing = self._state.read()
            self._state.quarantine(bad, reason)
        except (FolderUnusable, FolderDamaged) as problem:
            _log.error("can't be remembered", snapshot_id=bad, reason=str(problem))
        for name in (standing.last_good, standing.active, standing.previous):
            if name is None or name == bad or name in standing.quarantined:
                continue
            if self._folder.receipt_of(name) is not None:
                return self._on_disk(name)
        return None

    def _on_disk(self, name: str) -> OnDisk:
        return OnDisk(snapshot_id=name, path=self._folder.snapshot(name))
