"""The store a node follows and its mirrors: whoever answers rightly is asked first next time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TypeVar

from index.errors import SnapshotError
from index.shipping.channel import Target
from index.shipping.documents import CHANNEL, MANIFEST, ROOT
from index.shipping.names import channel_key, manifest_key, root_key
from index.shipping.store import Store
from index.shipping.store_errors import NotInStore, StoreError
from index.shipping.trust import Accepted, TrustStore

_Found = TypeVar("_Found")


class Origins:
    """Documents of one brand's channel, believed only when the node's trust says so.

    Args:
        stores: the store, then its mirrors.
        trust: whom the node trusts.
        brand: whose channel.
        channel: its name.
    """

    def __init__(
        self, stores: Sequence[Store], trust: TrustStore, brand: str, channel: str
    ) -> None:
        self._stores = tuple(stores)
        self._trust = trust
        self._brand = brand
        self._channel = channel
        self._first = 0

    @property
    def in_turn(self) -> tuple[Store, ...]:
        """All stores, the one that was right last at the front."""
        return self._stores[self._first :] + self._stores[: self._first]

    def channel(self, now: datetime) -> Accepted:
        """Take new roots, then the channel's document.

        Raises:
            TrustError: no store has a document that may be followed.
            StoreError: no store answers.
        """
        key = channel_key(self._brand, self._channel)

        def ask(store: Store) -> Accepted:
            self._trust.walk_roots(lambda version: root_document(store, version))
            try:
                data = store.read(key, limit=CHANNEL.max_bytes).data
            except NotInStore as problem:
                raise NotInStore(
                    f"{self._brand} has no channel {self._channel}",
                    where=problem.where,
                    hint="it begins with its first announcement: almanac announce SNAPSHOT_ID;"
                    " or look at --store, --brand and --channel",
                ) from problem
            return self._trust.accept_channel(
                data, brand=self._brand, channel=self._channel, now=now
            )

        return self._asked(ask)

    def manifest(self, target: Target) -> tuple[bytes, bytes]:
        """The bytes of the target's `manifest.json`, and the envelope they came in.

        Raises:
            TrustError: no store has the one that the channel points at.
            StoreError: no store answers, or none has any.
        """
        key = manifest_key(self._brand, target.snapshot_id)

        def ask(store: Store) -> tuple[bytes, bytes]:
            data = store.read(key, limit=MANIFEST.max_bytes).data
            return self._trust.open_manifest(data, brand=self._brand, target=target), data

        return self._asked(ask)

    def _asked(self, ask: Callable[[Store], _Found]) -> _Found:
        """What the first store that is right says; else what was wrong with the first."""
        problems: list[SnapshotError | StoreError] = []
        for store in self.in_turn:
            try:
                found = ask(store)
            except (SnapshotError, StoreError) as problem:
                problems.append(problem)
            else:
                self._first = self._stores.index(store)
                return found
        raise problems[0]


def root_document(store: Store, version: int) -> bytes | None:
    """A version of the root as a store has it; None when it has none."""
    try:
        return store.read(root_key(version), limit=ROOT.max_bytes).data
    except NotInStore:
        return None
