"""Signed documents: which kinds there are, how large each may be, and who may sign it.

A kind's payload type is signed with its bytes, so that a document of one kind can never be passed
off as another. The rules are those of The Update Framework (TUF specification, sections 4 and 5):
roles, thresholds, and keys that a root names.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from index.layout import STORE_NAME
from index.not_json import NOT_JSON
from index.shipping.signing import Sealed, SigningKey, good_signers, seal, unseal
from index.shipping.trust_errors import (
    BadSignature,
    NotADocument,
    NotAnEnvelope,
    TooFewSignatures,
    TooLarge,
    TrustError,
    UnknownKey,
    WrongRole,
)

Role = Literal["root", "builder", "release", "overlay", "node"]
ROLES: Final[tuple[Role, ...]] = ("root", "builder", "release", "overlay", "node")

Name = Annotated[str, Meta(pattern=STORE_NAME)]
"""A brand, channel, node or snapshot id where it becomes part of a name in the store."""
Digest = Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]
Moment = Annotated[datetime, Meta(tz=True)]

ANY_MEMBERS: Final = msgspec.json.Decoder(dict[str, Any])
"""Reads a payload as far as it is an object, whatever its members are."""
_Document = TypeVar("_Document", bound=Struct)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of signed document.

    Attributes:
        name: the word for it in messages.
        payload_type: media type, signed with the payload.
        role: whose keys sign it.
        max_bytes: of the whole envelope; ask a store for no more than this.
    """

    name: str
    payload_type: str
    role: Role
    max_bytes: int


ROOT: Final = Kind(
    name="root",
    payload_type="application/vnd.almanac.root+json",
    role="root",
    max_bytes=256 << 10,
)
MANIFEST: Final = Kind(
    name="manifest",
    payload_type="application/vnd.almanac.manifest+json",
    role="builder",
    # 16 MiB of manifest, a third more as base64, and room for signatures.
    max_bytes=(16 << 20) // 3 * 4 + (64 << 10),
)
CHANNEL: Final = Kind(
    name="channel",
    payload_type="application/vnd.almanac.channel+json",
    role="release",
    max_bytes=64 << 10,
)
OVERLAY: Final = Kind(
    name="overlay",
    payload_type="application/vnd.almanac.overlay+json",
    role="overlay",
    # Every node asks for it each second.
    max_bytes=256 << 10,
)
HEARTBEAT: Final = Kind(
    name="heartbeat",
    payload_type="application/vnd.almanac.heartbeat+json",
    role="node",
    max_bytes=64 << 10,
)


def moment_now() -> datetime:
    """The moment, UTC, in whole seconds, as documents tell it."""
    return datetime.now(UTC).replace(microsecond=0)


@contextmanager
def document_at(key: str, remedy: str) -> Iterator[None]:
    """Let what is wrong with a document of a store say where it lies, and what mends it.

    Args:
        key: its name in the store.
        remedy: what to do where the error has no better hint.
    """
    try:
        yield
    except TrustError as problem:
        problem.path = problem.path or Path(key)
        problem.hint = problem.hint or remedy
        raise


def seal_document(kind: Kind, payload: bytes, keys: Iterable[SigningKey]) -> bytes:
    """Sign a payload as a document of this kind.

    Raises:
        TooLarge: no reader would take it.
    """
    data = seal(payload, kind.payload_type, keys)
    _check_size(kind, data)
    return data


def unseal_document(kind: Kind, data: bytes) -> Sealed:
    """Take apart what claims to be a document of this kind; nobody has vouched for it yet.

    Raises:
        TooLarge: more bytes than the kind allows.
        NotAnEnvelope: no envelope, or one of another kind.
    """
    _check_size(kind, data)
    sealed = unseal(data)
    if sealed.payload_type != kind.payload_type:
        raise NotAnEnvelope(
            f"is an envelope of {sealed.payload_type[:80]!r}, wanted a {kind.name}",
            hint="a mirror may serve one file under the name of another",
        )
    return sealed


def require_signatures(
    kind: Kind,
    sealed: Sealed,
    *,
    publics: Mapping[str, bytes],
    allowed: Iterable[str],
    threshold: int,
) -> None:
    """Check that enough keys of the kind's role vouch for the payload.

    Args:
        kind: what the document is.
        sealed: the document.
        publics: every key the root names, of any role.
        allowed: ids of the role's keys.
        threshold: how many of them must have signed.

    Raises:
        UnknownKey, WrongRole, BadSignature, TooFewSignatures: see their classes.
    """
    ours = frozenset(allowed)
    good = good_signers(sealed, publics)
    if len(good & ours) >= threshold:
        return
    if good & ours:
        raise TooFewSignatures(
            f"the {kind.name} has {len(good & ours)} good signatures of role {kind.role}, "
            f"the root asks for {threshold}",
            hint="let more holders of the role's keys sign it",
        )
    if ours.intersection(sealed.signed_by):
        raise BadSignature(
            f"the {kind.name} is not what the role {kind.role} signed",
            hint="fetch it again; if that does not help, somebody changed it",
        )
    if good:
        raise WrongRole(
            f"the {kind.name} is signed by {_short(good)}, which may not sign for {kind.role}",
            hint=f"sign it with a key of role {kind.role}",
        )
    raise UnknownKey(
        f"the {kind.name} is signed by {_short(sealed.signed_by) or 'nobody'}, "
        "and the root names no such key",
        hint="fetch newer roots; if it stays so, do not use it",
    )


def decode_payload(
    kind: Kind, payload: bytes, decoder: msgspec.json.Decoder[_Document], form: str
) -> _Document:
    """Read a payload whose signatures were checked.

    Args:
        kind: what the document is.
        payload: JSON.
        decoder: of its type, made when its module was loaded: two threads that decode a type for
            the first time at once end the process (seen with msgspec 0.22).
        form: the `format` member that this software reads.

    Raises:
        NotADocument: another format version, or not what the format says.
    """
    try:
        head = ANY_MEMBERS.decode(payload)
        if head.get("format") != form:
            raise NotADocument(
                f"the {kind.name} has format {str(head.get('format'))[:40]!r}, "
                f"this software reads {form!r}",
                hint="upgrade the side with the lower version",
            )
        return decoder.decode(payload)
    except NOT_JSON as problem:
        raise NotADocument(f"the {kind.name} makes no sense: {problem}") from problem


def _check_size(kind: Kind, data: bytes) -> None:
    if len(data) > kind.max_bytes:
        raise TooLarge(
            f"the {kind.name} has {len(data)} bytes or more, at most {kind.max_bytes} are allowed",
            hint="shorten it, or look at who serves it",
        )


def _short(names: Iterable[str]) -> str:
    return ", ".join(f"{name[:12]}…" for name in sorted(names)[:3])
