"""When a node does what all nodes do: spread by its name, and more rarely while it fails."""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

_PERSON: Final = b"almanac-spread"
_PLACE_BYTES: Final = 8
_LONGEST_S: Final = 60.0
_MOST_DOUBLINGS: Final = 10


def place_of(node_id: str, what: str) -> float:
    """A node's place in [0, 1) among all nodes that do the same thing; another for each thing.

    >>> place_of("node-7", "poll") == place_of("node-7", "poll") != place_of("node-8", "poll")
    True
    """
    name = f"{node_id}\\0{what}".encode()
    digest = blake2b(name, person=_PERSON, digest_size=_PLACE_BYTES).digest()
    return int.from_bytes(digest, "big") / (1 << (8 * _PLACE_BYTES))


def pause_s(poll_s: float, node_id: str, n_failed: int) -> float:
    """Seconds until a node looks at its channel again.

    Args:
        poll_s: what was asked for; nodes keep within a tenth of it, each always the same.
        node_id: the node's name.
        n_failed: looks that failed in a row; each doubles the pause, up to a minute.

    >>> pause_s(5, "node-7", 0) < pause_s(5, "node-7", 1) < pause_s(5, "node-7", 99) <= 66
    True
    """
    longer = poll_s * 2.0 ** min(n_failed, _MOST_DOUBLINGS)
    most = max(poll_s, _LONGEST_S)
    return min(longer, most) * (0.9 + 0.2 * place_of(node_id, "poll"))
