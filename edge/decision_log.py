"""The log of decisions: what workers put into their spools, and the lines that come of it.

A worker copies the answer it has made anyway; reading it, and leaving out what a log does not need,
is the writer's work (`edge.log_writer`). When a spool is full the entry is dropped and counted.
"""

from __future__ import annotations

import struct
import time
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec
from msgspec import Struct

from edge.counters import Counters
from edge.overload import CEILINGS
from edge.spool import Spool
from index.request import Ceiling, Tier

SPOOL_BYTES: Final = 8 << 20
"""Of one worker: some two thousand answers of ten offers with title and creative."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_HEAD: Final = struct.Struct("<QBH")
"""Microseconds since 1970, the level, and how many bytes the placement's name has."""


class ShownOffer(Struct, frozen=True):
    """One offer of a logged decision."""

    offer_id: str
    rank: int
    propensity: float


class LoggedDecision(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A line of the log.

    Attributes:
        at: when it was answered.
        decision_id: as answered; what outcomes are joined by.
        request_id: likewise.
        snapshot_id: which snapshot answered.
        placement: as asked.
        tier: how much was known.
        at_most: the ceiling, when there was no time for a better answer.
        offers: what was shown.
    """

    at: datetime
    decision_id: str
    request_id: str
    snapshot_id: str
    placement: str
    tier: Tier
    at_most: Ceiling | None = None
    offers: list[ShownOffer]


class _Answered(Struct, frozen=True):
    """What the log keeps of an answer."""

    decision_id: str
    request_id: str
    snapshot_id: str
    tier: Tier
    offers: list[ShownOffer]


_read_answer = msgspec.json.Decoder(_Answered).decode
_write_line = msgspec.json.Encoder().encode


def spool_of(spools: Any, slot: int) -> Spool:
    """The spool of one worker, of an array made with `SPOOL_BYTES` for each."""
    memory = memoryview(spools).cast("B")
    return Spool(memory[slot * SPOOL_BYTES : (slot + 1) * SPOOL_BYTES])


class DecisionLog:
    """A worker's end of it.

    Args:
        spool: the worker's own.
        counters: where dropped entries are counted.
    """

    __slots__ = ("_counters", "_spool")

    def __init__(self, spool: Spool, counters: Counters) -> None:
        self._spool = spool
        self._counters = counters

    def record(self, placement: str, at_most: Ceiling | None, answer: bytes) -> None:
        """Log an answer as it was sent."""
        name = placement.encode("utf-8", "replace")
        head = _HEAD.pack(time.time_ns() // 1000, CEILINGS.index(at_most), len(name))
        if not self._spool.put(head, name, answer):
            self._counters.not_logged()


def line_of(entry: bytes) -> bytes:
    """An entry of a spool as a line of JSON."""
    at_us, level, name_bytes = _HEAD.unpack_from(entry)
    body = _HEAD.size + name_bytes
    answer = _read_answer(entry[body:])
    logged = LoggedDecision(
        at=_EPOCH + timedelta(microseconds=at_us),
        decision_id=answer.decision_id,
        request_id=answer.request_id,
        snapshot_id=answer.snapshot_id,
        placement=entry[_HEAD.size : body].decode(),
        tier=answer.tier,
        at_most=CEILINGS[level],
        offers=answer.offers,
    )
    return _write_line(logged) + b"\n"
