"""Makes `golden/metrics.json`: random ranked lists, scored by ranx, a library kept by others.

Its ndcg is that of Järvelin and Kekäläinen with the ideal cut at k, and its recall divides by the
whole truth: the definitions of `builder.metrics`. It brings a compiler, so it stands in no lock;
whoever wants other lists gives it a folder of its own:

    python -m venv judge && judge/bin/pip install ranx==0.3.21
    judge/bin/python -m tests.builder.make_golden_metrics
"""

from __future__ import annotations

import json
import random
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

GOLDEN_PATH = Path(__file__).parent / "golden" / "metrics.json"
N_LISTS, N_OFFERS, DEPTH = 60, 30, 12
CUTS = (1, 3, 10)
NAMES = {"recall": "recall", "ndcg": "ndcg", "hit": "hit_rate"}


def draw_lists(seed: int) -> list[dict[str, list[int]]]:
    """Lists of 1 to DEPTH offers, with truths from one offer to more than any cut."""
    chance = random.Random(seed)
    return [
        {
            "ranked": chance.sample(range(N_OFFERS), chance.randint(1, DEPTH)),
            "truth": chance.sample(range(N_OFFERS), chance.choice((1, 2, 3, 6, 10, 15))),
        }
        for _ in range(N_LISTS)
    ]


def scored_by_ranx(lists: list[dict[str, list[int]]]) -> dict[str, list[float]]:
    """Each metric of each list; ranx goes by scores, so places are made falling ones."""
    ranx: Any = import_module("ranx")
    wanted, shown = {}, {}
    for number, drawn in enumerate(lists):
        wanted[f"{number:03}"] = {str(offer): 1 for offer in drawn["truth"]}
        shown[f"{number:03}"] = {
            str(offer): float(DEPTH - place) for place, offer in enumerate(drawn["ranked"])
        }
    names = [f"{name}@{k}" for name in NAMES.values() for k in CUTS] + ["mrr"]
    scores = ranx.evaluate(ranx.Qrels(wanted), ranx.Run(shown), names, return_mean=False)
    return {name: [round(float(score), 12) for score in scores[name]] for name in names}


if __name__ == "__main__":
    drawn_lists = draw_lists(seed=20)
    golden = {
        "judge": f"ranx {metadata.version('ranx')}",
        "lists": drawn_lists,
        "scores": scored_by_ranx(drawn_lists),
    }
    GOLDEN_PATH.parent.mkdir(exist_ok=True)
    GOLDEN_PATH.write_text(json.dumps(golden) + "\n", encoding="utf-8")
