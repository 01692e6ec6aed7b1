"""The simulated fleet: by hand where it is small, by known formulas where it is large."""

from __future__ import annotations

import numpy as np
import pytest

from bench.simulate import BALANCERS, Balancer, Fleet, ServiceTimes, Trouble, simulate


def steady(seconds: float, *, crowded: float = 1.0, around_s: float = 0.0) -> ServiceTimes:
    return ServiceTimes(alone_s=np.array([seconds]), crowded=crowded, around_s=around_s)


def poisson(rate: float, n: int, seed: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.cumsum(np.random.default_rng(seed).exponential(1 / rate, n))


def test_one_worker_answers_in_order_and_who_waits_is_answered_cheaper() -> None:
    outcome = simulate(
        Fleet(nodes=1, workers=1),
        np.array([0.0, 1.0, 20.0]),
        steady(4.0, crowded=0.5, around_s=0.25),
        seed=1,
    )

    # 0 to 4; 4 to 6, having waited for 3; 20 to 24.
    assert outcome.latency_s.tolist() == [4.25, 5.25, 4.25]
    assert outcome.busy_s.tolist() == [10.0]
    assert outcome.lost == 0


@pytest.mark.parametrize("load", [0.3, 0.7])
def test_a_queue_of_poisson_arrivals_is_as_long_as_the_books_say(load: float) -> None:
    times = ServiceTimes(
        alone_s=np.random.default_rng(5).exponential(1.0, 50_000), crowded=1.0, around_s=0.0
    )

    outcome = simulate(Fleet(nodes=1, workers=1), poisson(load, 100_000, 2), times, seed=3)

    # M/M/1: the mean time in the system is 1 / (service rate − arrival rate).
    assert outcome.latency_s.mean() == pytest.approx(1 / (1 - load), rel=0.06)
    assert outcome.busy_s.sum() == pytest.approx(100_000, rel=0.02)


def test_constant_service_waits_half_as_long() -> None:
    outcome = simulate(Fleet(nodes=1, workers=1), poisson(0.7, 100_000, 2), steady(1.0), seed=3)

    # M/D/1: load / (2 (1 − load)) of waiting.
    assert outcome.latency_s.mean() - 1.0 == pytest.approx(0.7 / (2 * 0.3), rel=0.06)


def test_the_least_busy_node_is_a_shorter_queue_than_a_random_one() -> None:
    arrivals = poisson(4 * 0.8, 40_000, 4)

    waits = {
        balancer: simulate(
            Fleet(nodes=4, workers=1, balancer=balancer), arrivals, steady(1.0), seed=1
        ).latency_s.mean()
        for balancer in BALANCERS
    }

    assert waits["least-connections"] < 0.6 * waits["random"]


@pytest.mark.parametrize("balancer", BALANCERS)
def test_a_lost_node_costs_what_was_sent_to_it_until_that_was_noticed(balancer: Balancer) -> None:
    arrivals = np.arange(0.0, 10.0, 0.01)
    trouble = Trouble(lost_at_s=4.0, noticed_s=1.0)

    outcome = simulate(
        Fleet(nodes=2, workers=1, balancer=balancer),
        arrivals,
        steady(0.001),
        seed=1,
        trouble=trouble,
    )

    gone = arrivals[np.isnan(outcome.latency_s)]
    assert gone.min() >= 4.0
    assert gone.max() < 5.0
    assert 30 <= outcome.lost <= 70  # about half of the hundred that came meanwhile


def test_what_a_lost_node_had_under_way_is_lost_too() -> None:
    outcome = simulate(
        Fleet(nodes=1, workers=1),
        np.array([0.0, 1.0, 2.0]),
        steady(1.5),
        seed=1,
        trouble=Trouble(lost_at_s=2.5),
    )

    assert np.isnan(outcome.latency_s).tolist() == [False, True, True]


@pytest.mark.parametrize("balancer", BALANCERS)
def test_every_request_fails_where_the_only_node_is_lost(balancer: Balancer) -> None:
    outcome = simulate(
        Fleet(nodes=1, workers=2, balancer=balancer),
        np.arange(10.0),
        steady(0.5),
        seed=1,
        trouble=Trouble(lost_at_s=4.0, noticed_s=3.0),
    )

    assert np.isnan(outcome.latency_s).tolist() == [False] * 4 + [True] * 6
    assert outcome.lost == 6
    assert outcome.busy_s.tolist() == [2.0]


def test_a_swap_stops_every_worker_once() -> None:
    outcome = simulate(
        Fleet(nodes=1, workers=1),
        np.array([0.0, 10.0, 10.5, 20.0]),
        steady(0.1),
        seed=1,
        trouble=Trouble(swap_at_s=9.5, swap_s=1.0),
    )

    assert outcome.latency_s == pytest.approx([0.1, 0.6, 0.2, 0.1])


def test_the_same_seed_gives_the_same_outcome() -> None:
    times = ServiceTimes(alone_s=np.array([0.5, 1.0, 2.0]), crowded=0.8, around_s=0.0)
    one, same, other = (
        simulate(Fleet(nodes=3, workers=2), poisson(2.0, 500, 1), times, seed=seed).latency_s
        for seed in (1, 1, 2)
    )

    assert one.tolist() == same.tolist()
    assert one.tolist() != other.tolist()
