"""The root: which keys speak for which role, and how one root follows another.

A node is given one root at its installation and walks from it, one version at a time. Each new
root is signed by the threshold of the root before *and* by its own (TUF specification, section
5.3), so that neither lost keys alone nor new keys alone can change whom a fleet trusts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from index.shipping.documents import (
    ROLES,
    ROOT,
    Digest,
    Kind,
    Moment,
    Role,
    decode_payload,
    require_signatures,
    seal_document,
    unseal_document,
)
from index.shipping.signing import Sealed, SigningKey, key_id
from index.shipping.trust_errors import BrokenRootChain, NotADocument, TrustError

ROOT_FORMAT: Final = "almanac-root/1"
_MAX_KEYS: Final = 32


class RoleKeys(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who speaks for one role.

    Attributes:
        key_ids: its keys; no key serves two roles.
        threshold: how many of them must sign.
    """

    key_ids: Annotated[list[Digest], Meta(min_length=1, max_length=_MAX_KEYS)]
    threshold: Annotated[int, Meta(ge=1, le=_MAX_KEYS)]


class Root(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Payload of `trust/<version>.root.json`.

    Attributes:
        format: always `almanac-root/1`.
        version: rises by exactly one.
        issued_at: when it was made.
        expires_at: after this moment nodes stop updating, and keep serving.
        keys: key id → hex of the 32 public bytes; an id is the SHA-256 of those bytes.
        roles: every role, with its keys.
    """

    format: str = ROOT_FORMAT
    version: Annotated[int, Meta(ge=1, lt=1 << 53)]
    issued_at: Moment
    expires_at: Moment
    keys: dict[Digest, Digest]
    roles: dict[Role, RoleKeys]

    @property
    def publics(self) -> dict[str, bytes]:
        """Key id → 32 raw public bytes."""
        return {name: bytes.fromhex(public) for name, public in self.keys.items()}


_DECODER: Final = msgspec.json.Decoder(Root)


def make_root(
    roles: Mapping[Role, Sequence[bytes]],
    *,
    thresholds: Mapping[Role, int],
    version: int,
    issued_at: datetime,
    expires_at: datetime,
) -> Root:
    """A root that names these public keys (32 bytes each); roles without a threshold ask for one.

    Raises:
        NotADocument: it would contradict itself.
    """
    root = Root(
        version=version,
        issued_at=issued_at,
        expires_at=expires_at,
        keys={key_id(public): public.hex() for publics in roles.values() for public in publics},
        roles={
            role: RoleKeys(
                key_ids=[key_id(public) for public in publics],
                threshold=thresholds.get(role, 1),
            )
            for role, publics in roles.items()
        },
    )
    _check(root)
    return root


def encode_root(root: Root) -> bytes:
    """The payload that is signed: indented for people, members in a fixed order."""
    return msgspec.json.format(msgspec.json.encode(root, order="deterministic"), indent=1)


def seal_root(root: Root, keys: Sequence[SigningKey]) -> bytes:
    """Sign a root; for a successor give keys of the root before, too."""
    return seal_document(ROOT, encode_root(root), keys)


def first_root(data: bytes) -> Root:
    """Open the root that a node is given at its installation.

    Where it came from is why it is trusted; that it fulfils its own threshold shows that it is
    whole.

    Raises:
        TrustError: it is no root, or does not fulfil its own threshold.
    """
    sealed = unseal_document(ROOT, data)
    root = _decode(sealed)
    require_role(ROOT, sealed, root)
    return root


def next_root(current: Root, data: bytes) -> Root:
    """Open the root that follows the one in use.

    Whether it has expired is not asked here: a chain is walked to its end first.

    Raises:
        TooLarge, NotAnEnvelope, NotADocument: it is no root.
        BrokenRootChain: not the next version, or not signed by the threshold of both roots.
    """
    sealed = unseal_document(ROOT, data)
    _require_link(sealed, current, "the root in use")
    root = _decode(sealed)
    if root.version != current.version + 1:
        raise BrokenRootChain(
            f"root {root.version} does not follow root {current.version}",
            hint=f"give trust/{current.version + 1}.root.json; none may be left out",
        )
    _require_link(sealed, root, "the new root itself")
    return root


def require_role(kind: Kind, sealed: Sealed, root: Root) -> None:
    """Check a document's signatures against the root.

    Raises:
        UnknownKey, WrongRole, BadSignature, TooFewSignatures: see their classes.
    """
    keys = root.roles[kind.role]
    require_signatures(
        kind, sealed, publics=root.publics, allowed=keys.key_ids, threshold=keys.threshold
    )


def vouching_root(kind: Kind, sealed: Sealed, roots: Sequence[Root]) -> Root:
    """The newest root of a chain whose keys vouch for a document.

    After a key was replaced, what it signed before is still in force.

    Raises:
        UnknownKey, WrongRole, BadSignature, TooFewSignatures: none does; as the newest says it.
    """
    *earlier, newest = roots
    try:
        require_role(kind, sealed, newest)
    except TrustError:
        for root in reversed(earlier):
            with suppress(TrustError):
                require_role(kind, sealed, root)
                return root
        raise
    return newest


def _require_link(sealed: Sealed, root: Root, whose: str) -> None:
    try:
        require_role(ROOT, sealed, root)
    except TrustError as problem:
        raise BrokenRootChain(
            f"the new root is not vouched for by {whose}: {problem.what}",
            hint="a root is signed by the threshold of the root before and by its own",
        ) from problem


def _decode(sealed: Sealed) -> Root:
    root = decode_payload(ROOT, sealed.payload, _DECODER, ROOT_FORMAT)
    _check(root)
    return root


def _check(root: Root) -> None:
    for name, public in root.keys.items():
        if key_id(bytes.fromhex(public)) != name:
            raise NotADocument(f"root {root.version}: key {name[:12]}… has the id of another key")
    if missing := [role for role in ROLES if role not in root.roles]:
        raise NotADocument(f"root {root.version} names nobody for {', '.join(missing)}")
    named = [name for keys in root.roles.values() for name in keys.key_ids]
    if len(set(named)) != len(named):
        raise NotADocument(
            f"root {root.version} names one key twice", hint="give each role keys of its own"
        )
    if set(named) != set(root.keys):
        raise NotADocument(f"root {root.version}: keys and roles do not name the same ids")
    for role, keys in root.roles.items():
        if keys.threshold > len(keys.key_ids):
            raise NotADocument(
                f"root {root.version}: {role} asks for {keys.threshold} signatures "
                f"and has {len(keys.key_ids)} keys"
            )
    if root.expires_at <= root.issued_at:
        raise NotADocument(f"root {root.version} ends before it begins")
