"""Counts of what became of rows, added up over tasks, and the report made of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

MAX_SAMPLES: Final = 5
_FILE = "tally.json"


@dataclass(slots=True, kw_only=True)
class RuleTally:
    """Rows that a rule took out or adjusted, and the first few as (file number, row)."""

    n_rows: int = 0
    samples: list[tuple[int, int]] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Tally:
    """What became of the rows of one table, or of a part of it.

    Attributes:
        n_read: rows, and lines that are no rows.
        n_kept: rows handed on.
        by_rule: rule name to what it did.
        counts: other facts by group, for instance `kinds` by name or `currencies` by code.
        first_us: the earliest moment kept; None without any.
        last_us: the latest.
    """

    n_read: int = 0
    n_kept: int = 0
    by_rule: dict[str, RuleTally] = field(default_factory=dict)
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    first_us: int | None = None
    last_us: int | None = None

    @property
    def max_samples(self) -> int:
        """How many rows are named for each rule."""
        return MAX_SAMPLES

    def add(self, rule: str, n_rows: int, samples: Iterable[tuple[int, int]]) -> None:
        """Count rows under a rule."""
        if n_rows:
            entry = self.by_rule.setdefault(rule, RuleTally())
            entry.n_rows += n_rows
            entry.samples = sorted({*entry.samples, *samples})[:MAX_SAMPLES]

    def count(self, group: str, numbers: Iterable[tuple[str, int]]) -> None:
        """Count other facts."""
        merged = Counter(self.counts.get(group, {}))
        merged.update(dict(numbers))
        self.counts[group] = {name: merged[name] for name in sorted(merged)}

    def span(self, first_us: int | None, last_us: int | None) -> None:
        """Widen the time range."""
        moments = [us for us in (self.first_us, self.last_us, first_us, last_us) if us is not None]
        if moments:
            self.first_us, self.last_us = min(moments), max(moments)

    def merge(self, other: Tally) -> None:
        """Add another part."""
        self.n_read += other.n_read
        self.n_kept += other.n_kept
        for rule, entry in other.by_rule.items():
            self.add(rule, entry.n_rows, entry.samples)
        for group, numbers in other.counts.items():
            self.count(group, numbers.items())
        self.span(other.first_us, other.last_us)

    def write(self, out_dir: Path) -> None:
        """Write it into a task's folder."""
        (out_dir / _FILE).write_bytes(msgspec.json.encode(self))


def read_tally(result_dir: Path) -> Tally:
    """The tally of a finished task."""
    return msgspec.json.decode((result_dir / _FILE).read_bytes(), type=Tally)


def total(tallies: Iterable[Tally]) -> Tally:
    """All parts added up."""
    added = Tally()
    for tally in tallies:
        added.merge(tally)
    return added
