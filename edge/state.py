"""What the endpoints of one process share: the snapshot that answers now, and the counters."""

from __future__ import annotations

from pathlib import Path

from edge.counters import Counters, bounded_placements, extended
from edge.settings import Settings
from index.generation import Generation
from index.manifest import read_manifest
from index.secret import brand_secret
from index.snapshot import open_snapshot


class State:
    """Its attributes are replaced as a whole, by the one thread that answers.

    Attributes:
        generation: the snapshot that answers; None before one was opened.
        counters: this process's cells.
    """

    __slots__ = ("counters", "generation")

    def __init__(self, counters: Counters) -> None:
        self.counters = counters
        self.generation: Generation | None = None

    def adopt(self, generation: Generation, placements: tuple[str, ...] = ()) -> None:
        """Answer from this snapshot from now on.

        Args:
            generation: open, and ready to answer.
            placements: those that have cells of their own already; they keep them.
        """
        self.counters.name_placements(extended(placements, placements_of(generation)))
        self.generation = generation

    def close(self) -> None:
        """Answer from nothing any more."""
        generation, self.generation = self.generation, None
        if generation is not None:
            generation.close()


def placements_of(generation: Generation) -> tuple[str, ...]:
    """The placements a snapshot speaks of, as they are counted."""
    model = generation.model
    return bounded_placements((*model.placements, *model.prior_top, *model.repeat, *model.reserve))


def opened(settings: Settings, path: Path) -> Generation:
    """A snapshot, with the secret that the settings name.

    Raises:
        SnapshotError: one class per thing that can be wrong.
    """
    brand = read_manifest(path).brand
    secret = brand_secret(brand, secret_file=settings.secret_file, create=False)
    return open_snapshot(path, secret)
