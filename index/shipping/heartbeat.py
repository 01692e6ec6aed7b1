"""The heartbeat: what one node tells of itself every few seconds, small and signed.

It is told to people and to whoever widens a ring; no node acts on another's.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct, field

from index.shipping.channel import Words
from index.shipping.documents import HEARTBEAT, Moment, Name, decode_payload, seal_document
from index.shipping.signing import Sealed, SigningKey
from index.shipping.trust_errors import WrongChannel

HEARTBEAT_FORMAT: Final = "almanac-heartbeat/1"
MAX_SWAPS: Final = 20

Count = Annotated[int, Meta(ge=0, lt=1 << 53)]


class Swap(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One thing that happened to a snapshot on a node.

    Attributes:
        at: when.
        snapshot_id: to which.
        what: such as `activated`, `confirmed`, `went back`, `quarantined`.
        reason: why, where there is a reason.
    """

    at: Moment
    snapshot_id: Name
    what: Words
    reason: Words = ""


class Guards(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a node's workers counted in the last window; sums, so that nodes can be added up.

    Attributes:
        window_s: how long it was.
        requests: requests answered.
        errors: of these, with a status of 500 or above.
        decisions: decisions made.
        empty: of these, without an offer.
        tiers: decisions by tier.
        p50_us: microseconds half of the decisions stayed within; None without decisions.
        p99_us: likewise, 99 of 100.
        scored: decisions whose first offer had a score.
        score_sum: sum of these scores.
        score_squares: sum of their squares.
        worker_deaths: workers that died unasked.
    """

    window_s: Annotated[float, Meta(ge=0)]
    requests: Count = 0
    errors: Count = 0
    decisions: Count = 0
    empty: Count = 0
    tiers: dict[Name, Count] = field(default_factory=dict)
    p50_us: float | None = None
    p99_us: float | None = None
    scored: Count = 0
    score_sum: float = 0.0
    score_squares: float = 0.0
    worker_deaths: Count = 0


class Heartbeat(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Payload of `heartbeats/<brand>/<channel>/<node_id>.json`.

    Attributes:
        format: always `almanac-heartbeat/1`.
        brand: whose channel it follows.
        channel: which.
        node_id: its name.
        sent_at: when it was made, by the node's clock.
        interval_s: when to expect the next one.
        software: version of the software.
        trust: whether the node asks for signatures.
        snapshot_id: what it serves; None before it serves anything.
        wanted: what it should serve, as far as it knows; None when it should stay as it is.
        epoch: of the channel document it accepted last; None before the first.
        phase: what its sync process is doing.
        failure: why updating does not go on, in a word; None when all is well.
        detail: the same as a sentence.
        verdict: what its guards say of a new snapshot; None when none is watched.
        pinned: whether a pin says what it serves.
        n_quarantined: snapshots it refuses to serve.
        overlay_sequence: overlay that all its workers apply; 0 for none.
        overlay_is_stale: whether that is past its end.
        uptime_s: since it was started.
        n_workers: workers it should have.
        n_ready: workers that answer.
        guards: what its workers counted lately.
        swaps: what happened to snapshots on it, the newest at the end.
    """

    format: str = HEARTBEAT_FORMAT
    brand: Name
    channel: Name
    node_id: Name
    sent_at: Moment
    interval_s: Annotated[float, Meta(ge=0.1, le=3600)]
    software: Words
    trust: Literal["signed", "insecure"]
    snapshot_id: Name | None
    wanted: Name | None = None
    epoch: Annotated[int, Meta(ge=1, lt=1 << 53)] | None
    phase: Words
    failure: Words | None = None
    detail: Words | None = None
    verdict: Words | None = None
    pinned: bool = False
    n_quarantined: Count = 0
    overlay_sequence: Count = 0
    overlay_is_stale: bool = False
    uptime_s: Annotated[float, Meta(ge=0)]
    n_workers: Count
    n_ready: Count
    guards: Guards
    swaps: Annotated[list[Swap], Meta(max_length=MAX_SWAPS)] = field(default_factory=list)


_DECODER: Final = msgspec.json.Decoder(Heartbeat)


def seal_heartbeat(heartbeat: Heartbeat, keys: Iterable[SigningKey]) -> bytes:
    """Sign a heartbeat with a key of the role `node`; without keys it is marked as unsigned."""
    return seal_document(HEARTBEAT, msgspec.json.encode(heartbeat, order="deterministic"), keys)


def decode_heartbeat(sealed: Sealed, brand: str, channel: str, node_id: str) -> Heartbeat:
    """Read a heartbeat; whether its signatures were checked is for the caller to remember.

    Raises:
        NotADocument: another format version, or not what the format says.
        WrongChannel: of another node, or of another channel.
    """
    found = decode_payload(HEARTBEAT, sealed.payload, _DECODER, HEARTBEAT_FORMAT)
    if (found.brand, found.channel, found.node_id) != (brand, channel, node_id):
        raise WrongChannel(
            f"the heartbeat is of {found.brand}/{found.channel}/{found.node_id}, "
            f"wanted {brand}/{channel}/{node_id}",
            hint="somebody put one node's heartbeat under the name of another",
        )
    return found
