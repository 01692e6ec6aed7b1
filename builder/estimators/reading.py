"""A log of decisions and another policy's probabilities, from JSON lines.

The log has a line for each offer that was shown, with the names an answer gives them, best written
when the outcome is known:

    decision_id  text      of the answer
    offer_id     text      what was shown
    propensity   number    of the answer, more than 0 and at most 1
    reward       number    what it earned, in any one unit; 0 when nothing came of it
    rank         number    optional, 1 when left out: the place it stood at
    customer_id  text      optional: a line without stands for a customer of its own
    context      object    optional: what was known of the moment, of text, numbers or true/false;
                           each value is taken as a name, so large numbers are best put in bands

The policy has a line for each of these, in any order; lines about other decisions are passed over:

    decision_id    text
    rank           number  optional, 1 when left out
    probabilities  object  offer_id: how likely the policy shows it there; they add up to 1

Further fields are passed over, and either file may be compressed by gzip or zstd.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final, TypeAlias, TypeVar

import msgspec
import numpy as np
from msgspec import Meta, Struct
from scipy import sparse

from builder.errors import DataGate, InputNotFound, InputUnreadable
from builder.estimators.decisions import LoggedDecisions
from builder.estimators.rewards import with_rewards
from builder.metrics import Ints
from builder.streams import open_stream, sniff_compression
from index.not_json import NOT_JSON
from index.request import MAX_K, ContextValue, Identifier

Rank: TypeAlias = Annotated[int, Meta(ge=1, le=MAX_K)]
Probability: TypeAlias = Annotated[float, Meta(ge=0, le=1)]
Key: TypeAlias = tuple[str, int]
Feature: TypeAlias = tuple[str, object]

_ROUNDING: Final = 1e-6  # probabilities may have been written with six digits


class _Shown(Struct, frozen=True):
    """A line of the log."""

    decision_id: Identifier
    offer_id: Identifier
    propensity: Annotated[float, Meta(gt=0, le=1)]
    reward: float
    rank: Rank = 1
    customer_id: str | None = None
    context: dict[str, ContextValue] = {}

    @property
    def key(self) -> Key:
        return self.decision_id, self.rank


class _Wanted(Struct, frozen=True):
    """A line of the policy."""

    decision_id: Identifier
    probabilities: dict[Identifier, Probability]
    rank: Rank = 1

    @property
    def key(self) -> Key:
        return self.decision_id, self.rank


_Line = TypeVar("_Line", _Shown, _Wanted)


def read_decisions(log_path: Path, policy_path: Path) -> LoggedDecisions:
    """Logged decisions beside a policy's probabilities for them, in the order of the log.

    Offers and customers are numbered as they appear. Rewards are estimated by `with_rewards` from
    indicators of the offer, its rank and each value of the context, without their interplay.

    Args:
        log_path: JSON lines; see the module's docstring.
        policy_path: likewise.

    Raises:
        InputNotFound: there is no such file.
        InputUnreadable: a line is not JSON, lacks a field, or has one that is out of range.
        DataGate: a decision stands there twice, probabilities do not add up to 1, a decision of the
            log is missing in the policy, or there are fewer than two customers.
    """
    numbered = list(_lines(log_path, _Shown))
    if not numbered:
        raise DataGate(f"{log_path}: holds no decisions", path=log_path)
    wanted = _policy(policy_path, {line.key for _, line in numbered})
    missing = [(number, line) for number, line in numbered if line.key not in wanted]
    if missing:
        number, line = missing[0]
        raise DataGate(
            f"{policy_path}: no line for {_named(line.key)}, which stands in {log_path.name}, line"
            f" {number} (missing {len(missing):,} of {len(numbered):,})",
            path=policy_path,
        )
    shown = [line for _, line in numbered]
    probabilities = [wanted[line.key] for line in shown]
    return with_rewards(_decisions(shown, probabilities), *_features(shown, probabilities))


def _lines(path: Path, form: type[_Line]) -> Iterator[tuple[int, _Line]]:
    """Number and content of every line that is not blank; none may speak of the same as another."""
    if not path.is_file():
        raise InputNotFound(f"{path}: no such file", path=path)
    decoder = msgspec.json.Decoder(form)
    seen: dict[Key, int] = {}
    with open_stream(path, sniff_compression(path)) as stream:
        for number, text in enumerate(stream, start=1):
            if not text.strip():
                continue
            try:
                line = decoder.decode(text)
            except NOT_JSON as problem:
                raise InputUnreadable(f"{path}, line {number}: {problem}", path=path) from problem
            if (first := seen.setdefault(line.key, number)) != number:
                raise DataGate(
                    f"{path}, line {number}: {_named(line.key)} stands in line {first} already",
                    path=path,
                )
            yield number, line


def _policy(path: Path, asked: set[Key]) -> dict[Key, Mapping[str, float]]:
    """The policy's probabilities for each decision that is asked for, where it has them."""
    found: dict[Key, Mapping[str, float]] = {}
    for number, line in _lines(path, _Wanted):
        if line.key not in asked:
            continue
        total = sum(line.probabilities.values())
        if abs(total - 1.0) > _ROUNDING:
            raise DataGate(
                f"{path}, line {number}: probabilities should add up to 1, found {total:g}",
                hint="name every offer the policy may show there, with its probability",
                path=path,
            )
        found[line.key] = line.probabilities
    return found


