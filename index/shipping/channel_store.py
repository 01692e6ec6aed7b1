"""Channels in a store: read, checked, changed by compare-and-swap, and never forgotten.

Before a channel's document is replaced, the one in force is kept under its epoch; so the history is
whole even if a publisher is killed between two steps, and two who change at once find out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from index.shipping.channel import Channel, decode_channel, require_name, seal_channel
from index.shipping.documents import CHANNEL, document_at, unseal_document
from index.shipping.names import channel_key, past_channel_key
from index.shipping.probe import probe_conditional
from index.shipping.root import Root, vouching_root
from index.shipping.signing import Sealed, SigningKey
from index.shipping.store import Store
from index.shipping.store_errors import NotInStore

CHANNEL_REMEDY: Final = (
    "put the newest document of its history in its place, as docs/operations.md has it under"
    " 'When somebody wrote over a channel'"
)
"""What mends a channel that can't be read."""
PAST_REMEDY: Final = (
    "bring it back from a copy of the store, or delete it: nodes don't read what was in force once"
)
"""What mends a document of the past that can't be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InForce:
    """A channel as the store has it.

    Attributes:
        channel: what it says.
        envelope: its bytes.
        token: to replace exactly these with.
        signed_under: version of the newest root whose release keys vouch for it; None when anyone
            is trusted.
        is_signed: whether anybody signed it.
    """

    channel: Channel
    envelope: bytes
    token: str
    signed_under: int | None
    is_signed: bool


def read_channel(
    store: Store, brand: str, channel: str, roots: Sequence[Root] | None
) -> InForce | None:
    """The document in force; None when the channel was never announced to.

    Args:
        store: where it is.
        brand: whose channel.
        channel: its name.
        roots: a chain, the newest last, whose release keys count: after a release key was replaced
            the document in force is still signed by the old one. None trusts anyone.

    Raises:
        TrustError: it is not what a release key of any root signed for this channel.
        StoreError: whatever the store has against it.
    """
    key = channel_key(brand, channel)
    try:
        blob = store.read(key, limit=CHANNEL.max_bytes)
    except NotInStore:
        return None
    with document_at(key, CHANNEL_REMEDY):
        sealed = unseal_document(CHANNEL, blob.data)
        signed_under = None if roots is None else vouching_root(CHANNEL, sealed, roots).version
        found = _opened(sealed, brand, channel)
    return InForce(
        channel=found,
        envelope=blob.data,
        token=blob.token,
        signed_under=signed_under,
        is_signed=bool(sealed.signed_by),
    )


def write_channel(
    store: Store, before: InForce | None, after: Channel, keys: Iterable[SigningKey]
) -> Channel:
    """Put a changed document in place of the one it was made from.

    Returns:
        What was written: with a higher epoch than asked for where the document in force was an old
        one that somebody had put back, since nodes have seen higher ones.

    Raises:
        NoConditions: the store ignores conditions, and would lose changes.
        Overtaken: somebody else changed the channel meanwhile; nothing was written.
        StoreError: whatever the store has against it.
    """
    probe_conditional(store)
    if before is not None:
        after, past = _above_history(store, after), before.channel
        store.create(past_channel_key(past.brand, past.channel, past.epoch), before.envelope)
    envelope = seal_channel(after, keys)
    store.replace(
        channel_key(after.brand, after.channel),
        envelope,
        expected=None if before is None else before.token,
    )
    return after


def _above_history(store: Store, after: Channel) -> Channel:
    """The same with an epoch that nobody has seen, where its own was given out before."""
    brand, channel = after.brand, after.channel
    if store.head(past_channel_key(brand, channel, after.epoch)) is None:
        return after
    # The newest of the past was followed by one more, which was lost with what was put back.
    newest = max(listed.key for listed in store.list(_past_folder(brand, channel)))
    epoch = int(newest.rpartition("/")[2].removesuffix(".json")) + 2
    return msgspec.structs.replace(after, epoch=epoch)


def _past_folder(brand: str, channel: str) -> str:
    return past_channel_key(brand, channel, 0).rpartition("/")[0]


def history(store: Store, brand: str, channel: str, roots: Sequence[Root] | None) -> list[Channel]:
    """Every document the channel ever had, the newest first.

    Nobody acts on documents of the past, so nobody is asked to vouch for them.

    Raises:
        NotInStore: the channel was never announced to.
        ReadOnlyStore: the store can't tell what it has.
        TrustError: the document in force is not what a release key signed.
        StoreError: whatever the store has against it.
    """
    now = require_channel(store, brand, channel, roots)
    folder = _past_folder(brand, channel)
    past = []
    for key in [listed.key for listed in store.list(folder)]:
        data = store.read(key, limit=CHANNEL.max_bytes).data
        with document_at(key, PAST_REMEDY):
            past.append(_opened(unseal_document(CHANNEL, data), brand, channel))
    known = {document.epoch: document for document in (*past, now.channel)}
    return [known[epoch] for epoch in sorted(known, reverse=True)]


def require_channel(
    store: Store, brand: str, channel: str, roots: Sequence[Root] | None
) -> InForce:
    """The document in force.

    Raises:
        NotInStore: the channel was never announced to.
        TrustError, StoreError: see `read_channel`.
    """
    found = read_channel(store, brand, channel, roots)
    if found is None:
        raise NotInStore(
            f"{brand} has no channel {channel}",
            where=f"{store.name}/{channel_key(brand, channel)}",
            hint="it begins with its first announcement: almanac announce SNAPSHOT_ID; or look at"
            " --store, --brand and --channel",
        )
    return found


def _opened(sealed: Sealed, brand: str, channel: str) -> Channel:
    found = decode_channel(sealed)
    require_name(found, brand, channel)
    return found
