"""Exact chances of counts: how often so many of so many are bad, where each is with some chance.

Source: Clopper and Pearson (1934), *The use of confidence or fiducial limits illustrated in the
case of the binomial*.
"""

from __future__ import annotations

from bisect import bisect_left
from math import ceil

from scipy.special import bdtr, bdtrc, gammaincinv


def chance_of_at_most(count: int, n: int, share: float) -> float:
    """That no more than `count` of `n` are bad.

    >>> chance_of_at_most(0, 2, 0.5)
    0.25
    """
    return float(bdtr(count, n, share))


def chance_of_at_least(count: int, n: int, share: float) -> float:
    """That `count` of `n` are bad, or more.

    >>> chance_of_at_least(2, 2, 0.5)
    0.25
    """
    return float(bdtrc(count - 1, n, share))


def enough(count: int, share: float, chance: float) -> int:
    """Of how many at least no more than `count` are bad with no more than this chance.

    >>> enough(0, 0.01, 0.05)
    299
    """
    most = ceil(gammaincinv(count + 1, 1 - chance) / share)  # if they came as of a Poisson process
    return bisect_left(
        range(most), True, lo=count + 1, key=lambda n: chance_of_at_most(count, n, share) <= chance
    )
