"""Why updating does not go on, in words that alarms and runbooks can hold on to.

`docs/operations.md` says for each what it means and what to do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

from edge.errors import (
    Contradiction,
    EdgeError,
    FolderBusy,
    FolderDamaged,
    FolderUnusable,
    NotProved,
    Unfit,
)
from index.errors import SnapshotError, WrongVersion
from index.shipping import store_errors, trust_errors
from index.shipping.store_errors import StoreError

Problem: TypeAlias = EdgeError | SnapshotError | StoreError
PROBLEMS: Final = (EdgeError, SnapshotError, StoreError)
"""All that may go wrong without being a defect of this process."""

_WORDS: Final[tuple[tuple[type[Problem], str], ...]] = (
    (store_errors.Unreachable, "unreachable"),
    (store_errors.CredentialsRefused, "credentials_refused"),
    (store_errors.NotInStore, "not_in_store"),
    (store_errors.DiskFull, "disk_full"),
    (store_errors.Damaged, "damaged"),
    (store_errors.NoRanges, "no_ranges"),
    (store_errors.TooLarge, "too_large"),
    (store_errors.StoreError, "store_failed"),
    (trust_errors.Expired, "expired"),
    (trust_errors.StaleChannel, "stale_epoch"),
    (trust_errors.Equivocation, "two_documents"),
    (trust_errors.UnknownKey, "bad_signature"),
    (trust_errors.WrongRole, "bad_signature"),
    (trust_errors.BadSignature, "bad_signature"),
    (trust_errors.TooFewSignatures, "bad_signature"),
    (trust_errors.BrokenRootChain, "bad_root"),
    (trust_errors.NewerRoot, "newer_root"),
    (trust_errors.NoRoot, "no_root"),
    (trust_errors.WrongChannel, "mixed_up"),
    (trust_errors.WrongManifest, "mixed_up"),
    (trust_errors.TooLarge, "too_large"),
    (trust_errors.NotAnEnvelope, "no_document"),
    (trust_errors.NotADocument, "no_document"),
    (trust_errors.TrustStateUnusable, "folder_unusable"),
    (trust_errors.TrustStateDamaged, "folder_damaged"),
    (WrongVersion, "incompatible"),
    (SnapshotError, "bad_snapshot"),
    (FolderUnusable, "folder_unusable"),
    (FolderDamaged, "folder_damaged"),
    (FolderBusy, "folder_busy"),
    (Unfit, "unfit"),
    (NotProved, "not_proved"),
    (Contradiction, "contradiction"),
    (EdgeError, "failed"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why updating does not go on.

    Attributes:
        word: for alarms.
        detail: the same as a sentence.
        hint: what a person can do about it.
    """

    word: str
    detail: str
    hint: str | None = None


def failure_of(problem: Problem) -> Failure:
    """The failure that a problem stands for."""
    word = next(word for kind, word in _WORDS if isinstance(problem, kind))
    return Failure(word=word, detail=str(problem), hint=problem.hint)
