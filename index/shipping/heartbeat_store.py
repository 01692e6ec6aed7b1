"""Heartbeats in a store: each node writes its own, and who wants to see a fleet reads them all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from index.shipping.documents import HEARTBEAT, unseal_document
from index.shipping.heartbeat import Heartbeat, decode_heartbeat, seal_heartbeat
from index.shipping.names import channel_key, heartbeat_folder, heartbeat_key
from index.shipping.root import Root, vouching_root
from index.shipping.signing import SigningKey
from index.shipping.store import Listed, Store
from index.shipping.store_errors import NotInStore, Overtaken, TooLarge
from index.shipping.trust_errors import TrustError

_SILENT_AFTER: Final = 6
"""Heartbeats that may be missed: one lost write or one slow store is no silence."""
_READERS: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What a store has of one node.

    Attributes:
        node_id: its name.
        heartbeat: what it told last; None when that can't be read, or a key signed it that is no
            node's.
        age_s: since then, never below zero.
        is_vouched: whether a key of the role `node` signed it.
        problem: why there is no heartbeat.
    """

    node_id: str
    heartbeat: Heartbeat | None
    age_s: float
    is_vouched: bool
    problem: str | None

    @property
    def is_silent(self) -> bool:
        """Whether the next heartbeat should long have come."""
        return self.heartbeat is None or self.age_s > _SILENT_AFTER * self.heartbeat.interval_s


class HeartbeatWriter:
    """Replaces one node's heartbeat again and again.

    Args:
        store: where to.
        keys: of the role `node`; none for heartbeats that nobody vouches for.

    Attributes:
        n_rivals: how many of the last writes in a row found that somebody else had written under
            this node's name since. Above one, two nodes have one name; a single one may be a store
            that was brought back from a copy.
    """

    def __init__(self, store: Store, keys: Iterable[SigningKey]) -> None:
        self._store = store
        self._keys = list(keys)
        self._token: str | None = None
        self.n_rivals = 0

    def write(self, heartbeat: Heartbeat) -> None:
        """Put it in place of the one before.

        A store that has lost its channel is gone, or another one: writing would make a folder that
        stands in the way of the right one.

        Raises:
            NotInStore: the channel is not there.
            TooLarge: it is longer than a heartbeat may be.
            StoreError: whatever the store has against it; the next may succeed.
        """
        channel = channel_key(heartbeat.brand, heartbeat.channel)
        if self._store.head(channel) is None:
            raise NotInStore("has no such channel", where=f"{self._store.name}/{channel}")
        data = seal_heartbeat(heartbeat, self._keys)
        key = heartbeat_key(heartbeat.brand, heartbeat.channel, heartbeat.node_id)
        try:
            self._token = self._store.replace(key, data, expected=self._token)
            self.n_rivals = 0
        except Overtaken:
            # After a start the token is not known; later somebody else has written.
            found = self._found(key)
            self.n_rivals += self._token is not None and found is not None
            self._token = self._store.replace(key, data, expected=found)

    def _found(self, key: str) -> str | None:
        try:
            return self._store.read(key, limit=HEARTBEAT.max_bytes).token
        except NotInStore:
            return None


def hear_fleet(
    store: Store, brand: str, channel: str, roots: Sequence[Root] | None, now: datetime
) -> list[Heard]:
    """What every node of a channel told last, by name.

    What can't be read or believed is told as such: it hides no other node. What nobody signed is
    told with what it says, and not vouched for.

    Args:
        store: where they are.
        brand: whose nodes.
        channel: of which channel.
        roots: a chain, the newest last, whose node keys count. None trusts anyone.
        now: the reader's clock; with a time zone.

    Raises:
        ReadOnlyStore: the store can't tell what it has.
        StoreError: whatever else the store has against it.
    """
    listed = [one for one in store.list(heartbeat_folder(brand, channel)) if _node_of(one)]

    def hear(one: Listed) -> Heard | None:
        return _heard(store, one, brand, channel, roots, now)

    with ThreadPoolExecutor(max_workers=_READERS) as readers:
        found = [heard for heard in readers.map(hear, listed) if heard is not None]
    return sorted(found, key=lambda heard: heard.node_id)


def _node_of(listed: Listed) -> str | None:
    name = listed.key.rpartition("/")[2]
    return name.removesuffix(".json") if name.endswith(".json") else None


def _heard(  # noqa: PLR0917 - where, of whom, trusted by whom, when
    store: Store,
    listed: Listed,
    brand: str,
    channel: str,
    roots: Sequence[Root] | None,
    now: datetime,
) -> Heard | None:
    node_id = _node_of(listed) or ""
    written_at, heartbeat, problem, is_vouched = listed.modified_at, None, None, False
    try:
        data = store.read(listed.key, limit=HEARTBEAT.max_bytes).data
        sealed = unseal_document(HEARTBEAT, data)
        if roots is not None and sealed.signed_by:
            vouching_root(HEARTBEAT, sealed, roots)
            is_vouched = True
        heartbeat = decode_heartbeat(sealed, brand, channel, node_id)
        # The earlier of two clocks: a replayed document or a clock that is ahead makes nobody live.
        written_at = min(written_at, heartbeat.sent_at)
    except NotInStore:
        return None
    except (TrustError, TooLarge) as failed:
        problem = str(failed)
    return Heard(
        node_id=node_id,
        heartbeat=heartbeat,
        age_s=max(0.0, (now - written_at).total_seconds()),
        is_vouched=is_vouched and heartbeat is not None,
        problem=problem,
    )
