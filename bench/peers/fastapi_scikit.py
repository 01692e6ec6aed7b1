"""Boosted trees asked in the handler: scikit-learn behind FastAPI, for customer, cart and hour.

Run by an interpreter that has both, never by Almanac's own: once `python fastapi_scikit.py FOLDER`,
then `app` over what that left. The folder holds `histories.npz` (CSR: what each customer took, how
often), `affinity.npz` (CSR: what goes with each item), `prices.npy`, `catalogue.json` and
`orders.jsonl` (questions, each with the offer that was `taken`).

Candidates are the most popular offers and the customer's own, without the cart. Boosted trees rank
them, as is usual for tables of features; a linear model is cheaper, but can't tell that an offer
suits one hour and another not, unless somebody crosses these features by hand.

Tuned: what does not depend on the question stands ready in arrays; features are written by columns
into one matrix that is kept, as float64, which the trees would convert anything else to; categories
are ordinal codes, since declared ones go through a ColumnTransformer; one thread, on one core; no
validation that can be switched off; log-odds instead of probabilities, which rank the same; early
stopping, so that there are no more trees than help; no hop to a thread pool; offers are JSON
already. What takes longest is scikit-learn's own loop over its trees.
"""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import joblib
import numpy as np
import orjson
import sklearn
from fastapi import FastAPI, Response
from pydantic import BaseModel
from scipy.sparse import csr_matrix
from sklearn.ensemble import HistGradientBoostingClassifier

FOLDER: Final = "ALMANAC_BENCH_SCIKIT"
WORDS: Final = ("device", "referrer_source", "country")
N_POPULAR: Final = 200
N_FEATURES: Final = 16
_NOT_TAKEN: Final = 20
# Of rates from 0.1 to 0.4 and 4 to 31 leaves, what finds as many taken offers for half the time.
_LEARNING_RATE: Final = 0.2
_LEAVES: Final = 8


class Line(BaseModel):
    """An item of the cart."""

    item_id: str
    quantity: int = 1


class Question(BaseModel):
    """What the page sends."""

    placement: str = "checkout"
    customer_id: str | None = None
    k: int = 10
    at: datetime | None = None
    context: dict[str, str] = {}
    cart: list[Line] = []


class Shop:
    """What is known of customers and offers, and the features that follow for a question.

    Args:
        folder: as the head of this file says.
        values: of each of `WORDS`; a value's place is its code, and -1 is that of all others.
    """

    def __init__(self, folder: Path, values: dict[str, list[str]]) -> None:
        self.catalogue = json.loads((folder / "catalogue.json").read_text())
        self.rows = {offer["offer_id"]: row for row, offer in enumerate(self.catalogue)}
        self._histories = _csr(folder / "histories.npz", len(self.rows))
        self._affinity = _csr(folder / "affinity.npz", len(self.rows))
        n_customers = self._histories.shape[0]
        self._customers = {f"customer-{number}": number for number in range(n_customers)}
        self._codes = [
            {value: float(code) for code, value in enumerate(values[word])} for word in WORDS
        ]
        names, self._category = np.unique(
            [offer["category"] for offer in self.catalogue], return_inverse=True
        )
        self.n_categories = len(names)
        taken = np.bincount(self._histories.indices, minlength=len(self.rows))
        self.popular = np.argsort(-taken, kind="stable")[:N_POPULAR]
        self._is_popular = np.zeros(len(self.rows), dtype=bool)
        self._is_popular[self.popular] = True
        self._prices = np.load(folder / "prices.npy").astype(np.float64)
        in_category = np.bincount(self._category, weights=taken)
        self.static = np.column_stack(
            [np.log1p(taken), self._prices, np.log1p(in_category)[self._category]]
        )
        self.at_hour = np.zeros((24, self.n_categories))
        # One of each: a service on one core answers one question at a time.
        self._is_in_cart = np.zeros(len(self.rows), dtype=bool)
        self._times = np.zeros(len(self.rows))
        self._best, self._total = np.zeros((2, len(self.rows)))
        longest = int(np.diff(self._histories.indptr).max())
        self._matrix = np.empty((N_POPULAR + longest, N_FEATURES))

    def hours_of(self, questions: list[Question], taken: list[int]) -> None:
        """Learn how much more of each category is taken at each hour: log-lift, shrunken."""
        counts = np.zeros_like(self.at_hour)
        for question, row in zip(questions, taken, strict=True):
            counts[_moment(question).hour, self._category[row]] += 1
        share = counts.sum(axis=0) / counts.sum()
        expected = counts.sum(axis=1, keepdims=True) * share
        self.at_hour = np.log((counts + 5.0) / (expected + 5.0))

    def candidates(self, question: Question) -> tuple[np.ndarray, np.ndarray]:
        """Offers to choose from, the popular ones first, and a row of features for each.

        The features are a view that the next question overwrites.
        """
        cart = [self.rows[line.item_id] for line in question.cart if line.item_id in self.rows]
        customer = self._customers.get(question.customer_id or "")
        own, times = _row(self._histories, customer)
        found = np.concatenate([self.popular, own[~self._is_popular[own]]])
        self._is_in_cart[cart] = True
        found = found[~self._is_in_cart[found]]
        self._is_in_cart[cart] = False
        category = self._category[found]
        matrix = self._matrix[: len(found)]
        matrix[:, :3] = self.static[found]

        self._times[own] = times
        matrix[:, 3] = self._times[found]
        self._times[own] = 0.0
        of_customer = np.bincount(self._category[own], weights=times, minlength=self.n_categories)
        matrix[:, 4] = of_customer[category]
        best, total = self._best, self._total
        near = [_row(self._affinity, item) for item in cart]
        for rows, lifts in near:
            total[rows] += lifts
            best[rows] = np.maximum(best[rows], lifts)
        matrix[:, 5] = best[found]
        matrix[:, 6] = total[found]
        for rows, _ in near:
            total[rows] = best[rows] = 0.0
        in_cart = np.zeros(self.n_categories)
        in_cart[self._category[cart]] = 1.0
        matrix[:, 7] = in_cart[category]
        paid = self._prices[cart].mean() if cart else 0.0
        matrix[:, 8] = self._prices[found] - paid
        at = _moment(question)
        matrix[:, 9] = self.at_hour[at.hour, category]
        said = [codes.get(question.context.get(word, ""), -1.0) for word, codes in self._words()]
        matrix[:, 10:] = [at.hour, at.weekday(), *said, len(own)]
        return found, matrix

    def _words(self) -> zip[tuple[str, dict[str, float]]]:
        return zip(WORDS, self._codes, strict=True)


