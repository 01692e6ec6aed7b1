"""A model asked in the handler: implicit's ALS behind FastAPI, as tutorials have it.

Run by an interpreter that has FastAPI and implicit, never by Almanac's own. `learn` is run once,
`python fastapi_model.py FOLDER`; `app` is served over what it left there. The folder holds
`histories.npz` (a CSR matrix of customers and offers), `catalogue.json` (what an answer says of
each offer) and `popular.json` (rows for strangers). What is in the cart is left out of the answer;
nothing else of the request reaches the model.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
from fastapi import FastAPI
from implicit.cpu.als import AlternatingLeastSquares
from pydantic import BaseModel
from scipy.sparse import csr_matrix

FOLDER = "ALMANAC_BENCH_MODEL"
_FACTORS = 64
# What an answer costs does not depend on how well the model learned.
_ITERATIONS = 1


class Line(BaseModel):
    """An item of the cart."""

    item_id: str
    quantity: int = 1


class Question(BaseModel):
    """What the page sends."""

    placement: str = "checkout"
    customer_id: str | None = None
    k: int = 10
    context: dict[str, str] = {}
    cart: list[Line] = []


def learn(folder: Path) -> None:
    """Fit the model and leave it in the folder."""
    model = AlternatingLeastSquares(
        factors=_FACTORS, iterations=_ITERATIONS, random_state=1, num_threads=1
    )
    model.fit(_histories(folder), show_progress=False)
    model.save(str(folder / "model.npz"))


def app() -> FastAPI:
    """The app, for a server's `--factory`."""
    folder = Path(os.environ[FOLDER])
    model = AlternatingLeastSquares.load(str(folder / "model.npz"))
    model.num_threads = 1
    histories = _histories(folder)
    catalogue = json.loads((folder / "catalogue.json").read_text())
    popular = json.loads((folder / "popular.json").read_text())
    customers = {f"customer-{number}": number for number in range(histories.shape[0])}
    rows = {offer["offer_id"]: row for row, offer in enumerate(catalogue)}
    service = FastAPI()

    @service.post("/v1/offers")
    def offers(question: Question) -> dict[str, Any]:
        customer = customers.get(question.customer_id or "")
        cart = [rows[line.item_id] for line in question.cart if line.item_id in rows]
        if customer is None:
            chosen = [row for row in popular if row not in cart][: question.k]
            scores = [0.0] * len(chosen)
        else:
            found, values = model.recommend(
                customer,
                histories[customer],
                N=question.k,
                filter_already_liked_items=False,
                filter_items=np.array(cart, dtype=np.int32) if cart else None,
            )
            chosen, scores = found.tolist(), values.tolist()
        return {
            "offers": [
                {"rank": place, "score": score, **catalogue[row]}
                for place, (row, score) in enumerate(zip(chosen, scores, strict=True), start=1)
            ]
        }

    return service


def _histories(folder: Path) -> csr_matrix:
    with np.load(folder / "histories.npz") as kept:
        indices, indptr, n_offers = kept["indices"], kept["indptr"], int(kept["n_offers"])
    taken = np.ones(len(indices), dtype=np.float32)
    return csr_matrix((taken, indices, indptr), shape=(len(indptr) - 1, n_offers))


if __name__ == "__main__":
    learn(Path(sys.argv[1]))
