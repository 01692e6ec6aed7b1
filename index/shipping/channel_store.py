"""Channels in a store: read, checked, changed by compare-and-swap, and never forgotten.

Before a channel's document is replaced, the one in force is kept under its epoch; so the history is
whole even if a publisher is killed between two steps, and two who change at once find out.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from index.shipping.channel import Channel, decode_channel, seal_channel
from index.shipping.documents import CHANNEL, unseal_document
from index.shipping.names import channel_key, past_channel_key
from index.shipping.probe import probe_conditional
from index.shipping.root import Root, require_role
from index.shipping.signing import SigningKey
from index.shipping.store import Store
from index.shipping.store_errors import NotInStore
from index.shipping.trust_errors import WrongChannel


@dataclass(frozen=True, slots=True, kw_only=True)
class InForce:
    """A channel as the store has it.

    Attributes:
        channel: what it says.
        envelope: its bytes.
        token: to replace exactly these with.
    """

    channel: Channel
    envelope: bytes
    token: str


def read_channel(store: Store, brand: str, channel: str, root: Root | None) -> InForce | None:
    """The document in force; None when the channel was never announced to.

    Args:
        store: where it is.
        brand: whose channel.
        channel: its name.
        root: whose release keys count; None trusts anyone.

    Raises:
        TrustError: it is not what a release key of the root signed for this channel.
        StoreError: whatever the store has against it.
    """
    try:
        blob = store.read(channel_key(brand, channel), limit=CHANNEL.max_bytes)
    except NotInStore:
        return None
    return InForce(
        channel=_opened(blob.data, brand, channel, root), envelope=blob.data, token=blob.token
    )


def write_channel(
    store: Store, before: InForce | None, after: Channel, keys: Iterable[SigningKey]
) -> InForce:
    """Put a changed document in place of the one it was made from.

    Raises:
        NoConditions: the store ignores conditions, and would lose changes.
        Overtaken: somebody else changed the channel meanwhile; nothing was written.
        StoreError: whatever the store has against it.
    """
    probe_conditional(store)
    if before is not None:
        past = before.channel
        store.create(past_channel_key(past.brand, past.channel, past.epoch), before.envelope)
    envelope = seal_channel(after, keys)
    token = store.replace(
        channel_key(after.brand, after.channel),
        envelope,
        expected=None if before is None else before.token,
    )
    return InForce(channel=after, envelope=envelope, token=token)


def history(store: Store, brand: str, channel: str, root: Root | None) -> list[Channel]:
    """Every document the channel ever had, the newest first.

    Documents of before a release key was replaced are signed by keys the root no longer names;
    they are told all the same, since nobody acts on them.

    Raises:
        NotInStore: the channel was never announced to.
        ReadOnlyStore: the store can't tell what it has.
        TrustError: the document in force is not what a release key signed.
        StoreError: whatever the store has against it.
    """
    now = require_channel(store, brand, channel, root)
    folder = past_channel_key(brand, channel, 0).rpartition("/")[0]
    past = [
        _opened(store.read(listed.key, limit=CHANNEL.max_bytes).data, brand, channel, None)
        for listed in store.list(folder)
    ]
    known = {document.epoch: document for document in (*past, now.channel)}
    return [known[epoch] for epoch in sorted(known, reverse=True)]


def require_channel(store: Store, brand: str, channel: str, root: Root | None) -> InForce:
    """The document in force.

    Raises:
        NotInStore: the channel was never announced to.
        TrustError, StoreError: see `read_channel`.
    """
    found = read_channel(store, brand, channel, root)
    if found is None:
        raise NotInStore(
            f"{brand} has no channel {channel}",
            where=f"{store.name}/{channel_key(brand, channel)}",
            hint="a channel begins with its first announcement: almanac announce SNAPSHOT_ID",
        )
    return found


def _opened(data: bytes, brand: str, channel: str, root: Root | None) -> Channel:
    sealed = unseal_document(CHANNEL, data)
    if root is not None:
        require_role(CHANNEL, sealed, root)
    found = decode_channel(sealed)
    if (found.brand, found.channel) != (brand, channel):
        raise WrongChannel(
            f"the document is of {found.brand}/{found.channel}, wanted {brand}/{channel}",
            hint="somebody put one channel under the name of another",
        )
    return found
