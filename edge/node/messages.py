"""What a supervisor and its sync process tell each other, as it is sent through pipes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Literal, TypeAlias


@dataclass(frozen=True, slots=True, kw_only=True)
class Offered:
    """Sync to supervisor: this is on disk, proved, and wanted: serve it."""

    snapshot_id: str
    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class OverlayOffered:
    """Sync to supervisor: lay this over what is served, and over all that will be.

    Attributes:
        payload: for `edge.state.apply_overlay`; its signatures were checked.
    """

    payload: bytes


CLOCKS_DIFFER: Final = timedelta(minutes=1)
"""A channel that was issued later than so much from now is told as one from the future."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncState:
    """Sync to supervisor: how updating stands.

    Attributes:
        channel: name of the channel.
        brand: whose.
        trust: whether somebody vouches for what is served.
        phase: what is being done.
        epoch: of the document accepted last; None before the first.
        wanted: id of the snapshot the node should serve; None when it should stay as it is.
        channel_issued_at: of the document accepted last.
        channel_expires_at: likewise.
        last_success_s: when the channel was read and accepted last, in seconds since 1970.
        failure: why updating does not go on, in one word; None when all is well.
        detail: the same as one sentence.
        pinned: whether a pin says what this node serves.
        n_quarantined: snapshots this node refuses.
        bytes_fetched: since the process began.
        bytes_spared: that deltas made needless to fetch, since then.
    """

    channel: str
    brand: str
    trust: Literal["signed", "insecure"]
    phase: str
    epoch: int | None = None
    wanted: str | None = None
    channel_issued_at: datetime | None = None
    channel_expires_at: datetime | None = None
    last_success_s: float | None = None
    failure: str | None = None
    detail: str | None = None
    pinned: bool = False
    n_quarantined: int = 0
    bytes_fetched: int = 0
    bytes_spared: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """Supervisor to sync: what is served, at the start and after each change."""

    snapshot_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Swapped:
    """Supervisor to sync: all workers answer from it."""

    snapshot_id: str
    took_s: float


Blame: TypeAlias = Literal["snapshot", "machine", "nobody"]
"""Why a snapshot that was offered is not served: because of it, of its host, or of another one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotSwapped:
    """Supervisor to sync: nothing changed anywhere.

    Attributes:
        snapshot_id: what was offered.
        reason: why it is not served.
        blame: `snapshot` where workers could not prepare it; `machine` where they had no memory or
            files left for it; `nobody` where something else came between, so offer it again.
    """

    snapshot_id: str
    reason: str
    blame: Blame


@dataclass(frozen=True, slots=True, kw_only=True)
class Reverted:
    """Supervisor to sync: it went back by itself."""

    snapshot_id: str
    to: str | None
    reason: str


ToSupervisor: TypeAlias = Offered | OverlayOffered | SyncState
"""What the supervisor may hear."""

ToSync: TypeAlias = Serving | Swapped | NotSwapped | Reverted
"""What the sync process may hear."""
