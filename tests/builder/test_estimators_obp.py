"""Beside Open Bandit Pipeline, on its sample of real decisions (see `make_obp_golden`)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import orjson
import pytest

from builder.estimators.decisions import LoggedDecisions
from builder.estimators.estimates import estimate
from builder.estimators.tuning import clip, cut_at, errors, switch, variances
from builder.metrics import Floats
from tests.builder.logs import by_name, values
from tests.builder.make_obp_golden import GOLDEN_DIR, POLICIES


@dataclass(frozen=True, slots=True, kw_only=True)
class Golden:
    """A log, and what obp said of it."""

    log: LoggedDecisions
    values: dict[str, float]
    fixed_threshold: float
    thresholds: Floats
    chosen: dict[str, float]
    errors: dict[str, list[float]]


@pytest.fixture(scope="module", params=POLICIES)
def golden(request: pytest.FixtureRequest) -> Golden:
    told = orjson.loads((GOLDEN_DIR / "estimates.json").read_bytes())[request.param]
    return Golden(
        log=log_of(request.param),
        values=told["values"],
        fixed_threshold=told["fixed_threshold"],
        thresholds=np.array(told["thresholds"]),
        chosen=told["chosen"],
        errors=told["errors"],
    )


def log_of(policy: str) -> LoggedDecisions:
    """The log of one policy; the data name no customers, so each decision is one."""
    with np.load(GOLDEN_DIR / f"{policy}.npz", allow_pickle=False) as arrays:
        action = arrays["action"].astype(np.int64)
        position = arrays["position"].astype(np.int64)
        group, pi_e, q_hat = arrays["group"], arrays["pi_e"], arrays["q_hat"]
        return LoggedDecisions(
            reward=arrays["reward"].astype(np.float64),
            propensity=arrays["propensity"],
            action=action,
            pi_e=pi_e[action, position],
            customers=np.arange(len(action)),
            position=position,
            q_logged=q_hat[group, action, position],
            q_policy=(q_hat * pi_e).sum(axis=1)[group, position],
        )


def test_every_estimator_says_what_obp_says(golden: Golden) -> None:
    found = estimate(golden.log, thresholds=golden.thresholds, n_resamples=1)

    expected = {name: golden.values[name] for name in by_name(found)}
    assert values(found) == pytest.approx(expected, rel=1e-9)


def test_thresholds_are_chosen_as_obp_chooses(golden: Golden) -> None:
    found = estimate(golden.log, thresholds=golden.thresholds, n_resamples=1)

    assert {e.estimator: e.threshold for e in found if e.threshold} == golden.chosen


def test_a_given_threshold_cuts_as_in_obp(golden: Golden) -> None:
    found = values(
        estimate(golden.log, thresholds=np.array([golden.fixed_threshold]), n_resamples=1)
    )

    for name in ("clipped_ips", "switch_dr"):
        assert found[name] == pytest.approx(golden.values[f"{name}_fixed"], rel=1e-9)


def test_errors_are_estimated_as_in_obp(golden: Golden) -> None:
    log = golden.log
    assert log.q_logged is not None
    assert log.q_policy is not None
    residual = (log.reward - log.q_logged)[:, None]
    clipped = cut_at(golden.thresholds, clip, log.weights) * log.reward[:, None]
    switched = cut_at(golden.thresholds, switch, log.weights) * residual + log.q_policy[:, None]

    for name, terms in (("clipped_ips", clipped), ("switch_dr", switched)):
        means = terms.mean(axis=0)[None]
        found = errors(means[:, 0], means, variances(log, terms))[0]
        assert found == pytest.approx(np.array(golden.errors[name]), rel=1e-9), name
