"""What a supervisor and its workers tell each other, as it is sent through pipes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepare:
    """To a worker: open this snapshot beside the one that answers."""

    snapshot_id: str
    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Activate:
    """To a worker: answer from the snapshot it has prepared.

    Attributes:
        snapshot_id: which.
        placements: those that have cells of their own so far, in the order of the cells.
    """

    snapshot_id: str
    placements: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    """To a worker: close what it has prepared under this name, if anything."""

    snapshot_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LayOver:
    """To a worker: apply this overlay.

    Attributes:
        payload: for `edge.state.apply_overlay`.
    """

    payload: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotFacts:
    """From a worker: what it answers from since it began, or has prepared."""

    snapshot_id: str
    model_id: str
    brand: str
    timezone: str
    as_of_us: int
    counts: dict[str, int]
    files: tuple[tuple[str, int, int | None], ...]
    features: tuple[str, ...]
    placements: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """From a worker: why it could not begin, as the error it met says it."""

    what: str
    hint: str | None
    exit_code: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """From a worker: it could answer from this snapshot at once."""

    snapshot_id: str
    facts: SnapshotFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class NotPrepared:
    """From a worker: why it could not open this snapshot.

    Attributes:
        snapshot_id: which.
        what: why not, as a sentence.
        blame: what has to change before it can be opened: another snapshot, or more room here.
    """

    snapshot_id: str
    what: str
    blame: Literal["snapshot", "machine"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Activated:
    """From a worker: it answers from this snapshot."""

    snapshot_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed:
    """From a worker: a retired snapshot is unmapped."""

    snapshot_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaked:
    """From a worker: somebody still reads a retired snapshot, which stays mapped for good."""

    snapshot_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DamageMet:
    """From a worker: tables of the snapshot that answers could not be read, so many times."""

    snapshot_id: str
    times: int


ToWorker: TypeAlias = Prepare | Activate | Drop | LayOver
FromWorker: TypeAlias = (
    SnapshotFacts | Refused | Prepared | NotPrepared | Activated | Closed | Leaked | DamageMet
)