def _named(key: Key) -> str:
    return f"decision {key[0]!r}, rank {key[1]}"


def _decisions(
    shown: Sequence[_Shown], probabilities: Sequence[Mapping[str, float]]
) -> LoggedDecisions:
    chances = zip(shown, probabilities, strict=True)
    # A number cannot be anybody's id, which is text.
    owners = (
        place if line.customer_id is None else line.customer_id for place, line in enumerate(shown)
    )
    return LoggedDecisions(
        reward=np.array([line.reward for line in shown]),
        propensity=np.array([line.propensity for line in shown]),
        action=_numbered(line.offer_id for line in shown),
        pi_e=np.array([chance.get(line.offer_id, 0.0) for line, chance in chances]),
        customers=_numbered(owners),
        position=np.array([line.rank for line in shown]),
    )


def _numbered(names: Iterable[str | int]) -> Ints:
    """The number of each name; the first to appear is 0."""
    numbers: dict[str | int, int] = {}
    return np.array([numbers.setdefault(name, len(numbers)) for name in names], dtype=np.int64)


def _features(
    shown: Sequence[_Shown], probabilities: Sequence[Mapping[str, float]]
) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
    """Indicators with the offer that was shown, and their mean with those the policy would show."""
    columns: dict[Feature, int] = {}
    logged, policy = _Indicators(columns), _Indicators(columns)
    for line, chances in zip(shown, probabilities, strict=True):
        moment: dict[Feature, float] = {("rank", line.rank): 1.0}
        moment |= {(f"context {name}", value): 1.0 for name, value in line.context.items()}
        logged.add({("offer", line.offer_id): 1.0} | moment)
        policy.add({("offer", offer): chance for offer, chance in chances.items()} | moment)
    return logged.matrix(), policy.matrix()


class _Indicators:
    """Rows of named numbers, of which most are 0; who shares `columns` names columns alike."""

    def __init__(self, columns: dict[Feature, int]) -> None:
        self._columns = columns
        self._starts, self._places, self._values = [0], list[int](), list[float]()

    def add(self, row: Mapping[Feature, float]) -> None:
        for name, value in row.items():
            self._places.append(self._columns.setdefault(name, len(self._columns)))
            self._values.append(value)
        self._starts.append(len(self._places))

    def matrix(self) -> sparse.csr_matrix:
        """Float64 CSR, of all columns named until now."""
        shape = (len(self._starts) - 1, len(self._columns))
        return sparse.csr_matrix((self._values, self._places, self._starts), shape=shape)