def learn(folder: Path) -> None:
    """Fit the trees, and leave them in the folder together with what a check needs to know.

    `learned.joblib` holds them for the app; `learned.npz` their nodes, values and tables.
    """
    orders = [orjson.loads(line) for line in (folder / "orders.jsonl").read_bytes().splitlines()]
    questions = [Question.model_validate(order) for order in orders]
    values = {
        word: sorted({order["context"][word] for order in orders if word in order["context"]})
        for word in WORDS
    }
    shop = Shop(folder, values)
    taken = [shop.rows[order["taken"]] for order in orders]
    shop.hours_of(questions, taken)
    rng = np.random.default_rng(1)
    features, labels = [], []
    for question, row in zip(questions, taken, strict=True):
        found, matrix = shop.candidates(question)
        (place,) = np.nonzero(found == row)
        # Who took what is no candidate teaches nothing about choosing from them.
        if len(place):
            others = rng.choice(np.flatnonzero(found != row), _NOT_TAKEN, replace=False)
            features.append(matrix[np.concatenate([place, others])])
            labels.append(np.arange(1 + _NOT_TAKEN) == 0)
    trees = HistGradientBoostingClassifier(
        learning_rate=_LEARNING_RATE, max_leaf_nodes=_LEAVES, early_stopping=True, random_state=1
    )
    trees.fit(np.concatenate(features), np.concatenate(labels))
    joblib.dump((values, shop.at_hour, trees), folder / "learned.joblib")
    # Nothing public tells the nodes; the pinned release has them here.
    nodes = [one.nodes for (one,) in trees._predictors]  # noqa: SLF001
    tables: dict[str, Any] = {
        "popular": shop.popular,
        "static": shop.static,
        "at_hour": shop.at_hour,
        "base": trees._baseline_prediction.ravel(),  # noqa: SLF001
        "nodes": np.concatenate(nodes),
        "n_nodes": [len(one) for one in nodes],
    }
    np.savez(folder / "learned.npz", **tables | values)


def app() -> FastAPI:
    """The app, for a server's `--factory`."""
    sklearn.set_config(assume_finite=True, skip_parameter_validation=True)
    folder = Path(os.environ[FOLDER])
    values, at_hour, trees = joblib.load(folder / "learned.joblib")
    shop = Shop(folder, values)
    shop.at_hour = at_hour
    # An offer without its opening brace: rank and score come first.
    rests = [orjson.dumps(offer)[1:] for offer in shop.catalogue]
    service = FastAPI()

    @service.post("/v1/offers")
    async def offers(question: Question) -> Response:
        found, matrix = shop.candidates(question)
        scores = trees.decision_function(matrix)
        best = np.argsort(-scores, kind="stable")[: question.k]
        shown = zip(found[best].tolist(), scores[best].tolist(), strict=True)
        body = b",".join(
            b'{"rank":%d,"score":%b,%b' % (place, orjson.dumps(score), rests[row])
            for place, (row, score) in enumerate(shown, start=1)
        )
        return Response(b'{"offers":[%b]}' % body, media_type="application/json")

    return service


def _moment(question: Question) -> datetime:
    return question.at or datetime.now(UTC)


def _row(table: csr_matrix, row: int | None) -> tuple[Any, Any]:
    """Places and values of a row, as views: slicing a CSR matrix costs ten times as much."""
    start, end = (0, 0) if row is None else table.indptr[row : row + 2]
    return table.indices[start:end], table.data[start:end]


def _csr(file: Path, n_columns: int) -> csr_matrix:
    with np.load(file) as kept:
        indices, indptr, values = kept["indices"], kept["indptr"], kept["values"]
    return csr_matrix((values, indices, indptr), shape=(len(indptr) - 1, n_columns))


if __name__ == "__main__":
    learn(Path(sys.argv[1]))
