"""Roots in a store."""

from __future__ import annotations

from collections.abc import Sequence

from index.shipping.names import root_key
from index.shipping.store import Store


def publish_roots(store: Store, envelopes: Sequence[bytes]) -> int:
    """Put roots into a store, from the first version on.

    Returns:
        How many were new.

    Raises:
        AlreadyThere: the store has another root of one of these versions.
        StoreError: whatever the store has against it.
    """
    return sum(
        store.create(root_key(version), envelope)
        for version, envelope in enumerate(envelopes, start=1)
    )
