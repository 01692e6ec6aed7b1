"""A node's memory of whom it trusts: the root in use, and how far each channel has come.

What is valid is decided here and in the modules of each document; how it is remembered is
`index.shipping.trust_state`'s affair. Nothing is fetched.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Literal, NoReturn

from msgspec.structs import replace

from index.overlay import Overlay
from index.shipping.channel import (
    Channel,
    Target,
    claimed_root_version,
    decode_channel,
    require_name,
)
from index.shipping.documents import CHANNEL, OVERLAY, Kind, Role, unseal_document
from index.shipping.overlay_document import decode_overlay
from index.shipping.root import Root, first_root, next_root, require_role
from index.shipping.signed_manifest import open_manifest
from index.shipping.signing import Sealed
from index.shipping.trust_errors import (
    BrokenRootChain,
    Equivocation,
    Expired,
    NewerRoot,
    NoRoot,
    StaleChannel,
    TrustError,
)
from index.shipping.trust_state import Floor, State, StateFile

MAX_ROOTS_PER_WALK: Final = 256

Trust = Literal["signed", "insecure"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """A channel that a node may follow.

    Attributes:
        channel: what it says.
        trust: `signed`, or `insecure` when nobody was asked to vouch for it.
        is_new: whether its epoch is above all accepted before.
        ahead: how far its date of issue lies in the future; zero if it does not. Reported, not
            refused: it is as likely that this node's clock is wrong.
    """

    channel: Channel
    trust: Trust
    is_new: bool
    ahead: timedelta


class TrustStore:
    """What a node trusts, kept in a folder; may be shared by processes of one host.

    Args:
        folder: made when it does not exist; only the node's own user should write to it.
        root: the root envelope given at installation. Later roots are remembered in the folder, so
            it is needed once; a newer one given later counts as a new installation.
        insecure: ask nobody to vouch for anything. Such a node's state is kept apart, so that
            nothing it accepted is ever taken for signed.

    Raises:
        NoRoot: no root is known, and `insecure` was not said.
        BrokenRootChain: the folder knows another root of the same version.
        TrustStateDamaged: the folder's record is not what was written.
        TrustStateUnusable: the folder cannot be read or written.
        TrustError: the given root is none.
    """

    def __init__(self, folder: Path, *, root: bytes | None = None, insecure: bool = False) -> None:
        if insecure and root is not None:
            raise NoRoot("a root and insecure contradict each other", hint="give one of the two")
        self.folder = folder
        self.trust: Trust = "insecure" if insecure else "signed"
        self._file = StateFile(folder / ("insecure.state" if insecure else "trust.state"))
        with self._file.locked() as state:
            if root is not None:
                self._install(state, root)
            elif state.root is None and not insecure:
                raise NoRoot(
                    "this node was not told whom to trust",
                    path=folder,
                    hint="give --root the trust/1.root.json of `almanac keys init`, or say"
                    " --insecure",
                )

    def root(self) -> Root | None:
        """The root in use; None for an insecure node."""
        with self._file.locked() as state:
            return _opened(state)

    def accept_root(self, data: bytes) -> Root:
        """Take the root that follows the one in use.

        Epoch floors stand, except where the new root no longer trusts a release key that was
        trusted when the floor was set: whoever stole that key may have pushed the floor to a
        height that honest epochs never reach.

        Raises:
            NoRoot: an insecure node has no root that another could follow.
            BrokenRootChain, TooLarge, NotAnEnvelope, NotADocument: see `next_root`.
        """
        with self._file.locked() as state:
            current = _opened(state)
            if current is None:
                raise NoRoot("an insecure node takes no roots", path=self.folder)
            root = next_root(current, data)
            self._file.save(_under(state, data, root))
            return root

    def walk_roots(self, read: Callable[[int], bytes | None]) -> int:
        """Take every root that follows, one by one.

        Args:
            read: gives the root envelope of a version, or None when there is none. It should ask
                for no more than `ROOT.max_bytes`.

        Returns:
            How many were taken; at most 256 in one walk.

        Raises:
            TrustError: as `accept_root`; the roots before it stay taken.
        """
        root = self.root()
        for taken in range(MAX_ROOTS_PER_WALK):
            if root is None or (data := read(root.version + 1)) is None:
                return taken
            root = self.accept_root(data)
        return MAX_ROOTS_PER_WALK

    def accept_channel(self, data: bytes, *, brand: str, channel: str, now: datetime) -> Accepted:
        """Check a channel's document and remember its epoch.

        Args:
            data: the envelope; ask a store for no more than `CHANNEL.max_bytes` and one.
            brand: whose channel was asked for.
            channel: which.
            now: the node's clock; with a time zone.

        Raises:
            TooLarge, NotAnEnvelope, NotADocument: no channel document.
            UnknownKey, WrongRole, BadSignature, TooFewSignatures: nobody we trust vouches for it.
            NewerRoot: fetch roots first (`walk_roots`), then try again.
            WrongChannel: another brand's or channel's document.
            StaleChannel: below the floor. Equivocation: at the floor, with other contents.
            Expired: the document or the root; what is served goes on.
        """
        with self._file.locked() as state:
            root = _opened(state)
            sealed = unseal_document(CHANNEL, data)
            if root is not None:
                _require_signed(CHANNEL, sealed, root)
            found = decode_channel(sealed)
            require_name(found, brand, channel)
            if root is not None and found.root_version > root.version:
                _raise_newer(CHANNEL, found.root_version, root)
            name = f"{brand}/{channel}"
            is_new = _is_above(state.floors.get(name), found.epoch, sealed, counted="epoch")
            _refuse_expired_root(root, now)
            _refuse_expired(found, now)
            if is_new:
                floor = _floor(data, sealed, found.epoch, root, "release")
                self._file.save(replace(state, floors={**state.floors, name: floor}))
            return Accepted(
                channel=found,
                trust=self.trust,
                is_new=is_new,
                ahead=max(found.issued_at - now, timedelta(0)),
            )

    def last_channel(self, brand: str, channel: str) -> Channel | None:
        """The document accepted last, however old; None if there was none under these keys."""
        with self._file.locked() as state:
            floor = state.floors.get(f"{brand}/{channel}")
        return decode_channel(unseal_document(CHANNEL, floor.envelope)) if floor else None

    def accept_overlay(
        self, data: bytes, *, brand: str, channel: str, now: datetime
    ) -> tuple[Overlay, bytes]:
        """Check an overlay and remember its sequence.

        One past its end is taken, too: it can only take offers away or price them, so that showing
        what it forbids would be worse than obeying it for too long. Whoever applies it tells that
        it is stale.

        Args:
            data: the envelope; ask a store for no more than `OVERLAY.max_bytes` and one.
            brand: whose overlay was asked for.
            channel: of which channel's nodes.
            now: the node's clock, for the root's end; with a time zone.

        Returns:
            What it says, and the payload that says it.

        Raises:
            TooLarge, NotAnEnvelope, NotADocument: no overlay.
            UnknownKey, WrongRole, BadSignature, TooFewSignatures: nobody we trust vouches for it.
            NewerRoot: fetch roots first (`walk_roots`), then try again.
            WrongChannel: another brand's or channel's overlay.
            StaleChannel: below the floor. Equivocation: at the floor, with other contents.
            Expired: the root; what was applied before stays.
        """
        with self._file.locked() as state:
            root = _opened(state)
            sealed = unseal_document(OVERLAY, data)
            if root is not None:
                _require_signed(OVERLAY, sealed, root)
            found = decode_overlay(sealed, brand, channel)
            if root is not None and found.root_version > root.version:
                _raise_newer(OVERLAY, found.root_version, root)
            name = f"{brand}/{channel}"
            floor = state.overlays.get(name)
            is_new = _is_above(floor, found.sequence, sealed, counted="sequence")
            _refuse_expired_root(root, now)
            if is_new:
                floor = _floor(data, sealed, found.sequence, root, "overlay")
                self._file.save(replace(state, overlays={**state.overlays, name: floor}))
            return found, sealed.payload

    def last_overlay(self, brand: str, channel: str) -> tuple[Overlay, bytes] | None:
        """The overlay accepted last, with its payload, however old; None if there was none."""
        with self._file.locked() as state:
            floor = state.overlays.get(f"{brand}/{channel}")
        if floor is None:
            return None
        sealed = unseal_document(OVERLAY, floor.envelope)
        return decode_overlay(sealed, brand, channel), sealed.payload

    def open_manifest(self, data: bytes, *, brand: str, target: Target) -> bytes:
        """The bytes of the target's `manifest.json`, out of its envelope.

        An expired root still opens manifests: the target is what a channel, accepted before,
        pointed at.

        Raises:
            TrustError: see `index.shipping.signed_manifest.open_manifest`.
        """
        return open_manifest(data, self.root(), brand=brand, target=target)

    def _install(self, state: State, data: bytes) -> None:
        given, current = first_root(data), _opened(state)
        if current is not None and given.version < current.version:
            return
        if current is not None and given.version == current.version:
            if given != current:
                raise BrokenRootChain(
                    f"this node trusts another root {current.version} than the one given",
                    path=self.folder,
                    hint="give the root it was installed with, or an empty folder",
                )
            return
        self._file.save(_under(state, data, given))


def _opened(state: State) -> Root | None:
    return None if state.root is None else first_root(state.root)


def _under(state: State, data: bytes, root: Root) -> State:
    """The state under another root: only floors that keys still trusted have set."""
    return State(
        root=data,
        floors=_standing(state.floors, root, "release"),
        overlays=_standing(state.overlays, root, "overlay"),
    )


def _standing(floors: dict[str, Floor], root: Root, role: Role) -> dict[str, Floor]:
    trusted = set(root.roles[role].key_ids)
    return {name: floor for name, floor in floors.items() if trusted.issuperset(floor.release_keys)}


def _floor(data: bytes, sealed: Sealed, number: int, root: Root | None, role: Role) -> Floor:
    return Floor(
        epoch=number,
        sha256=hashlib.sha256(sealed.payload).hexdigest(),
        release_keys=root.roles[role].key_ids if root else [],
        envelope=data,
    )


def _require_signed(kind: Kind, sealed: Sealed, root: Root) -> None:
    try:
        require_role(kind, sealed, root)
    except TrustError as problem:
        # New keys come with a new root: then this is no attack, only a root too few.
        if (claimed := claimed_root_version(sealed)) > root.version:
            _raise_newer(kind, claimed, root, problem)
        raise


def _raise_newer(
    kind: Kind, wanted: int, root: Root, problem: TrustError | None = None
) -> NoReturn:
    raise NewerRoot(
        f"the {kind.name} was made under root {wanted}, this node knows root {root.version}",
        hint=f"fetch trust/{root.version + 1}.root.json and those that follow",
    ) from problem


def _is_above(floor: Floor | None, number: int, sealed: Sealed, *, counted: str) -> bool:
    if floor is None or number > floor.epoch:
        return True
    if number < floor.epoch:
        raise StaleChannel(
            f"the document has {counted} {number}, {counted} {floor.epoch} was accepted before",
            hint="a cache or mirror serves an old document; if it stays so, look who changed it",
        )
    if hashlib.sha256(sealed.payload).hexdigest() != floor.sha256:
        raise Equivocation(
            f"there are two different documents with {counted} {number}",
            hint="two publishers without compare-and-swap, or a stolen key: "
            f"publish a higher {counted}, and find out which",
        )
    return False


def _refuse_expired_root(root: Root | None, now: datetime) -> None:
    if root is not None and now >= root.expires_at:
        raise Expired(
            f"root {root.version} ended at {root.expires_at.isoformat()}",
            hint="publish the next root: almanac keys rotate; or look at this node's clock",
        )


def _refuse_expired(found: Channel, now: datetime) -> None:
    if now >= found.expires_at:
        raise Expired(
            f"epoch {found.epoch} of the channel ended at {found.expires_at.isoformat()}",
            hint="renew the channel; look who may hold newer ones back, and at this node's clock",
        )
