"""The estimators on logs whose truth is known: unbiased where promised, and as sure as they say.

All logs are drawn with fixed seeds, so a test here passes or fails always.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from builder.estimators.decisions import LoggedDecisions
from builder.estimators.estimates import Estimator, estimate
from builder.metrics import Floats
from tests.builder.logs import World, values

ALL: tuple[Estimator, ...] = ("ips", "clipped_ips", "snips", "dm", "dr", "switch_dr")
UNBIASED: tuple[Estimator, ...] = ("ips", "snips", "dm", "dr")
N_LOGS = 200

REWARDS = np.array([[1.0, 0.5, 0.0, 0.2], [0.0, 0.8, 0.4, 0.1], [0.3, 0.3, 0.9, 0.6]])
LOGGING = np.array([[0.1, 0.2, 0.3, 0.4], [0.4, 0.3, 0.2, 0.1], [0.25, 0.25, 0.25, 0.25]])
EVALUATED = np.array([[0.5, 0.3, 0.1, 0.1], [0.1, 0.7, 0.2, 0.0], [0.0, 0.2, 0.5, 0.3]])
WRONG_MODEL = 0.6 - 0.5 * REWARDS
WRONG_PROPENSITY = np.full((3, 4), 0.25)

WORLD = World(rewards=REWARDS, logging=LOGGING, evaluated=EVALUATED)


def many(
    world: World,
    n_customers: int,
    *,
    model: Floats | None = None,
    believed: Floats | None = None,
) -> dict[Estimator, Floats]:
    """Every estimator on many logs; the intervals are not looked at, so hardly resampled."""
    rng = np.random.default_rng(42)
    found = [
        values(estimate(world.log(rng, n_customers, model=model, believed=believed), n_resamples=1))
        for _ in range(N_LOGS)
    ]
    return {name: np.array([each[name] for each in found]) for name in ALL}


def bias_in_errors(found: Floats) -> float:
    """How far the mean over all logs lies from the truth, in standard errors of that mean."""
    return float(abs(found.mean() - WORLD.truth) / (found.std() / np.sqrt(N_LOGS)))


def test_the_truth_of_the_world_on_paper() -> None:
    """0.5 + 0.15 + 0.02; 0.56 + 0.08; 0.06 + 0.45 + 0.18."""
    assert pytest.approx((0.67 + 0.64 + 0.69) / 3) == WORLD.truth


def test_every_estimator_finds_the_truth() -> None:
    """With three standard errors a right estimator fails at one seed in 370."""
    found = many(WORLD, 400)

    for name in UNBIASED:
        assert bias_in_errors(found[name]) < 3.0, name
    for name in ALL:
        assert abs(found[name].mean() - WORLD.truth) < found[name].std() / 2, name


def test_a_wrong_model_spoils_dm_and_not_dr() -> None:
    found = many(WORLD, 400, model=WRONG_MODEL)

    assert bias_in_errors(found["dr"]) < 3.0
    assert bias_in_errors(found["dm"]) > 30.0


def test_wrong_propensities_spoil_ips_and_not_dr() -> None:
    found = many(WORLD, 400, believed=WRONG_PROPENSITY)

    assert bias_in_errors(found["dr"]) < 3.0
    assert bias_in_errors(found["ips"]) > 10.0


def test_both_wrong_spoil_dr() -> None:
    """The tests above can fail."""
    found = many(WORLD, 400, model=WRONG_MODEL, believed=WRONG_PROPENSITY)

    assert bias_in_errors(found["dr"]) > 10.0


def test_a_right_model_makes_dr_surer_than_ips() -> None:
    found = many(WORLD, 400)

    assert found["dr"].std() < 0.8 * found["ips"].std()


def test_cutting_weights_pays_where_few_of_them_rule() -> None:
    """What the policy wants was shown once in two hundred: weights reach 160."""
    logging = np.array([[0.005, 0.595, 0.3, 0.1]])
    evaluated = np.array([[0.8, 0.1, 0.05, 0.05]])
    world = World(rewards=np.array([[0.5, 0.3, 0.4, 0.2]]), logging=logging, evaluated=evaluated)
    found = many(world, 400, model=np.array([[0.4, 0.3, 0.4, 0.2]]))
    error = {name: np.sqrt(np.mean((each - world.truth) ** 2)) for name, each in found.items()}

    assert error["clipped_ips"] < 0.95 * error["ips"]
    assert error["switch_dr"] < 0.95 * error["dr"]


# Intervals ----------------------------------------------------------------------------------------

LUCKY = replace(WORLD, luck=2.0)
N_INTERVALS = 400


def lucky_logs(n_logs: int) -> list[LoggedDecisions]:
    """Eight decisions of each customer, alike in kind and in luck."""
    rng = np.random.default_rng(7)
    return [LUCKY.log(rng, 75, each=8) for _ in range(n_logs)]


def coverage(logs: list[LoggedDecisions]) -> dict[Estimator, float]:
    """How often the interval of each estimator holds the truth."""
    held = dict.fromkeys(ALL, 0)
    for log in logs:
        for found in estimate(log, n_resamples=400):
            assert found.reward is not None
            held[found.estimator] += found.reward.low <= WORLD.truth <= found.reward.high
    return {name: times / len(logs) for name, times in held.items()}


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    """Of 400 intervals, 380 ± 4.4 hold it; three of these deviations are 3.3 %."""
    tolerance = 3 * np.sqrt(0.95 * 0.05 / N_INTERVALS)
    found = coverage(lucky_logs(N_INTERVALS))

    assert dict.fromkeys(ALL, 0.95) == pytest.approx(found, abs=tolerance)


def test_intervals_over_decisions_would_be_too_narrow() -> None:
    """The same logs, had each decision another customer; of 40, 38 ± 1.4 would hold the truth."""
    found = coverage([replace(log, customers=np.arange(len(log))) for log in lucky_logs(40)])

    assert max(found.values()) < 0.95 - 3 * np.sqrt(0.95 * 0.05 / 40)
