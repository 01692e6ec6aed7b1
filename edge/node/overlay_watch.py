"""The overlay as a node follows it: asked for, checked, remembered, handed on when it says more."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from index.overlay import Overlay
from index.shipping.documents import OVERLAY
from index.shipping.names import overlay_key
from index.shipping.store import Store
from index.shipping.store_errors import NotInStore, StoreError
from index.shipping.trust import TrustStore
from index.shipping.trust_errors import NewerRoot, TrustError


class OverlayWatch:
    """Looks for a newer overlay whenever it is asked to; failing stops nothing.

    What was accepted last lies in the trust store's own record, so that a node that boots without
    a network takes the same offers away as before.

    Args:
        stores: where overlays are, then mirrors; whoever answers is asked first next time.
        trust: whom the node trusts, and how far it has come.
        brand: whose overlay.
        channel: of which channel's nodes.
        fetch_roots: takes the roots that follow from a store; called when an overlay there was made
            under a newer one.

    Attributes:
        overlay: accepted last; None before there was one.
        failure: why the last look failed, in a sentence; None when it did not.
    """

    def __init__(
        self,
        stores: Sequence[Store],
        trust: TrustStore,
        *,
        brand: str,
        channel: str,
        fetch_roots: Callable[[Store], object] = lambda _: None,
    ) -> None:
        self._stores = list(stores)
        self._trust = trust
        self._brand = brand
        self._channel = channel
        self._fetch_roots = fetch_roots
        self._payload: bytes | None = None
        self._seen: bytes | None = None
        self._told_at: datetime | None = None
        self.overlay: Overlay | None = None
        self.failure: str | None = None
        if (last := trust.last_overlay(brand, channel)) is not None:
            self.overlay, self._payload = last

    def poll(self, now: datetime) -> bytes | None:
        """Look for a newer overlay.

        Args:
            now: the node's clock; with a time zone.

        Returns:
            A payload for `apply_overlay`: at the first call what was accepted before, later when
            there is a newer one, and again when an entry's time is over; else None.
        """
        before = self._payload
        try:
            self._look(now)
            self.failure = None
        except (StoreError, TrustError) as problem:
            self.failure = str(problem)
        if self._payload is None or (self._payload == before and not self._is_due(now)):
            return None
        self._told_at = now
        return self._payload

    def is_stale(self, now: datetime) -> bool:
        """Whether what is applied is past its end."""
        return self.overlay is not None and now >= self.overlay.expires_at

    def _look(self, now: datetime) -> None:
        """Ask the stores in turn, until one answers.

        Raises:
            TrustError: what the one that answers has can't be followed.
            StoreError: none answers; what the first one says.
        """
        hindrances = []
        for store in self._stores:
            try:
                data = self._read(store)
            except StoreError as problem:
                hindrances.append(problem)
                continue
            self._stores.sort(key=lambda one: one is not store)
            # Most looks find what was found before: nothing is checked, locked or written then.
            if data is not None and data != self._seen:
                self._take(store, data, now)
            return
        raise hindrances[0]

    def _read(self, store: Store) -> bytes | None:
        key = overlay_key(self._brand, self._channel)
        try:
            return store.read(key, limit=OVERLAY.max_bytes).data
        except NotInStore:
            return None

    def _take(self, store: Store, data: bytes, now: datetime) -> None:
        try:
            accepted = self._accepted(data, now)
        except NewerRoot:
            self._fetch_roots(store)
            accepted = self._accepted(data, now)
        self.overlay, self._payload = accepted
        self._seen = data

    def _accepted(self, data: bytes, now: datetime) -> tuple[Overlay, bytes]:
        return self._trust.accept_overlay(data, brand=self._brand, channel=self._channel, now=now)

    def _is_due(self, now: datetime) -> bool:
        """Whether it was never handed on, or an entry has ended since."""
        told_at = self._told_at
        if told_at is None or self.overlay is None:
            return True
        return any(told_at < end <= now for end in self.overlay.ends())
