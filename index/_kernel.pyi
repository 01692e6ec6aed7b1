from index.adder import Pool
from index.arrays import RowBytes, Scores

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
