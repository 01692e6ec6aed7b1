"""The channel: the one document that changes, and says what the nodes of a channel serve."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct, field

from index.manifest import MAX_MANIFEST_BYTES
from index.not_json import NOT_JSON
from index.shipping.documents import (
    ANY_MEMBERS,
    CHANNEL,
    Digest,
    Moment,
    Name,
    decode_payload,
    seal_document,
)
from index.shipping.signing import Sealed, SigningKey
from index.shipping.trust_errors import NotADocument, WrongChannel

CHANNEL_FORMAT: Final = "almanac-channel/1"
EVERY_NODE: Final = "*"

NodeOrEvery = Annotated[str, Meta(pattern=r"\A(\*|[A-Za-z0-9][A-Za-z0-9._-]{0,99})\Z")]
MAX_WORDS: Final = 500
Words = Annotated[str, Meta(max_length=MAX_WORDS)]
"""Said by a person: a reason, an owner."""
Said = Annotated[Words, Meta(pattern=r"\S")]
"""Words that may not be left out."""


class Target(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One published snapshot, told exactly.

    Attributes:
        snapshot_id: its id.
        manifest_sha256: hex digest of the bytes of its `manifest.json`.
        manifest_bytes: their number.
    """

    snapshot_id: Name
    manifest_sha256: Digest
    manifest_bytes: Annotated[int, Meta(ge=1, le=MAX_MANIFEST_BYTES)]


class Rollout(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How far the target has come.

    Attributes:
        percent: share of the nodes that want it, 0 to 100; the others want the last good one.
        salt: which nodes come first; see `index.shipping.rings`.
        paused: whether the share may not grow now.
        reason: why it is paused, or why the target went back.
    """

    percent: Annotated[int, Meta(ge=0, le=100)]
    salt: Words
    paused: bool = False
    reason: Words = ""


class Pin(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An exception: what one node, or every node, serves whatever the rollout says.

    Attributes:
        node: node id, or `*`.
        target: what it serves.
        owner: who asked for it.
        reason: why.
        until: from this moment on the pin is void.
    """

    node: NodeOrEvery
    target: Target
    owner: Said
    reason: Said
    until: Moment


class Revoked(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A snapshot that no node may want.

    Attributes:
        snapshot_id: its id.
        reason: why.
        at: since when.
    """

    snapshot_id: Name
    reason: Said
    at: Moment


class Channel(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Payload of `channels/<brand>/<channel>.json`.

    Attributes:
        format: always `almanac-channel/1`.
        brand: whose channel.
        channel: its name, such as `stable`.
        epoch: rises with every change, also when the target goes back.
        issued_at: when it was made.
        expires_at: after this moment nodes stop updating, and keep serving.
        target: what is being rolled out; None when it was revoked and nothing good is known.
        last_good: what was confirmed last; None before the first confirmation.
        rollout: how far the target has come.
        pins: exceptions, one for each node at most.
        revoked: what no node may want.
        root_version: the root its signers knew.
    """

    format: str = CHANNEL_FORMAT
    brand: Name
    channel: Name
    epoch: Annotated[int, Meta(ge=1, lt=1 << 53)]
    issued_at: Moment
    expires_at: Moment
    target: Target | None
    last_good: Target | None
    rollout: Rollout
    pins: list[Pin] = field(default_factory=list)
    revoked: list[Revoked] = field(default_factory=list)
    root_version: Annotated[int, Meta(ge=1, lt=1 << 53)]

    def is_revoked(self, snapshot_id: str) -> bool:
        """Whether no node may want this snapshot."""
        return any(entry.snapshot_id == snapshot_id for entry in self.revoked)


_DECODER: Final = msgspec.json.Decoder(Channel)


def encode_channel(channel: Channel) -> bytes:
    """The payload that is signed."""
    return msgspec.json.encode(channel, order="deterministic")


def decode_channel(sealed: Sealed) -> Channel:
    """Read a channel whose signatures were checked.

    Raises:
        NotADocument: another format version, or not what the format says.
    """
    channel = decode_payload(CHANNEL, sealed.payload, _DECODER, CHANNEL_FORMAT)
    if channel.expires_at <= channel.issued_at:
        raise NotADocument(f"epoch {channel.epoch} of the channel ends before it begins")
    return channel


def seal_channel(channel: Channel, keys: Iterable[SigningKey]) -> bytes:
    """Sign a channel with keys of the role `release`.

    Raises:
        TooLarge: more pins and revocations than one document holds (some hundreds).
    """
    return seal_document(CHANNEL, encode_channel(channel), keys)


def require_name(channel: Channel, brand: str, name: str) -> None:
    """Check that a document is of the channel that was asked for.

    Raises:
        WrongChannel: it is another's.
    """
    if (channel.brand, channel.channel) != (brand, name):
        raise WrongChannel(
            f"the document is of {channel.brand}/{channel.channel}, wanted {brand}/{name}",
            hint="the mirror serves one channel under the name of another",
        )


def claimed_root_version(sealed: Sealed) -> int:
    """The root version a channel speaks of, before anybody vouched for it; 0 if it tells none.

    Good for one thing: to know that newer roots, which prove themselves, are worth fetching.
    """
    try:
        claimed: Any = ANY_MEMBERS.decode(sealed.payload).get("root_version")
    except NOT_JSON:
        return 0
    return claimed if isinstance(claimed, int) else 0
