"""What the endpoints of one process share: snapshot and overlay in force, and the counters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from edge.counters import Counters, bounded_placements, extended
from edge.decision_log import DecisionLog
from edge.settings import Settings
from index.generation import Generation
from index.manifest import read_manifest
from index.overlay import Overlay, read_overlay
from index.overlaying import lay_over
from index.secret import brand_secret
from index.snapshot import open_snapshot


class State:
    """Its attributes are replaced as a whole, by the one thread that answers.

    Attributes:
        generation: the snapshot that answers; None before one was opened.
        counters: this process's cells.
        overlay: what is laid over the snapshot; None before there was one.
        log: where decisions are logged; None for nowhere.
    """

    __slots__ = ("_pins", "counters", "generation", "log", "overlay")

    def __init__(self, counters: Counters) -> None:
        self.counters = counters
        self.generation: Generation | None = None
        self.overlay: Overlay | None = None
        self.log: DecisionLog | None = None
        self._pins: Counter[Generation] = Counter()

    @contextmanager
    def pinned(self, generation: Generation) -> Iterator[None]:
        """Keep a snapshot open, also when it retires, for what goes on for several turns."""
        self._pins[generation] += 1
        try:
            yield
        finally:
            self._pins[generation] -= 1
            if not self._pins[generation]:
                del self._pins[generation]

    def is_pinned(self, generation: Generation) -> bool:
        """Whether somebody still needs this snapshot open."""
        return generation in self._pins

    def adopt(self, generation: Generation, placements: tuple[str, ...] = ()) -> None:
        """Answer from this snapshot from now on, under the overlay in force.

        Args:
            generation: open, and ready to answer.
            placements: those that have cells of their own already; they keep them.
        """
        self.lay_over(generation)
        self.counters.name_placements(extended(placements, placements_of(generation)))
        self.generation = generation

    def lay_over(self, generation: Generation) -> None:
        """Compile the overlay in force for a snapshot, and say so in the cells.

        Done before the snapshot answers, so that none of its answers shows what is taken away.
        """
        patches, overlay = lay_over(generation, self.overlay, datetime.now(UTC)), self.overlay
        if overlay is not None:
            self.counters.overlaid(
                overlay.sequence,
                int(overlay.issued_at.timestamp()),
                int(overlay.expires_at.timestamp()),
                len(patches.removed),
                len(patches.repriced),
                patches.n_unknown,
            )

    def close(self) -> None:
        """Answer from nothing any more."""
        generation, self.generation = self.generation, None
        if generation is not None:
            generation.close()


def apply_overlay(state: State, payload: bytes) -> None:
    """Lay an overlay over what answers now, and over each snapshot that will.

    The same payload may come again: then entries whose time is over are left out.

    Args:
        state: changed by one thread at a time, `adopt` included. Decisions meanwhile see the
            overlay before or after, never a mixture, so it need not be the thread that answers.
        payload: of an overlay whose signatures were checked (`OverlayWatch` gives it).

    Raises:
        Corrupt: it is no overlay; the one before stays.
    """
    state.overlay = read_overlay(payload)
    if state.generation is not None:
        state.lay_over(state.generation)


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
