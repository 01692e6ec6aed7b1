"""The import report: what was read, what became of it, and what was taken for granted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from builder.clean import DAMAGE_RULES, Rule
from builder.columns import Chosen
from builder.sources import SourceFile
from builder.tally import Tally
from builder.timestamps import UNITS

_MANY_BOTS: Final = 0.01
_EPOCHS: Final = frozenset({"s", "ms", "us", "ns"})
# Counts of the vocabulary that nobody wishes for, by group and name, as they are told.
_MISFITS: Final = (
    (
        "redemptions",
        "of_unknown_offers",
        "events: {n} of {events} redemptions are of offers that are not known, and teach nothing",
    ),
    (
        "items",
        "events_not_in_catalogue",
        (
            "items: {n} of {events} events are of items that the catalogue lacks, so these are not"
            " shown; add those that are still sold"
        ),
    ),
    (
        "items",
        "listed_again",
        "items: lines that a later one of the same item replaces: {n}; list each item once",
    ),
    (
        "offers",
        "listed_again",
        "offers: lines that a later one of the same offer replaces: {n}; list each offer once",
    ),
    (
        "offers",
        "unknown_items",
        (
            "offers: item_ids that are neither in the catalogue nor in the events: {n}; offers go"
            " without them, so correct them"
        ),
    ),
    (
        "offers",
        "without_items",
        (
            "offers: those of which no item is known: {n}; orders teach nothing of them, so name"
            " item_ids, or categories of the catalogue"
        ),
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TableImport:
    """One of the inputs after its import.

    Attributes:
        table: `events`, `items` or `offers`.
        chosen: per file, which columns were read.
        rules: every rule that could have applied.
        tally: what did.
    """

    table: str
    files: Sequence[SourceFile]
    chosen: Sequence[Chosen]
    rules: Sequence[Rule]
    tally: Tally

    @property
    def n_bad(self) -> int:
        """Rows taken out for being bad."""
        bad = {r.name for r in (*DAMAGE_RULES, *self.rules) if r.action == "quarantine"}
        return sum(entry.n_rows for name, entry in self.tally.by_rule.items() if name in bad)

    @property
    def bad_share(self) -> float:
        """Bad rows of all rows read; 0 without any."""
        return self.n_bad / self.tally.n_read if self.tally.n_read else 0.0

    def share(self, rule: str) -> float:
        """Rows that a rule decided on, of all rows read; 0 without any."""
        entry = self.tally.by_rule.get(rule)
        return entry.n_rows / self.tally.n_read if entry is not None and self.tally.n_read else 0.0


def table_report(imported: TableImport) -> dict[str, Any]:
    """The report of one input, ready for JSON."""
    tally, paths = imported.tally, {file.number: str(file.path) for file in imported.files}
    rules = [
        {
            "rule": rule.name,
            "action": rule.action,
            "rows": tally.by_rule[rule.name].n_rows,
            "sentence": rule.sentence,
            "samples": [
                {"file": paths[number], "row": row}
                for number, row in tally.by_rule[rule.name].samples
            ],
        }
        for rule in {rule.name: rule for rule in (*DAMAGE_RULES, *imported.rules)}.values()
        if rule.name in tally.by_rule
    ]
    return {
        "files": [
            {
                "path": str(file.path),
                "format": file.format,
                "compression": file.compression,
                "size_bytes": file.size_bytes,
                "columns": {ours: column.name for ours, column in chosen.wanted},
                "unknown_columns": list(chosen.unknown),
            }
            for file, chosen in zip(imported.files, imported.chosen, strict=True)
        ],
        "rows_read": tally.n_read,
        "rows_kept": tally.n_kept,
        "rows_bad": imported.n_bad,
        "bad_share": imported.bad_share,
        "rules": rules,
        **tally.counts,
        "first": moment(tally.first_us),
        "last": moment(tally.last_us),
    }


def gate_sentence(imported: TableImport, limit: float) -> str:
    """Why an input does not pass the data gate."""
    by_rule = imported.tally.by_rule
    rules = (*DAMAGE_RULES, *imported.rules)
    found = [rule for rule in rules if rule.action == "quarantine" and rule.name in by_rule]
    worst = max(found, key=lambda rule: by_rule[rule.name].n_rows)
    paths = {file.number: file.path.name for file in imported.files}
    places = ", ".join(f"{paths[number]} row {row}" for number, row in by_rule[worst.name].samples)
    return (
        f"{imported.table}: {imported.n_bad} of {imported.tally.n_read} rows are bad"
        f" ({imported.bad_share:.2%}, allowed {limit:.2%}); most of them"
        f" ({by_rule[worst.name].n_rows}): {worst.sentence}, such as {places}"
    )


def notices(imported: TableImport, zone: str, currency: str) -> list[str]:
    """What was decided for the user and may be wrong, a sentence each."""
    found: list[str] = []
    counts = imported.tally.counts
    times: Mapping[str, int] = counts.get("times", {})
    found += [
        f"{times[unit]} rows have a {UNITS[unit]} ({zone})"
        for unit in ("naive", "date")
        if times.get(unit)
    ]
    if epochs := sorted(_EPOCHS & set(times)):
        units = ", ".join(f"{UNITS[unit]} ({times[unit]} rows)" for unit in epochs)
        found.append(f"times are {units}" + (", each read by its size" if len(epochs) > 1 else ""))
    currencies = counts.get("currencies", {})
    if len(currencies) > 1 and not currency:
        listed = ", ".join(currencies)
        found.append(f"prices are in {listed}, compared as if one: set brand.currency")
    found += [
        f"{share:.1%} of the rows are {rule.sentence}"
        for rule in imported.rules
        if rule.name.startswith("bot_") and (share := imported.share(rule.name)) > _MANY_BOTS
    ]
    for file, chosen in zip(imported.files, imported.chosen, strict=True):
        found += [
            f"{file.path.name}: {taken} is read as {ours}, and {other} is not; what turns that"
            f" round is --map {other}={ours}, beside the others that are needed"
            for ours, taken, other in chosen.passed_over
        ]
        if chosen.unknown:
            found.append(f"{file.path.name}: columns not read: {', '.join(chosen.unknown)}")
    return [f"{imported.table}: {sentence}" for sentence in found]


def vocabulary_notices(vocabulary: Tally) -> list[str]:
    """What was found when ids of different inputs were brought together, a sentence each."""
    return [
        sentence.format(n=n_found, **vocabulary.counts[group])
        for group, name, sentence in _MISFITS
        if (n_found := vocabulary.counts.get(group, {}).get(name))
    ]


def hidden_notice(n_offers: int, n_expired: int, n_sold_out: int, moment_us: int) -> str | None:
    """Said when no offer can be shown from a moment on; see `vocabulary.count_hidden`."""
    if not n_offers or n_expired + n_sold_out < n_offers:
        return None
    return (
        f"offers: none of {n_offers} can be shown from {moment(moment_us)} on (expired:"
        f" {n_expired}, with no item available: {n_sold_out}); correct expires_at or availability,"
        " or give those of today"
    )


def moment(time_us: int | None) -> str | None:
    """A moment in RFC 3339.

    >>> moment(1_704_449_472_000_000)
    '2024-01-05T10:11:12Z'
    """
    if time_us is None:
        return None
    return f"{datetime.fromtimestamp(time_us // 1_000_000, UTC).replace(tzinfo=None).isoformat()}Z"
