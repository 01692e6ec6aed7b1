"""The decision log: a line for each answer, from a real edge to the estimators that read it."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from builder.estimators.reading import read_decisions
from builder.estimators.served import Joined, join_outcomes
from edge.cells import LOG_DROPPED, blank_rows
from edge.counters import Counters
from edge.decision_log import DecisionLog, LoggedDecision, line_of
from edge.errors import FolderBusy
from edge.log_files import LogFiles
from edge.log_writer import drain
from edge.spool import HEADER_BYTES, Spool
from tests.edge.running import Edge, eventually, get, post

StartEdge = Callable[..., Edge]


def lines_of(folder: Path) -> list[dict[str, Any]]:
    text = "".join(path.read_text() for path in sorted(folder.glob("decisions-*")))
    return [json.loads(line) for line in text.splitlines()]


def test_every_answer_is_logged_once_and_can_be_learned_from(
    start_edge: StartEdge, tmp_path: Path
) -> None:
    """Single answers and batches, also around the death of the writer; at the end, whole files."""
    folder = tmp_path / "log"
    edge = start_edge(decision_log=folder, workers=1)
    asked = [
        {"customer_id": "ann", "k": 3, "placement": "home", "request_id": f"r{n}"}
        for n in range(30)
    ]
    answers = [post(f"{edge.url}/v1/offers", json=body).json() for body in asked[:10]]
    eventually(lambda: len(lines_of(folder)) == 10)
    (writer,) = edge.beside_workers()
    os.kill(writer, signal.SIGKILL)
    edge.event("the decision log's writer died")
    answers += [post(f"{edge.url}/v1/offers", json=body).json() for body in asked[10:20]]
    batch = post(f"{edge.url}/v1/offers:batch", json={"requests": [*asked[20:], {"k": 0}]})
    answers += batch.json()["decisions"][:-1]
    assert get(f"{edge.url}/v1/offers").status_code == 200  # anybody's: not logged

    edge.terminate()
    assert edge.ended()[0] == 0

    logged = lines_of(folder)
    assert [path.suffix for path in folder.iterdir()] == [".jsonl"] * len(list(folder.iterdir()))
    assert [line["decision_id"] for line in logged] == [one["decision_id"] for one in answers]
    for line, answer in zip(logged, answers, strict=True):
        kept = ("offer_id", "rank", "propensity")
        assert line["offers"] == [
            {name: offer[name] for name in kept} for offer in answer["offers"]
        ]
        assert (line["placement"], line["tier"]) == ("home", "individual")
        assert (line["request_id"], line["snapshot_id"]) == (
            answer["request_id"],
            answer["snapshot_id"],
        )
        assert "at_most" not in line

    taken = answers[4]["offers"][1]["offer_id"]
    (tmp_path / "outcomes.jsonl").write_text(
        json.dumps({"decision_id": answers[4]["decision_id"], "offer_id": taken, "reward": 2.5})
    )
    joined = join_outcomes(
        sorted(folder.iterdir()), tmp_path / "outcomes.jsonl", tmp_path / "log.jsonl"
    )
    assert joined == Joined(n_decisions=30, n_shown=90, n_rewarded=1, n_strangers=0)
    wanted = [
        {"decision_id": one["decision_id"], "rank": rank, "probabilities": {taken: 1.0}}
        for one in answers
        for rank in (1, 2, 3)
    ]
    (tmp_path / "policy.jsonl").write_text("\n".join(map(json.dumps, wanted)))
    found = read_decisions(tmp_path / "log.jsonl", tmp_path / "policy.jsonl")
    assert found.reward.sum() == 2.5
    assert found.propensity.tolist() == [1.0] * 90
    assert found.pi_e.sum() == 30  # every answer showed it once


def test_an_answer_becomes_a_line() -> None:
    spool = Spool(memoryview(bytearray(HEADER_BYTES + 4096)))
    answer = {
        "decision_id": "d1",
        "request_id": "r1",
        "snapshot_id": "s1",
        "tier": "context",
        "offers": [{"offer_id": "o", "rank": 1, "score": -1.5, "propensity": 0.9, "title": "T"}],
        "overlay": {"sequence": 3},
    }
    log = DecisionLog(spool, Counters(blank_rows()))
    log.record("café \ud800", "context", json.dumps(answer).encode())

    (entry,), _ = spool.entries(9)
    line = json.loads(line_of(entry))

    at = line.pop("at")
    assert at.endswith("Z")
    assert line == {
        "decision_id": "d1",
        "request_id": "r1",
        "snapshot_id": "s1",
        "placement": "café ?",
        "tier": "context",
        "at_most": "context",
        "offers": [{"offer_id": "o", "rank": 1, "propensity": 0.9}],
    }
    assert set(line) | {"at"} == set(LoggedDecision.__struct_fields__)


def test_an_answer_that_is_no_json_costs_its_own_line_only(tmp_path: Path) -> None:
    """As of a damaged table whose numbers are none."""
    spool = Spool(memoryview(bytearray(HEADER_BYTES + 4096)))
    log = DecisionLog(spool, Counters(blank_rows()))
    sound = b'{"decision_id":"d","request_id":"r","snapshot_id":"s","tier":"prior","offers":[]}'
    for answer in (b'{"offers":[{"score":nan}]}', sound):
        log.record("home", None, answer)
    files = LogFiles(tmp_path)

    assert drain(spool, files) == 2
    files.close()

    assert [line["decision_id"] for line in lines_of(tmp_path)] == ["d"]
    assert spool.entries(9)[0] == []


def test_what_finds_no_room_is_counted_and_nobody_waits() -> None:
    counters = Counters(blank_rows())
    log = DecisionLog(Spool(memoryview(bytearray(HEADER_BYTES + 100))), counters)
    for _ in range(5):
        log.record("home", None, b"x" * 40)

    assert counters.row[LOG_DROPPED] == 4


def test_files_are_finished_when_they_are_large_or_old(tmp_path: Path) -> None:
    files = LogFiles(tmp_path / "a", max_bytes=10)
    for line in (b"12345\n", b"67890\n", b"1\n"):
        files.add(line)
        files.finish_if_due()
    assert sorted(path.suffix for path in (tmp_path / "a").iterdir()) == [".jsonl", ".part"]
    files.close()
    assert sorted(path.read_bytes() for path in (tmp_path / "a").iterdir()) == [
        b"1\n",
        b"12345\n67890\n",
    ]
    old = LogFiles(tmp_path / "b", max_age_s=0)
    old.finish_if_due()
    assert not list((tmp_path / "b").iterdir())
    old.add(b"1\n")
    old.finish_if_due()
    assert [path.suffix for path in (tmp_path / "b").iterdir()] == [".jsonl"]
    old.close()


def test_a_line_cut_in_half_by_a_kill_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "decisions-1.jsonl.part").write_bytes(b'{"a":1}\n{"b":')

    LogFiles(tmp_path).close()

    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [
        ("decisions-1.jsonl", b'{"a":1}\n')
    ]


def test_a_folder_that_could_not_be_tidied_up_can_be_tried_again(tmp_path: Path) -> None:
    """By the same process: what failed holds no lock that the next try would meet."""
    left = tmp_path / "decisions-1.jsonl.part"
    left.mkdir()
    with pytest.raises(IsADirectoryError):
        LogFiles(tmp_path)
    left.rmdir()

    LogFiles(tmp_path).close()


def test_two_edges_can_t_log_into_one_folder(tmp_path: Path) -> None:
    first = LogFiles(tmp_path)
    with pytest.raises(FolderBusy):
        LogFiles(tmp_path)
    first.close()

    LogFiles(tmp_path).close()
