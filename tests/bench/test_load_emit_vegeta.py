"""What vegeta is given: each phase with its own requests, and a script that tells what failed."""

from __future__ import annotations

import base64
import json
import os
import shlex
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from bench.load.emit.load import Load
from bench.load.emit.tools import emit
from bench.load.schedule import replayed
from tests.bench.emitted_load import URL, brief, by_phase, load_of, steps, year
from tests.bench.load_server import load_server

needs_vegeta = pytest.mark.skipif(shutil.which("vegeta") is None, reason="vegeta is not installed")
# Notes what it is told; an attack or a request of one phase may fail, or some not be sent.
FAKE = """\
#!/bin/sh
echo "$*" >> told
case "$*" in
  attack*"-name=$BROKEN "*) exit 1 ;;
  attack*) echo "answers" ;;
  *json*"$FAILED"*) echo '{"requests":100,"success":0.95,"errors":["503"]}' ;;
  *json*vegeta-1*) echo '{"requests":'"$MIDDLE"',"success":1,"errors":[]}' ;;
  *json*) echo '{"requests":20,"success":1,"errors":[]}' ;;
  *) echo "report of $2" ;;
esac
"""
NOTHING = {"BROKEN": "none", "FAILED": "none", "MIDDLE": "100"}


def calls_of(run_path: Path) -> list[list[str]]:
    lines = run_path.read_text(encoding="utf-8").splitlines()
    return [shlex.split(line) for line in lines if line.startswith("attack ")]


def ran(run_path: Path, **variables: str) -> tuple[int, str]:
    """The script's exit code and what it says, from another folder than its own."""
    done = subprocess.run(
        ["sh", run_path],
        cwd="/",
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return done.returncode, done.stdout


@pytest.fixture
def fake_vegeta(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "tools" / "vegeta"
    path.parent.mkdir()
    path.write_text(FAKE)
    path.chmod(0o755)
    monkeypatch.setenv("PATH", str(path.parent), prepend=os.pathsep)


def test_vegeta_gets_each_phase_with_its_own_requests(tmp_path: Path) -> None:
    load = steps()
    run_path = emit("vegeta", load, tmp_path)

    for number, bodies in enumerate(by_phase(load)):
        lines = (tmp_path / f"targets-vegeta-{number}.jsonl").read_text().splitlines()
        targets = [json.loads(line) for line in lines]
        assert [base64.b64decode(target["body"]) for target in targets] == bodies
        assert {(target["method"], target["url"]) for target in targets} == {("POST", URL)}
        assert targets[0]["header"]["Content-Type"] == ["application/json"]
    assert calls_of(run_path) == [
        ["attack", "0", "1×", "20/2000ms", "2000ms"],
        ["attack", "1", "5×", "100/2000ms", "2000ms"],
        ["attack", "2", "1× again", "20/2000ms", "2000ms"],
    ]


def test_phases_of_more_than_a_million_seconds_have_lengths_that_vegeta_reads(
    tmp_path: Path,
) -> None:
    run_path = emit("vegeta", year(), tmp_path)

    assert calls_of(run_path)[1] == [
        "attack",
        "1",
        "1970-02-06T12:00",
        "400/3153600000ms",
        "3153600000ms",
    ]


def test_a_part_of_a_replay_in_which_nobody_came_is_left_out(tmp_path: Path) -> None:
    plan = replayed(np.array([0, 1_000_000, 10_000_000]), 1.0)

    run_path = emit("vegeta", load_of(plan), tmp_path)

    assert sorted(path.name for path in tmp_path.glob("targets-*")) == [
        "targets-vegeta-0.jsonl",
        "targets-vegeta-1.jsonl",
        "targets-vegeta-9.jsonl",
    ]
    assert [words[1] for words in calls_of(run_path)] == ["0", "1", "9"]


@pytest.mark.parametrize(
    ("failing", "expected"),
    [
        ({}, 0),
        ({"BROKEN": "phase-0"}, 1),
        ({"FAILED": "vegeta-1"}, 1),
        ({"FAILED": "vegeta-2"}, 1),
        ({"MIDDLE": "98"}, 0),
        ({"MIDDLE": "97"}, 1),
        ({"MIDDLE": ""}, 1),
    ],
)
def test_every_phase_is_run_and_told_and_one_failure_is_the_script_s(
    failing: dict[str, str], expected: int, fake_vegeta: None, tmp_path: Path
) -> None:
    run_path = emit("vegeta", steps(), tmp_path / "load")

    code, told = ran(run_path, **{**NOTHING, **failing})

    assert code == expected
    assert told.splitlines() == [
        "1×",
        "report of results-vegeta-0.bin",
        "5×",
        "report of results-vegeta-1.bin",
        "1× again",
        "report of results-vegeta-2.bin",
    ]


def test_vegeta_is_told_all_that_holds_and_nothing_that_is_not_ascii(
    fake_vegeta: None, tmp_path: Path
) -> None:
    ran(emit("vegeta", steps(), tmp_path / "load"), **NOTHING)

    told = (tmp_path / "load" / "told").read_text(encoding="utf-8")
    assert told.isascii()
    attacks = [shlex.split(line) for line in told.splitlines() if line.startswith("attack")]
    assert attacks[1] == [
        "attack",
        "-name=phase-1",
        "-format=json",
        "-targets=targets-vegeta-1.jsonl",
        "-rate=100/2000ms",
        "-duration=2000ms",
        "-timeout=1500ms",
        "-max-body=0",
        "-max-connections=16",
        "-keepalive=true",
    ]


def vegeta_run(load: Load, tmp_path: Path) -> tuple[int, str]:
    return ran(emit("vegeta", load, tmp_path))


@needs_vegeta
def test_vegeta_itself_tells_phases_and_ends_well_where_all_was_answered(tmp_path: Path) -> None:
    with load_server() as server:
        code, told = vegeta_run(brief(b"fine", server.target), tmp_path)

    assert code == 0
    assert server.asked == {"fine": 10}
    # Bodies that nobody keeps are read all the same, so that connections stay.
    assert server.connections <= 4
    assert [line for line in told.splitlines() if " " not in line] == ["first", "then"]
    assert told.count("200:5") == 2


@needs_vegeta
def test_vegeta_itself_ends_badly_where_answers_fail(tmp_path: Path) -> None:
    with load_server() as server:
        code, told = vegeta_run(brief(b"refuse", server.target), tmp_path)

    assert (code, told.count("503:5")) == (1, 2)
    assert server.asked == {"refuse": 10}
    code, told = vegeta_run(brief(b"fine", server.target), tmp_path)
    assert (code, told.count("connection refused")) == (1, 2)
