from index.arrays import RowBytes, Scores

class Scratch:
    def __init__(self, prior: Scores) -> None: ...
    def best(
        self,
        pairs: list[RowBytes],
        weights: list[float],
        pools: list[tuple[list[RowBytes], list[float]]],
        bought: RowBytes | None,
        most: int,
    ) -> list[tuple[int, float]]: ...
