"""What a build found out about a shop by trying, for the report to tell."""

from __future__ import annotations

from dataclasses import dataclass

from builder.signals.personal_model import PersonalModel
from builder.signals.ranker import LEAST_CASES


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One thing that a build found out by trying.

    Attributes:
        name: what was chosen, in words.
        tried: the settings tried, in order.
        chosen: the one of them that was taken.
        why: by what it was judged, and what decided, in a sentence.
        figures: what each of the tried settings scored, as many as `tried`; empty where they were
            not scored alike.
    """

    name: str
    tried: tuple[str, ...]
    chosen: str
    why: str
    figures: tuple[float, ...] = ()


def trees_choice(model: PersonalModel) -> tuple[Choice, ...]:
    """Whether trees stand on the personal model's logit; nothing where the effort grows none."""
    if not model.settings.ranker.rounds:
        return ()
    alone, with_trees = "the logit alone", "trees on it"
    ranker = model.ranker
    if ranker is not None:
        chosen = with_trees
        why = (
            f"better for customers they were not grown from: NDCG@10 {ranker.gain:+.4f}"
            f" ± {ranker.gain_error:.4f} for {model.n_cases:,} next orders"
        )
    else:
        chosen = alone
        why = (
            "trees were not better, by more than chance may be, for customers they were not grown"
            " from"
            if model.n_cases >= LEAST_CASES
            else f"only {model.n_cases:,} next orders to learn from"
        )
    return (Choice(name="personal: trees", tried=(alone, with_trees), chosen=chosen, why=why),)
