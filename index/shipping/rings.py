"""Rings: which nodes a rollout has reached, and so what one node wants to serve."""

from __future__ import annotations

from datetime import datetime
from hashlib import blake2b, sha256
from typing import Final

from index.shipping.channel import EVERY_NODE, Channel, Pin, Target

_PERSON: Final = b"almanac-ring"
_PLACE_BYTES: Final = 8


def place_in_rings(node_id: str, salt: str) -> int:
    """A node's place in a rollout, 0 to 99: it is reached as soon as the percentage is above.

    BLAKE2b of its id, keyed with the salt's SHA-256; each salt gives it one place.

    >>> place_in_rings("node-7", "20260101T0000Z")
    76
    """
    key = sha256(salt.encode()).digest()
    place = blake2b(node_id.encode(), key=key, person=_PERSON, digest_size=_PLACE_BYTES).digest()
    return int.from_bytes(place, "big") * 100 >> (8 * _PLACE_BYTES)


def in_ring(node_id: str, salt: str, percent: int) -> bool:
    """Whether a node is among this share of all nodes.

    So who is in 10 % is in 50 %, nobody is in 0 %, everybody is in 100 %.

    >>> [in_ring("node-7", "20260101T0000Z", percent) for percent in (0, 50, 80, 100)]
    [False, False, True, True]
    """
    return place_in_rings(node_id, salt) < percent


def wanted(channel: Channel, node_id: str, now: datetime) -> Target | None:
    """What a node should serve: its pin, else the target if the rollout has reached it, else
    the last good snapshot.

    A node's own pin goes before one for every node. A revoked snapshot is never wanted, whoever
    names it.

    Args:
        channel: as accepted.
        node_id: the node's name.
        now: for the end of pins; with a time zone.

    Returns:
        None when nothing is wanted: keep what is served, unless that is revoked.
    """  # noqa: D205 - the order is the sentence
    pin = pin_of(channel, node_id, now)
    reached = in_ring(node_id, channel.rollout.salt, channel.rollout.percent)
    choices = (
        pin.target if pin else None,
        channel.target if reached else None,
        channel.last_good,
    )
    return next(
        (one for one in choices if one and not channel.is_revoked(one.snapshot_id)),
        None,
    )


def pin_of(channel: Channel, node_id: str, now: datetime) -> Pin | None:
    """The pin that holds for a node at this moment: its own, else one for every node."""
    holding = [pin for pin in channel.pins if now < pin.until]
    return next(
        (pin for node in (node_id, EVERY_NODE) for pin in holding if pin.node == node), None
    )
