from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from index.adder import Pool
from index.arrays import RowBytes, Rows, Scores
from index.context import ContextLookup
from index.generation import Reader
from index.model import Model
from index.records import OfferRecord
from index.request import ChosenOffer, RepeatPolicy, Request, Tier

Doubles: TypeAlias = NDArray[np.float64]

class Scratch:
    def __init__(self, prior: Scores) -> None: ...
    def best(
        self,
        pairs: list[RowBytes],
        weights: list[float],
        pools: list[Pool],
        bought: RowBytes | None,
        most: int,
    ) -> list[tuple[int, float]]: ...

class Weights:
    def __init__(
        self, named: dict[str, float], contexts: Doubles, slope: float, intercept: float
    ) -> None: ...

class Plain:
    def __init__(
        self,
        reader: Reader,
        lookup: ContextLookup,
        model: Model,
        weights: tuple[dict[Tier, Weights], ...],
        thin_below: int,
        chosen: type[ChosenOffer],
        quoted: Callable[[str], bytes],
        conditions: Callable[[Request], Callable[[OfferRecord], bool]],
    ) -> None: ...
    def look_up(self, context_rows: Rows, offer_rows: Rows) -> None: ...
    def decide(
        self,
        request: Request,
        key: bytes | None,
        wanted: int,
        repeat: RepeatPolicy,
        at_most: int = 0,
    ) -> tuple[Tier, list[ChosenOffer]] | None: ...
    def write(
        self,
        request: Request,
        key: bytes | None,
        wanted: int,
        repeat: RepeatPolicy,
        at_most: int = 0,
    ) -> tuple[Tier, bytes, int, float] | None: ...

def offers_json(offers: list[ChosenOffer], quoted: Callable[[str], bytes]) -> bytes: ...
