"""Makes `golden/obp`: what Open Bandit Pipeline estimates on its own sample of real decisions.

obp is no dependency of this project, not even of its tests: it is old and needs torch and pandas.
Run it where obp 0.5.7 is installed, from the root of the checkout, and only when another estimator
is to be compared: `python -m tests.builder.make_obp_golden`. pip says that this version is for
Pythons before 3.11; it works on 3.11 with `--ignore-requires-python` and pandas before 3.

Two logs of the campaign `men`, 10,000 decisions each: one of the uniform policy judged for a
Bernoulli Thompson sampling, and the other way round, whose weights reach 178. Probabilities and
estimated rewards come in tables, by offer and place and, for rewards, a group of customers; that
keeps them small and exact. NOTICE.txt says whose data they are.
"""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

GOLDEN_DIR = Path(__file__).parent / "golden" / "obp"
CAMPAIGN = "men"
POLICIES = ("random", "bts")
FIXED_THRESHOLD = 2.0
N_THRESHOLDS = 12


def write_golden() -> None:
    """Write `NAME.npz` (what goes in) for each log, and `estimates.json` (what comes out)."""
    told: dict[str, object] = {"obp": import_module("obp").__version__}
    for logged in POLICIES:
        arrays = _arrays(logged)
        np.savez_compressed(GOLDEN_DIR / f"{logged}.npz", allow_pickle=False, **arrays)
        told[logged] = _estimates(arrays)
    (GOLDEN_DIR / "estimates.json").write_text(json.dumps(told, indent=1) + "\n")


def _arrays(logged: str) -> dict[str, NDArray[Any]]:
    """The log of one policy, and tables of the other one's probabilities and of rewards."""
    data = import_module("obp.dataset").OpenBanditDataset(behavior_policy=logged, campaign=CAMPAIGN)
    feedback = data.obtain_batch_bandit_feedback()
    customer = data.data["user_feature_0"] + data.data["user_feature_1"]
    group = np.unique(customer.to_numpy().astype(str), return_inverse=True)[1]
    return {
        "reward": feedback["reward"].astype(np.int8),
        "propensity": feedback["pscore"],
        "action": feedback["action"].astype(np.int8),
        "position": feedback["position"].astype(np.int8),
        "group": group.astype(np.int8),
        "pi_e": _probabilities("bts" if logged == "random" else "random", data),
        "q_hat": _rewards(data, feedback, group),
    }


def _probabilities(policy: str, data: Any) -> NDArray[np.float64]:
    """How likely a policy shows each offer at each place, shape (n_actions, n_positions)."""
    policies = import_module("obp.policy")
    size = {"n_actions": data.n_actions, "len_list": data.len_list}
    if policy == "random":
        return np.asarray(policies.Random(**size).compute_batch_action_dist(n_rounds=1)[0])
    sampler = policies.BernoulliTS(
        **size, is_zozotown_prior=True, campaign=CAMPAIGN, random_state=1
    )
    return np.asarray(sampler.compute_batch_action_dist(n_sim=100_000, n_rounds=1)[0])


def _rewards(data: Any, feedback: Any, group: NDArray[Any]) -> NDArray[np.float64]:
    """Estimated rewards, shape (n_groups, n_actions, n_positions)."""
    model = import_module("obp.ope").RegressionModel(
        n_actions=data.n_actions,
        len_list=data.len_list,
        action_context=np.eye(data.n_actions),
        base_model=import_module("sklearn.linear_model").LogisticRegression(max_iter=1000),
    )
    fitted = model.fit_predict(
        context=np.eye(group.max() + 1)[group],
        action=feedback["action"],
        reward=feedback["reward"],
        pscore=feedback["pscore"],
        position=feedback["position"],
        action_dist=np.full((len(group), data.n_actions, data.len_list), 1.0 / data.n_actions),
        n_folds=1,
    )
    rewards: NDArray[np.float64] = fitted[np.unique(group, return_index=True)[1]]
    assert np.allclose(rewards[group], fitted)
    return rewards


def _estimates(arrays: dict[str, NDArray[Any]]) -> dict[str, object]:
    """What obp says of a log, by our names."""
    ope, n = import_module("obp.ope"), len(arrays["reward"])
    inputs = {
        "reward": arrays["reward"].astype(np.float64),
        "action": arrays["action"].astype(np.int64),
        "position": arrays["position"].astype(np.int64),
        "pscore": arrays["propensity"],
        "action_dist": np.repeat(arrays["pi_e"][None], n, axis=0),
        "estimated_rewards_by_reg_model": arrays["q_hat"][arrays["group"]],
    }
    weights = arrays["pi_e"][inputs["action"], inputs["position"]] / arrays["propensity"]
    thresholds = np.geomspace(weights.max(), weights.min(), N_THRESHOLDS).tolist()
    tuning = {"lambdas": thresholds, "tuning_method": "mse", "use_bias_upper_bound": False}
    clipped = ope.InverseProbabilityWeightingTuning(**tuning)
    switched = ope.SwitchDoublyRobustTuning(**tuning)
    estimators = {
        "ips": ope.InverseProbabilityWeighting(),
        "clipped_ips": clipped,
        "clipped_ips_fixed": ope.InverseProbabilityWeighting(lambda_=FIXED_THRESHOLD),
        "snips": ope.SelfNormalizedInverseProbabilityWeighting(),
        "dm": ope.DirectMethod(),
        "dr": ope.DoublyRobust(),
        "switch_dr": switched,
        "switch_dr_fixed": ope.SwitchDoublyRobust(lambda_=FIXED_THRESHOLD),
    }
    return {
        "values": {
            name: float(e.estimate_policy_value(**inputs)) for name, e in estimators.items()
        },
        "fixed_threshold": FIXED_THRESHOLD,
        "thresholds": thresholds,
        "chosen": {
            "clipped_ips": clipped.best_hyperparam,
            "switch_dr": switched.best_hyperparam,
        },
        "errors": {
            "clipped_ips": list(map(float, clipped.estimated_mse_score_dict.values())),
            "switch_dr": list(map(float, switched.estimated_mse_score_dict.values())),
        },
    }


if __name__ == "__main__":
    write_golden()
