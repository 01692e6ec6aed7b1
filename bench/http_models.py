"""Models asked in the handler: factors that know the customer, trees that know the moment as well.

Both are apps behind FastAPI, run by uvicorn as the edge is, on one thread.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import orjson

from bench.http_answers import offers_in
from bench.http_contenders import FLAGS, Contender, ready_list
from bench.http_ground import SCRIPTS, SLOW, Ground, customer_of, interpreter, run_apart
from bench.http_orders import drawn_orders
from bench.http_trees import TreesByHand


def model(ground: Ground) -> tuple[Contender, str]:
    """Factors of customers and offers.

    Raises:
        PeerMissing: FastAPI or implicit is not installed.
        ServerFailed: it could not be prepared.
    """
    python = interpreter("fastapi", "implicit")
    folder = ground.folder / "model"
    folder.mkdir()
    popular = offers_in(ready_list(ground.generation, None))
    catalogue = ground.catalogue()
    rows = {offer["offer_id"]: row for row, offer in enumerate(catalogue)}
    (folder / "catalogue.json").write_bytes(orjson.dumps(catalogue))
    (folder / "popular.json").write_bytes(orjson.dumps([rows[offer] for offer in popular]))
    np.savez(folder / "histories.npz", **ground.histories(), n_offers=np.array(len(rows)))
    run_apart(python, "fastapi_model.py", folder)
    with np.load(folder / "model.npz") as learned:
        customers, offers = learned["user_factors"], learned["item_factors"]

    def right_answer(body: bytes) -> bytes:
        asked = orjson.loads(body)
        cart = {line["item_id"] for line in asked["cart"]}
        customer = customer_of(body)
        if customer is None:
            order = popular
        else:
            scores = offers @ customers[int(customer.rpartition("-")[2])]
            order = [catalogue[row]["offer_id"] for row in np.argsort(-scores, kind="stable")]
        return orjson.dumps([offer for offer in order if offer not in cart][: asked["k"]])

    return _in_handler("model", python, folder, right_answer)


def scikit(ground: Ground) -> tuple[Contender, str]:
    """Boosted trees over features of customer, cart, moment and candidates.

    Raises:
        PeerMissing: FastAPI or scikit-learn is not installed.
        ServerFailed: it could not be prepared.
    """
    python = interpreter("fastapi", "orjson", "sklearn")
    folder = ground.folder / "scikit"
    folder.mkdir()
    rng = np.random.default_rng(ground.shape.seed + 3)
    catalogue, histories = ground.catalogue(), ground.histories()
    histories["values"] = rng.geometric(0.4, len(histories["indices"])).astype(np.float32)
    affinity, prices = ground.items()
    orders = drawn_orders(rng, ground.shape, histories, affinity)
    (folder / "catalogue.json").write_bytes(orjson.dumps(catalogue))
    (folder / "orders.jsonl").write_bytes(b"\n".join(map(orjson.dumps, orders)))
    np.savez(folder / "histories.npz", **histories)
    np.savez(folder / "affinity.npz", **affinity)
    np.save(folder / "prices.npy", prices)
    run_apart(python, "fastapi_scikit.py", folder)
    by_hand = TreesByHand(folder / "learned.npz", catalogue, histories, affinity, prices)
    return _in_handler("scikit", python, folder, by_hand.right_answer)


def _in_handler(
    name: str, python: str, folder: Path, right_answer: Callable[[bytes], bytes]
) -> tuple[Contender, str]:
    """The app of `fastapi_NAME.py` over what it left in a folder."""
    contender = Contender(
        name=name,
        starts=lambda port: [
            *(python, "-m", "uvicorn", *FLAGS["uvicorn"].split(), "--factory"),
            *("--app-dir", str(SCRIPTS), "--host", "127.0.0.1", "--port", str(port)),
            f"fastapi_{name}:app",
        ],
        env={
            f"ALMANAC_BENCH_{name.upper()}": str(folder),
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "PYTHONPATH": "",
        },
        essence=lambda answer: orjson.dumps(offers_in(answer)),
        right_answer=right_answer,
        slower=SLOW,
    )
    return contender, "uvicorn"
