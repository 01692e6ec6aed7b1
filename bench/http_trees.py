"""The answers of `bench/peers/fastapi_scikit.py` once more, by hand: an offer at a time, in Python.

Slow and plain on purpose, and without scikit-learn. It shares with the service what that learned
(nodes and tables) and nothing of how that answers, so that agreeing means something.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from bench.http_ground import Csr

_WORDS: Final = ("device", "referrer_source", "country")


class TreesByHand:
    """A reader of learned trees.

    Args:
        learned: what the service's `learn` left for this.
        catalogue: what an answer says of each offer, by row.
        histories: customers × offers, with `values`: how often.
        affinity: items × offers, with `values`: log-lift.
        prices: of each item.
    """

    def __init__(
        self,
        learned: Path,
        catalogue: Sequence[dict[str, Any]],
        histories: Csr,
        affinity: Csr,
        prices: NDArray[np.float64],
    ) -> None:
        with np.load(learned) as kept:
            self._learned = dict(kept)
        self._ids = [offer["offer_id"] for offer in catalogue]
        names = sorted({offer["category"] for offer in catalogue})
        self._categories = [names.index(offer["category"]) for offer in catalogue]
        self._histories, self._affinity, self._prices = histories, affinity, prices
        ends = np.cumsum(self._learned["n_nodes"])[:-1]
        self._trees = np.split(self._learned["nodes"], ends)

    def right_answer(self, body: bytes) -> bytes:
        """Ids of the best offers, best first, as JSON."""
        asked = orjson.loads(body)
        rows = {offer: row for row, offer in enumerate(self._ids)}
        cart = [rows[line["item_id"]] for line in asked["cart"] if line["item_id"] in rows]
        own: dict[int, float] = {}
        if "customer_id" in asked:
            own = _row(self._histories, int(asked["customer_id"].rpartition("-")[2]))
        popular = self._learned["popular"].tolist()
        found = [row for row in dict.fromkeys([*popular, *own]) if row not in cart]
        features = self._features(asked, cart, own, found)
        order = np.argsort(-self._scores(features), kind="stable")[: asked["k"]]
        return orjson.dumps([self._ids[found[place]] for place in order])

    def _features(
        self, asked: dict[str, Any], cart: list[int], own: dict[int, float], found: list[int]
    ) -> list[list[float]]:
        at = datetime.fromisoformat(asked["at"])
        near = [_row(self._affinity, item) for item in cart]
        paid = float(np.mean(self._prices[cart])) if cart else 0.0
        of_all: list[float] = [at.hour, at.weekday()]
        for word in _WORDS:
            values = self._learned[word].tolist()
            said = asked["context"].get(word)
            of_all.append(values.index(said) if said in values else -1)
        of_all.append(len(own))
        rows = []
        for offer in found:
            category = self._categories[offer]
            lifts = [one.get(offer, 0.0) for one in near]
            alike = [times for row, times in own.items() if self._categories[row] == category]
            rows.append(
                [
                    *self._learned["static"][offer],
                    own.get(offer, 0.0),
                    sum(alike),
                    max([0.0, *lifts]),
                    sum(lifts),
                    category in [self._categories[item] for item in cart],
                    self._prices[offer] - paid,
                    self._learned["at_hour"][at.hour, category],
                    *of_all,
                ]
            )
        return rows

    def _scores(self, features: list[list[float]]) -> NDArray[np.float64]:
        """Of each row of features: the base, and then the leaf of each tree, in their order."""
        scores = np.full(len(features), self._learned["base"][0])
        for tree in self._trees:
            nodes = tree.tolist()
            name = {field: place for place, field in enumerate(tree.dtype.fields or ())}
            for place, row in enumerate(features):
                node = nodes[0]
                while not node[name["is_leaf"]]:
                    is_left = row[node[name["feature_idx"]]] <= node[name["num_threshold"]]
                    node = nodes[node[name["left" if is_left else "right"]]]
                scores[place] += node[name["value"]]
        return scores


def _row(table: Csr, row: int) -> dict[int, float]:
    start, end = table["indptr"][row : row + 2]
    values = table["values"][start:end].tolist()
    return dict(zip(table["indices"][start:end].tolist(), values, strict=True))
