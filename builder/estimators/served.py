"""From what an edge logged and what came of it to the log that `builder.estimators.reading` reads.

An edge logs a line for each decision (`almanac serve --decision-log`), when it does not know yet
what comes of it. The shop tells that later, a line for each offer that earned something:

    decision_id  text    of the answer
    offer_id     text    what was taken
    reward       number  what it earned, in any one unit; several lines about one offer add up

Offers that no line speaks of earned nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta, Struct

from builder.errors import InputNotFound, InputUnreadable
from builder.streams import open_stream, sniff_compression
from index.request import Identifier


class _Shown(Struct, frozen=True):
    offer_id: Identifier
    rank: int
    propensity: Annotated[float, Meta(gt=0, le=1)]


class _Logged(Struct, frozen=True):
    """What is needed of a line of an edge's log."""

    decision_id: Identifier
    placement: str
    tier: str
    offers: list[_Shown]


class _Outcome(Struct, frozen=True):
    decision_id: Identifier
    offer_id: Identifier
    reward: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """How a join went.

    Attributes:
        n_decisions: decisions written; one that was logged twice counts once.
        n_shown: offers written, a line each.
        n_rewarded: those that earned something.
        n_strangers: outcomes of offers that no logged decision showed.
    """

    n_decisions: int
    n_shown: int
    n_rewarded: int
    n_strangers: int


_Line = TypeVar("_Line", _Logged, _Outcome)


def join_outcomes(log_paths: Sequence[Path], outcomes_path: Path, out_path: Path) -> Joined:
    """Write a line for each offer shown, with its reward; placement and tier are its context.

    Args:
        log_paths: files of one or several edges' logs; they may be compressed.
        outcomes_path: see the module's docstring.
        out_path: what `read_decisions` is then given as its log.

    Raises:
        InputNotFound: there is no such file.
        InputUnreadable: a line is not JSON, lacks a field, or has one that is out of range.
    """
    rewards: dict[tuple[str, str], float] = {}
    for outcome in _lines([outcomes_path], _Outcome):
        key = outcome.decision_id, outcome.offer_id
        rewards[key] = rewards.get(key, 0.0) + outcome.reward
    n_outcomes, n_shown, seen = len(rewards), 0, set[str]()
    with out_path.open("wb") as out:
        for logged in _lines(log_paths, _Logged):
            if logged.decision_id in seen:
                continue
            seen.add(logged.decision_id)
            n_shown += len(logged.offers)
            out.writelines(_joined(logged, rewards))
    return Joined(
        n_decisions=len(seen),
        n_shown=n_shown,
        n_rewarded=n_outcomes - len(rewards),
        n_strangers=len(rewards),
    )


def _joined(logged: _Logged, rewards: dict[tuple[str, str], float]) -> Iterator[bytes]:
    """Lines of one decision; the rewards that belong to it are taken away."""
    for offer in logged.offers:
        line = {
            "decision_id": logged.decision_id,
            "offer_id": offer.offer_id,
            "rank": offer.rank,
            "propensity": offer.propensity,
            "reward": rewards.pop((logged.decision_id, offer.offer_id), 0.0),
            "context": {"placement": logged.placement, "tier": logged.tier},
        }
        yield msgspec.json.encode(line) + b"\n"


def _lines(paths: Iterable[Path], form: type[_Line]) -> Iterator[_Line]:
    decoder = msgspec.json.Decoder(form)
    for path in paths:
        if not path.is_file():
            raise InputNotFound(f"{path}: no such file", path=path)
        with open_stream(path, sniff_compression(path)) as stream:
            for number, text in enumerate(stream, start=1):
                if not text.strip():
                    continue
                try:
                    yield decoder.decode(text)
                except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
                    raise InputUnreadable(
                        f"{path}, line {number}: {problem}", path=path
                    ) from problem
