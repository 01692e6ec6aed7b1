"""Answers that came, read: which offers, how much was known, from which snapshot, how good."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import orjson

from bench.scorecard.questions import K
from bench.scorecard.template import offers_in
from builder import metrics
from builder.metrics import Floats

OWN_PATH = "offers.*.offer_id"


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """One answer.

    Attributes:
        offers: ids, best first.
        tier: how much was known; empty where the service does not say.
        snapshot_id: which tables answered; empty where the service does not say.
    """

    offers: tuple[str, ...]
    tier: str = ""
    snapshot_id: str = ""


def read_answers(bodies: Mapping[int, bytes], path: str) -> dict[int, Read]:
    """Answers by the number of their request; what is no JSON holds no offers.

    Args:
        bodies: as they came.
        path: where ids stand, names of members joined by dots, `*` for every member of a list.
    """
    names = path.split(".")
    return {number: _read(body, names) for number, body in bodies.items()}


def tier_shares(answers: Sequence[Read]) -> dict[str, float]:
    """The share of answers of each tier that was told."""
    counts = Counter(answer.tier for answer in answers if answer.tier)
    return {tier: count / sum(counts.values()) for tier, count in sorted(counts.items())}


def ndcg(lists: Sequence[Sequence[str]], truths: Sequence[Sequence[str]]) -> Floats:
    """NDCG@10 of lists of ids: float64, shape (lists,).

    >>> ndcg([["a"], []], [["a"], ["b"]])
    array([1., 0.])
    """
    numbers: dict[str, int] = {}

    def number(name: str) -> int:
        return numbers.setdefault(name, len(numbers))

    ranked = np.full((len(lists), K), metrics.PADDING, dtype=np.int64)
    for place, offers in enumerate(lists):
        ranked[place, : len(offers[:K])] = [number(offer) for offer in offers[:K]]
    truth = [np.array([number(name) for name in names], dtype=np.int64) for names in truths]
    return metrics.ndcg(metrics.judge(ranked, truth), K)


def _read(body: bytes, path: Sequence[str]) -> Read:
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        return Read(offers=())
    told = answer if isinstance(answer, dict) else {}
    return Read(
        offers=tuple(offers_in(answer, path)),
        tier=_word(told.get("tier")),
        snapshot_id=_word(told.get("snapshot_id")),
    )


def _word(told: object) -> str:
    return told if isinstance(told, str) else ""
