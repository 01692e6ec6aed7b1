"""The same questions put to two snapshots: how far apart their answers are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from index.decide import decide_for_key
from index.generation import Generation
from index.request import Request

_FURTHEST: Final = 3
Question = tuple[bytes | None, Request]
"""The table key of whoever asks, or None, and the request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """One question and both answers.

    Attributes:
        question: its number, from 0.
        before: offer ids of the earlier snapshot's answer, in order.
        after: those of the later one's.
        tiers: how much the earlier snapshot knew, and the later one.
        overlap: offers that both lists have, as a share of the longer list; 1 when both are empty.
    """

    question: int
    before: list[str]
    after: list[str]
    tiers: tuple[str, str]
    overlap: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """What became of all answers.

    Attributes:
        n: questions.
        same: share of the answers that have the same offers in the same order.
        same_first: share that begin with the same offer.
        overlap: mean of `Replayed.overlap`.
        empty: share of the earlier and of the later answers that have no offer.
        tiers: how many questions went from which tier to which.
        furthest: the answers that differ most.
    """

    n: int
    same: float
    same_first: float
    overlap: float
    empty: tuple[float, float]
    tiers: dict[tuple[str, str], int]
    furthest: list[Replayed]


def golden_questions(*generations: Generation) -> list[Question]:
    """The questions of the golden decisions of several snapshots of a brand, each once."""
    found: dict[str, Question] = {}
    for generation in generations:
        for golden in generation.manifest.golden:
            key = bytes.fromhex(golden.key) if golden.key else None
            found.setdefault(f"{golden.key} {golden.request}", (key, golden.request))
    return list(found.values())


def replay(before: Generation, after: Generation, questions: Sequence[Question]) -> Replay | None:
    """Put questions to two snapshots.

    Args:
        before: the earlier snapshot.
        after: the later one.
        questions: what to ask.

    Returns:
        None when there is no question.
    """
    if not questions:
        return None
    answers = [
        _replayed(number, before, after, question) for number, question in enumerate(questions)
    ]
    n = len(answers)
    furthest = sorted(answers, key=lambda answer: answer.overlap)[:_FURTHEST]
    return Replay(
        n=n,
        same=sum(answer.before == answer.after for answer in answers) / n,
        same_first=sum(answer.before[:1] == answer.after[:1] for answer in answers) / n,
        overlap=sum(answer.overlap for answer in answers) / n,
        empty=(
            sum(not answer.before for answer in answers) / n,
            sum(not answer.after for answer in answers) / n,
        ),
        tiers=dict(sorted(Counter(answer.tiers for answer in answers).items())),
        furthest=[answer for answer in furthest if answer.overlap < 1.0],
    )


def _replayed(number: int, before: Generation, after: Generation, question: Question) -> Replayed:
    key, request = question
    old, new = decide_for_key(before, request, key), decide_for_key(after, request, key)
    olds = [offer.offer_id for offer in old.offers]
    news = [offer.offer_id for offer in new.offers]
    longer = max(len(olds), len(news))
    return Replayed(
        question=number,
        before=olds,
        after=news,
        tiers=(old.tier, new.tier),
        overlap=len({*olds} & {*news}) / longer if longer else 1.0,
    )
