"""What commands about the nodes of a channel share: where, how, and under which root."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final, Protocol

from cyclopts import Parameter
from cyclopts.validators import Number

from index.shipping.channel_changes import Stamp
from index.shipping.documents import CHANNEL, OVERLAY, Kind, moment_now
from index.shipping.root import Root
from index.shipping.signers import Signers
from index.shipping.signing import SigningKey
from index.shipping.trust_errors import ChannelRefused


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Which channel of which store.

    Args:
        store: a folder, `file:///folder`, `s3://bucket/prefix`; for reading also `https://…`.
            ALMANAC_STORE by default.
        brand: whose channel.
        channel: its name.
    """

    store: Annotated[str, Parameter(env_var="ALMANAC_STORE")]
    brand: str
    channel: str = "stable"


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How a change is made.

    Args:
        days: until the channel ends and nodes stop updating, unless it is changed or renewed.
        dry_run: check everything and tell what would be changed, without changing it.
        json: print one JSON object instead of lines.
    """

    days: Annotated[int, Parameter(validator=Number(gte=1, lte=3650))] = 30
    dry_run: Annotated[bool, Parameter(negative=())] = False
    json: Annotated[bool, Parameter(negative=())] = False


USUAL: Final = Manner()
"""A change as it is made when nothing else is said."""


def newest(roots: Sequence[Root] | None) -> Root | None:
    """The root that says who may sign now; None when anyone is trusted."""
    return None if roots is None else roots[-1]


def stamped(roots: Sequence[Root] | None, manner: Manner) -> Stamp:
    """When a change is made, and under which root."""
    now, root = moment_now(), newest(roots)
    return Stamp(
        now=now,
        expires_at=now + timedelta(days=manner.days),
        root_version=1 if root is None else root.version,
    )


def vouched(signed_under: int | None, roots: Sequence[Root] | None) -> str:
    """Who vouches for a document, in a few words."""
    root = newest(roots)
    if root is None:
        return "INSECURE: nobody was asked to vouch"
    if signed_under == root.version:
        return f"signed under root {signed_under}"
    return f"SIGNED UNDER ROOT {signed_under}, by a key that root {root.version} replaced"


_VERBS: Final = {CHANNEL: ("status", "renew"), OVERLAY: ("overlay show", "overlay renew")}
"""What tells a document, and what signs it anew."""


class InForce(Protocol):
    """What a store has of a document."""

    @property
    def signed_under(self) -> int | None:
        """Version of the newest root whose keys vouch for it; None when anyone is trusted."""

    @property
    def is_signed(self) -> bool:
        """Whether anybody signed it."""


def keys_to_change(
    kind: Kind,
    before: InForce | None,
    signers: Signers,
    roots: Sequence[Root] | None,
    *,
    takes_replaced: bool = False,
) -> Sequence[SigningKey]:
    """The keys that a change is signed with, if it may be made.

    What a replaced key signed is looked at by somebody before anything else is changed. And what
    somebody signed is not replaced by what nobody signs: every node that asks for trust would
    refuse that, and so would the commands that could mend it.

    Args:
        kind: of the document; a channel or an overlay.
        before: what is in force; None for nothing yet.
        signers: who signs.
        roots: the chain; None trusts anyone.
        takes_replaced: signing it anew is what the change is for.

    Raises:
        ChannelRefused: it may not be made.
        TrustError: there are no such keys.
    """
    keys, root = signers.of(kind.role), newest(roots)
    if before is None:
        return keys
    if root is not None and before.signed_under != root.version and not takes_replaced:
        status, renew = _VERBS[kind]
        raise ChannelRefused(
            f"the {kind.name} is signed under root {before.signed_under}, by a key that root"
            f" {root.version} no longer names",
            hint=f"look at `almanac {status}`; if it says what it should,"
            f" `almanac {renew}` signs it anew",
        )
    if before.is_signed and not keys:
        raise ChannelRefused(
            f"the {kind.name} is signed: without a signature its nodes would follow it no more",
            hint="give --keys instead of --insecure",
        )
    return keys


def in_utc(moment: datetime) -> datetime:
    """A moment as it was given; UTC unless it has an offset."""
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
