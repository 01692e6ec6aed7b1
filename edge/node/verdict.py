"""What the trial of a snapshot found, as one process tells it to another."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct


class Verdict(Struct, frozen=True, kw_only=True):
    """What the trial found.

    Attributes:
        outcome: `proved`; `bad` for a snapshot nobody should serve; `unfit` for one that this
            node, as it is, can't.
        what: why not, as a sentence.
        hint: what a person can do about it.
        n_golden: decisions repeated.
        private_bytes: memory of its own that the process needed for the snapshot.
    """

    outcome: Literal["proved", "bad", "unfit"]
    what: str = ""
    hint: str | None = None
    n_golden: int = 0
    private_bytes: int = 0
