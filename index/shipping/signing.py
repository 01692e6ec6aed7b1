"""Signatures: ed25519 keys, and the envelope that carries bytes together with who signed them.

The only file that knows a cryptographic library. Envelopes are DSSE v1 (Dead Simple Signing
Envelope, secure-systems-lab/dsse, protocol.md): a signature covers payload type, lengths and the
exact payload bytes, so no canonical form of JSON is needed. Who may sign what is decided in
`index.shipping.documents`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Final, Self

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)
from msgspec import Meta, Struct, field
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import CryptoSigner, SSlibKey

from index.shipping.trust_errors import BadKeyFile, NotAnEnvelope

_SCHEME: Final = "ed25519"
_MAX_SIGNATURES: Final = 64
"""More than any role has keys; bounds the work a hostile envelope can cause."""
_NO_ENVELOPE: Final = (ValueError, RecursionError)
"""What reading a hostile envelope raises: errors of msgspec, base64 and Unicode are ValueErrors."""


class _Signature(Struct, forbid_unknown_fields=True):
    keyid: str
    sig: str


class _Shape(Struct, forbid_unknown_fields=True):
    payload: str
    payload_type: str = field(name="payloadType")
    signatures: Annotated[list[_Signature], Meta(max_length=_MAX_SIGNATURES)]


_SHAPE: Final = msgspec.json.Decoder(_Shape)


def key_id(public: bytes) -> str:
    """A key's id: the hex SHA-256 of its 32 raw public bytes.

    >>> key_id(bytes(32))[:12]
    '66687aadf862'
    """
    return hashlib.sha256(public).hexdigest()


class SigningKey:
    """A private ed25519 key in memory.

    Attributes:
        public: its 32 raw public bytes.
        key_id: see `key_id`.
    """

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self.public = private.public_key().public_bytes_raw()
        self.key_id = key_id(self.public)
        self._signer = CryptoSigner(private, _public_key(self.key_id, self.public))

    def __repr__(self) -> str:
        return f"SigningKey({self.key_id[:12]}…)"

    @classmethod
    def generate(cls) -> Self:
        """A new key from the system's randomness."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def from_pem(cls, pem: bytes) -> Self:
        """The key in an unencrypted PKCS#8 PEM.

        Raises:
            BadKeyFile: it holds something else.
        """
        try:
            private = load_pem_private_key(pem, None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as problem:
            raise BadKeyFile("holds no private key in unencrypted PKCS#8 PEM") from problem
        if not isinstance(private, Ed25519PrivateKey):
            raise BadKeyFile("holds a private key, but no ed25519 one")
        return cls(private)

    @property
    def private_pem(self) -> bytes:
        """Unencrypted PKCS#8 PEM: the content of a private key file."""
        return self._signer.private_bytes

    @property
    def public_pem(self) -> bytes:
        """SubjectPublicKeyInfo PEM: the content of a public key file."""
        public = Ed25519PublicKey.from_public_bytes(self.public)
        return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def sign(self, envelope: Envelope) -> None:
        """Add this key's signature to an envelope."""
        envelope.sign(self._signer)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """An envelope taken apart, not believed yet.

    Attributes:
        payload_type: what the signers say the payload is.
        payload: the exact bytes that were signed.
        signed_by: key ids named by its signatures, in their order; anyone can name a key.
    """

    payload_type: str
    payload: bytes
    signed_by: tuple[str, ...]
    _envelope: Envelope


def seal(payload: bytes, payload_type: str, keys: Iterable[SigningKey]) -> bytes:
    """Put bytes and signatures into one envelope; the same input gives the same envelope.

    Without keys it carries no signature, and only who asked for no trust will accept it.
    """
    envelope = Envelope(payload, payload_type, {})
    for key in sorted(keys, key=lambda key: key.key_id):
        key.sign(envelope)
    return _encode(envelope)


def unseal(data: bytes) -> Sealed:
    """Take an envelope apart.

    It is read in exactly the form that `seal` writes: members in that order and no others, no
    blanks, one way to write base64, signatures by key id. So nothing unsigned can hide in it.

    Raises:
        NotAnEnvelope: anything else.
    """
    try:
        envelope = Envelope.from_dict(msgspec.to_builtins(_SHAPE.decode(data)))
        same = _encode(envelope) == data and list(envelope.signatures) == sorted(
            envelope.signatures
        )
    except _NO_ENVELOPE as problem:
        raise NotAnEnvelope(f"is no signed envelope ({type(problem).__name__})") from problem
    if not same:
        raise NotAnEnvelope("is an envelope, but not in the one form that is written here")
    return Sealed(
        payload_type=envelope.payload_type,
        payload=envelope.payload,
        signed_by=tuple(envelope.signatures),
        _envelope=envelope,
    )


def good_signers(sealed: Sealed, publics: Mapping[str, bytes]) -> frozenset[str]:
    """Ids of those given keys whose signature over the payload is good.

    Args:
        sealed: the envelope.
        publics: key id → 32 raw public bytes; ids must be the keys' own (see `key_id`), so that
            one key can never count twice.
    """
    return frozenset(
        name
        for name in sealed.signed_by
        if name in publics and _verifies(sealed, _public_key(name, publics[name]))
    )


def _verifies(sealed: Sealed, public: SSlibKey) -> bool:
    try:
        sealed._envelope.verify([public], 1)  # noqa: SLF001 - hidden from all other files
    except VerificationError:
        return False
    return True


def _public_key(name: str, public: bytes) -> SSlibKey:
    return SSlibKey(name, _SCHEME, _SCHEME, {"public": public.hex()})


def _encode(envelope: Envelope) -> bytes:
    return msgspec.json.encode(envelope.to_dict())
