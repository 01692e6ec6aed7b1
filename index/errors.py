"""What can be wrong with a snapshot, one class per thing an operator would do next.

SnapshotError
├── SnapshotNotFound   nothing is there                     → correct the path            (exit 4)
├── NotASnapshot       something is there, but no snapshot  → correct the path            (exit 3)
├── WrongVersion       a snapshot this reader cannot read   → upgrade the older side      (exit 3)
├── Incomplete         a file is missing or short           → copy or build again         (exit 3)
├── Corrupt            the bytes are not what was written   → copy or build again         (exit 3)
├── Mixed              files of different builds together   → copy the snapshot as one    (exit 3)
├── WrongSecret        built with another brand secret      → give the right secret       (exit 3)
├── Exhausted          memory or open files ran out here    → make room, then try again   (exit 75)
└── WriteFailed        the writer lost or reordered records → a defect or a full disk     (exit 1)
    └── Forestalled    something is there by now            → give another place          (exit 6)
SecretUnavailable      no brand secret can be read or made  → say where it is             (exit 2)
"""

from __future__ import annotations

from pathlib import Path


class SnapshotError(Exception):
    """Base of the floor's errors: data plus one sentence.

    Args:
        what: what was expected and what was found, as one sentence.
        path: the file or directory the sentence is about.
        hint: what a person can do about it.
    """

    exit_code = 3

    def __init__(self, what: str, *, path: Path | None = None, hint: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.path = path
        self.hint = hint

    def __str__(self) -> str:
        return self.what if self.path is None else f"{self.path}: {self.what}"


class SnapshotNotFound(SnapshotError):
    """Nothing exists at the path."""

    exit_code = 4


class NotASnapshot(SnapshotError):
    """The path exists but holds no manifest of ours."""


class WrongVersion(SnapshotError):
    """The format version, or a platform requirement, is not one this reader knows."""


class Incomplete(SnapshotError):
    """A file is missing, or shorter than its manifest or header says."""


class Corrupt(SnapshotError):
    """Bytes, counts or digests differ from what the writer recorded."""


class Mixed(SnapshotError):
    """Files of different builds lie in one directory."""


class WrongSecret(SnapshotError):
    """The brand secret given is not the one the customer keys were made with."""


class Exhausted(SnapshotError):
    """This machine has no memory or no open files left; nothing is wrong with the snapshot."""

    exit_code = 75


class WriteFailed(SnapshotError):
    """The writer's own checks did not hold, so nothing was published."""

    exit_code = 1


class Forestalled(WriteFailed):
    """Something is at the place of the snapshot: another writer was first."""

    exit_code = 6


class SecretUnavailable(SnapshotError):
    """The brand secret is missing, unreadable or too short."""

    exit_code = 2
