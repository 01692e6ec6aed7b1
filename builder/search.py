"""Choosing settings by trying them: what a shop's own early orders say they should be.

A setting is tried by learning with it from early orders and asking about the orders after them
(`signals.early`, `signals.trial`). Settings of a method are looked at one after the other, each
with the best of those before (coordinate descent), the methods side by side. Another value than the
usual one is taken only where it is better by more than two standard errors of the paired
difference: what may be chance changes nothing.

Every trial is a task, so a search goes on where it was stopped, shows its progress as all stages
do, and finds the same in every run. The budget is a number of rounds over all settings, not a time,
for the same reason; samples are bounded, so that it bounds the time too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from builder.choices import Choice
from builder.engine import Engine
from builder.metrics import Floats
from builder.signals.collaborative import CollaborativeSettings
from builder.signals.early import LEAST_CASES, SplitEarly
from builder.signals.trial import K, TryMethod, read_trial

KNOBS: Final[Mapping[str, Mapping[str, tuple[float, ...]]]] = {
    "walk": {"begin_power": (0.0, 0.25, 0.5), "damping": (0.0, 0.2, 0.4, 0.6)},
    "regression": {"ridge": (20.0, 100.0, 500.0, 2500.0)},
    "factors": {
        "ridge": (3.0, 10.0, 30.0, 100.0),
        "confidence": (2.0, 5.0, 10.0, 40.0),
    },
}
"""By method and setting, the values that are tried besides the usual one."""

_CASES: Final = 2000
_SURE: Final = 2.0
"""Standard errors that a gain must exceed: with one, the best of several values often does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a search ends with.

    Attributes:
        settings: to learn with.
        choices: one for each setting that was looked at, for the report.
    """

    settings: CollaborativeSettings
    choices: tuple[Choice, ...] = ()


def search(
    engine: Engine, merged_dir: Path, settings: CollaborativeSettings, *, rounds: int
) -> Found:
    """Choose the settings of walks, regression and factors.

    Args:
        engine: runs the trials; finished ones are not run again.
        merged_dir: result of `merge.MergeCounts` for the cut that weights are learned with.
        settings: to begin with.
        rounds: how often all settings are looked at; 0 leaves everything as it is.
    """
    if not rounds:
        return Found(settings=settings)
    (early_dir,) = engine.run("early", [SplitEarly(merged_dir=merged_dir, cases=_CASES)])
    trials = _Trials(engine, early_dir)
    choices: dict[tuple[str, str], Choice] = {}
    usual = settings
    for _ in range(rounds):
        before = settings
        for step in range(max(len(knobs) for knobs in KNOBS.values())):
            looked_at = [
                (method, list(knobs)[step]) for method, knobs in KNOBS.items() if step < len(knobs)
            ]
            trials.run(
                [
                    (method, option)
                    for method, name in looked_at
                    for option in _options(settings, usual, method, name).values()
                ]
            )
            for method, name in looked_at:
                settings, choices[method, name] = _choose(trials, settings, usual, method, name)
        if settings == before:
            break
    for choice in choices.values():
        engine.listener.say(f"search: {choice.name} {choice.chosen}, {choice.why}")
    return Found(settings=settings, choices=tuple(choices.values()))


class _Trials:
    """Runs trials, each once, and remembers what they found."""

    def __init__(self, engine: Engine, early_dir: Path) -> None:
        self._engine = engine
        self._early_dir = early_dir
        self._found: dict[TryMethod, Floats] = {}

    def run(self, wanted: Sequence[tuple[str, CollaborativeSettings]]) -> None:
        """Run what was not run yet, side by side."""
        tasks = dict.fromkeys(self._task(method, settings) for method, settings in wanted)
        new = [task for task in tasks if task not in self._found]
        if new:
            results = self._engine.run("search", new)
            self._found |= zip(new, map(read_trial, results), strict=True)

    def ndcg(self, method: str, settings: CollaborativeSettings) -> Floats:
        """NDCG@20 of each case."""
        return self._found[self._task(method, settings)]

    def _task(self, method: str, settings: CollaborativeSettings) -> TryMethod:
        # Only the method's own settings matter: those of others must not make it another trial.
        own = replace(
            CollaborativeSettings(reach=settings.reach, per_customer=settings.per_customer),
            **{method: getattr(settings, method)},
        )
        return TryMethod(method=method, early_dir=self._early_dir, settings=own)


def _options(
    settings: CollaborativeSettings, usual: CollaborativeSettings, method: str, name: str
) -> dict[float, CollaborativeSettings]:
    """The settings with each value of one of them, by the value, rising."""
    held = {_value(settings, method, name), _value(usual, method, name)}
    values = sorted(held.union(KNOBS[method][name]))
    return {value: _with(settings, method, name, value) for value in values}


def _value(settings: CollaborativeSettings, method: str, name: str) -> float:
    value: float = getattr(getattr(settings, method), name)
    return value


def _with(
    settings: CollaborativeSettings, method: str, name: str, value: float
) -> CollaborativeSettings:
    own = replace(getattr(settings, method), **{name: value})
    return replace(settings, **{method: own})


def _choose(
    trials: _Trials,
    settings: CollaborativeSettings,
    usual: CollaborativeSettings,
    method: str,
    name: str,
) -> tuple[CollaborativeSettings, Choice]:
    """The settings with the value that was chosen of one of them, and why."""
    options = _options(settings, usual, method, name)
    scores = {value: trials.ndcg(method, option) for value, option in options.items()}
    chosen = _value(settings, method, name)
    n_cases = len(scores[chosen])
    if n_cases >= LEAST_CASES:
        best = _best(scores)
        gain, error = _gain(scores[best], scores[chosen])
        chosen = best if gain > _SURE * error else chosen
    choice = Choice(
        name=f"{method}: {name}",
        tried=tuple(f"{value:g}" for value in scores),
        chosen=f"{chosen:g}",
        why=_reason(scores, chosen, _value(usual, method, name)),
        figures=tuple(float(score.mean()) for score in scores.values()) if n_cases else (),
    )
    return options[chosen], choice


def _best(scores: Mapping[float, Floats]) -> float:
    """The value with the highest mean, of equal ones the lowest."""
    return max(scores, key=lambda value: float(scores[value].mean()))


def _gain(scores: Floats, others: Floats) -> tuple[float, float]:
    """Mean of the paired difference, and its standard error."""
    gains = scores - others
    return float(gains.mean()), float(gains.std(ddof=1) / np.sqrt(len(gains)))


def _reason(scores: Mapping[float, Floats], chosen: float, usual: float) -> str:
    n_cases = len(scores[chosen])
    if n_cases < LEAST_CASES:
        return f"left as it is: only {n_cases} customers to ask about"
    asked = f"for {n_cases:,} customers' early orders"
    best = _best(scores)
    if best == chosen == usual:
        return f"left as it is: the highest NDCG@{K} {asked}"
    if chosen == usual:
        gain, error = _gain(scores[best], scores[usual])
        return (
            f"left as it is: {best:g} is better by no more than chance may be, NDCG@{K}"
            f" {gain:+.4f} ± {error:.4f} {asked}"
        )
    gain, error = _gain(scores[chosen], scores[usual])
    return f"better than {usual:g}: NDCG@{K} {gain:+.4f} ± {error:.4f} {asked}"
