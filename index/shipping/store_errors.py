"""What can be wrong with a store or with what came out of it.

StoreError
├── BadAddress          the address names no store we know       → correct it              (exit 2)
├── BadKey              a name that no blob may have             → a defect of the caller  (exit 2)
├── ReadOnlyStore       a store that can only be read            → another address         (exit 2)
├── CredentialsRefused  no credentials, or not good enough ones  → give the right ones     (exit 2)
├── NoConditions        the store ignores conditions of writing  → another store           (exit 2)
├── NotInStore          nothing has that name                    → correct or publish it   (exit 4)
│   └── NoBucket        the bucket itself is missing             → make it                 (exit 4)
├── AlreadyThere        other bytes have that name               → never overwrite them    (exit 6)
├── Overtaken           somebody else changed it meanwhile       → read again, decide anew (exit 6)
├── TooLarge            more bytes than anybody promised         → distrust the origin     (exit 3)
├── Damaged             not the bytes the digest stands for      → another origin          (exit 3)
├── NoRanges            an origin that can't send a part         → another origin          (exit 3)
├── Unreachable         no answer, or a failure over there       → try again               (exit 75)
├── DiskFull            no room on this machine                  → make room, try again    (exit 75)
└── StoreFailed         anything else the store or disk said     → see the message         (exit 1)
"""

from __future__ import annotations


class StoreError(Exception):
    """Base of what goes wrong with stores: data plus one sentence.

    Args:
        what: what was expected and what was found, as one sentence.
        where: the blob, file or store the sentence is about; never with a password in it.
        hint: what a person can do about it.

    Attributes:
        attempts: the failures that this one tells of, when there were several.
    """

    exit_code = 1

    def __init__(self, what: str, *, where: str | None = None, hint: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.hint = hint
        self.attempts: tuple[StoreError, ...] = ()

    def __str__(self) -> str:
        return self.what if self.where is None else f"{self.where}: {self.what}"


class BadAddress(StoreError):
    """The address of a store has an unknown scheme, lacks a part or has one too many."""

    exit_code = 2


class BadKey(StoreError):
    """A name that could leave the store or mean different things in different stores."""

    exit_code = 2


class ReadOnlyStore(StoreError):
    """Writing, deleting or listing in a store that can only be read blob by blob."""

    exit_code = 2


class CredentialsRefused(StoreError):
    """The store does not let these credentials do this, or none were found."""

    exit_code = 2


class NoConditions(StoreError):
    """The store accepts a write whose condition does not hold, so writers could lose changes."""

    exit_code = 2


class NotInStore(StoreError):
    """Nothing has that name in the store."""

    exit_code = 4


class NoBucket(NotInStore):
    """The bucket does not exist."""


class AlreadyThere(StoreError):
    """Something else has that name already."""

    exit_code = 6


class Overtaken(StoreError):
    """What was to be replaced is no longer what was read."""

    exit_code = 6


class TooLarge(StoreError):
    """There are more bytes than the reader is ready to take."""

    exit_code = 3


class Damaged(StoreError):
    """The bytes are not those the digest stands for."""

    exit_code = 3


class NoRanges(StoreError):
    """An origin that sends the whole where a part was asked for."""

    exit_code = 3


class Unreachable(StoreError):
    """No connection, no answer in time, or an answer that says the store itself failed."""

    exit_code = 75


class DiskFull(StoreError):
    """The disk has no room for what is to be written, or would keep too little."""

    exit_code = 75


class StoreFailed(StoreError):
    """Something no other class stands for."""
