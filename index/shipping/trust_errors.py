"""Why a document or a key was not trusted, one class per thing someone would do next.

TrustError (a SnapshotError)
├── what was fetched is no document of ours                → look at the mirror, fetch again
│   ├── TooLarge          more bytes than such a document has              (exit 3)
│   ├── NotAnEnvelope     no signed envelope, or one of another kind       (exit 3)
│   └── NotADocument      signed, but its contents make no sense here      (exit 3)
├── it is one, but nobody we trust vouches for it          → do not use it, find out who wrote it
│   ├── UnknownKey        signed by keys the root does not name            (exit 3)
│   ├── WrongRole         signed by keys that may not sign this            (exit 3)
│   ├── BadSignature      a known key's signature is over other bytes      (exit 3)
│   ├── TooFewSignatures  fewer good signatures than the role asks for     (exit 3)
│   └── BrokenRootChain   this root does not follow from the one in use    (exit 3)
├── it is genuine, but not what was asked for              → keep serving; look at mirror and CDN
│   ├── WrongChannel      another brand's or another channel's document    (exit 3)
│   ├── WrongManifest     not the manifest the channel points at           (exit 3)
│   ├── StaleChannel      older than what was accepted before              (exit 3)
│   ├── Equivocation      two documents with one epoch                     (exit 3)
│   ├── Expired           nobody renewed it: an old state may be shown     (exit 3)
│   └── NewerRoot         made under a root that is not here yet           (exit 75)
├── ChannelRefused        the change asked for makes no sense              (exit 2)
├── RolledBack            a rollout did harm, and was taken back           (exit 7)
├── Undecided             whether a rollout does harm can't be told        (exit 75)
├── NoRoot                nobody said whom to trust                        (exit 2)
├── TrustStateDamaged     the node's own record cannot be believed         (exit 3)
├── TrustStateUnusable    it cannot be read or written now: disk, rights   (exit 75)
└── keys and roots as files
    ├── KeysRefused       keys asked for that make no sense together       (exit 2)
    ├── BadKeyFile        unreadable, readable by others, or no key        (exit 2)
    ├── KeyNotFound       a private key or a root that is needed is absent (exit 4)
    └── AlreadyWritten    keys and roots are never overwritten             (exit 6)
"""

from __future__ import annotations

from index.errors import SnapshotError


class TrustError(SnapshotError):
    """Base: a document, a key or a change that is not to be trusted or not to be made."""


class TooLarge(TrustError):
    """More bytes than a document of this kind may have."""


class NotAnEnvelope(TrustError):
    """Not a signed envelope in our form, or one that carries another kind of document."""


class NotADocument(TrustError):
    """Rightly signed, but its contents are not what the format says."""


class UnknownKey(TrustError):
    """No signature is by a key the root names."""


class WrongRole(TrustError):
    """Signed by keys the root names, none of which may sign this kind."""


class BadSignature(TrustError):
    """A key of the right role is named, but its signature does not fit the bytes."""


class TooFewSignatures(TrustError):
    """Some good signatures, but fewer than the role's threshold."""


class BrokenRootChain(TrustError):
    """A root that is not the next one, or that old and new keys do not both vouch for."""


class WrongChannel(TrustError):
    """The document of another brand or channel."""


class WrongManifest(TrustError):
    """A manifest of another snapshot, brand or content than the channel's target."""


class StaleChannel(TrustError):
    """An epoch below the highest one accepted: a stale cache, or a replay."""


class Equivocation(TrustError):
    """The epoch of the last accepted document, with other contents."""


class Expired(TrustError):
    """The channel or the root is past its end: stop updating, keep serving."""


class NewerRoot(TrustError):
    """The channel was made under a newer root: fetch the roots up to it, then try again."""

    exit_code = 75


class ChannelRefused(TrustError):
    """A change of a channel that makes no sense, such as pointing it at a revoked snapshot."""

    exit_code = 2


class RolledBack(TrustError):
    """A rollout did harm, and its snapshot was revoked."""

    exit_code = 7


class Undecided(TrustError):
    """Whether a rollout does harm can't be told; it is paused."""

    exit_code = 75


class NoRoot(TrustError):
    """A node was started without a root and without saying that it trusts anyone."""

    exit_code = 2


class TrustStateDamaged(TrustError):
    """The record of root and epoch floors is not what was written."""


class TrustStateUnusable(TrustError):
    """The record of root and epoch floors can't be read or kept: what was offered is not taken."""

    exit_code = 75


class KeysRefused(TrustError):
    """Numbers of keys and signatures that could never work."""

    exit_code = 2


class BadKeyFile(TrustError):
    """A key file that others may read, that cannot be read, or that holds no ed25519 key."""

    exit_code = 2


class KeyNotFound(TrustError):
    """A key file or a root that is needed does not exist."""

    exit_code = 4


class AlreadyWritten(TrustError):
    """A key or root of that name exists, and such files are never overwritten."""

    exit_code = 6
