"""Whether answers under load still hold what they held at rest: an empty list is fast to give."""

from __future__ import annotations

from bench.scorecard.judging import CHANCE, Judged
from bench.scorecard.lines import FAILED, NOT_MEASURED
from bench.scorecard.runs import Run
from builder.binomial import chance_of_at_least
from index.wording import many


def held_to_rest(judged: Judged, found: Run, number: int, *, place: str, rest: int = 0) -> Judged:
    """A verdict on a load, unless its answers were emptied there.

    The same questions were asked at both loads. That more than half of those that had offers at
    rest have none is a failure where it can't be chance: where emptiness does not depend on the
    load, a question loses its offers as often as it comes by some.

    Args:
        judged: the verdict where answers may count.
        found: the run.
        number: of the load's phase.
        place: the load in words.
        rest: number of a phase at rest.
    """
    if judged.verdict == FAILED or found.distrust is not None:
        return judged
    there, at_rest = found.by_question(number), found.by_question(rest)
    both = there.keys() & at_rest.keys()
    n_had = sum(bool(at_rest[one].offers) for one in both)
    n_lost = sum(bool(at_rest[one].offers) and not there[one].offers for one in both)
    n_won = sum(bool(there[one].offers) and not at_rest[one].offers for one in both)
    n_empty = n_lost + len(both) - n_had - n_won
    if n_lost > n_had / 2:
        told = (
            f"{n_empty:,} of {many(len(both), 'answer')} read at {place} had no offer; at rest"
            f" {len(both) - n_had:,} had none, to the same questions."
        )
        if chance_of_at_least(n_lost, n_lost + n_won, 0.5) <= CHANCE:
            return Judged(FAILED, told)
        return Judged(NOT_MEASURED, f"{told} That may be chance: too few questions tell.")
    if there and not any(answer.offers for answer in there.values()):
        return Judged(
            NOT_MEASURED,
            f"None of {many(len(there), 'answer')} read at {place} holds an offer.",
        )
    return judged
