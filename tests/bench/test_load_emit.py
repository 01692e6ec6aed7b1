"""Files for other tools: whole, in order, and read by the languages they are written in."""

from __future__ import annotations

import base64
import json
import shlex
import shutil
import subprocess
from pathlib import Path

import msgspec
import numpy as np
import pytest

from bench.load.emit import Load, emit
from bench.load.schedule import SHAPES, Schedule, replayed, scheduled
from bench.load.target import target_of
from index.request import Request

URL = "http://127.0.0.1:8080/v1/offers"


def load_of(plan: Schedule, *, stays: bool = True) -> Load:
    """Requests with all that could break a script: quotes, backslashes, other alphabets."""
    bodies = [
        msgspec.json.encode({"customer_id": f"c'\"\\{number} ${{x}} ü漢", "k": 3})
        for number in range(5)
    ]
    return Load(
        target=target_of(URL),
        schedule=plan,
        bodies=bodies,
        which=np.random.default_rng(2).integers(0, 5, len(plan)),
        connections=16,
        stays=stays,
    )


@pytest.fixture
def load() -> Load:
    return load_of(scheduled(SHAPES["step"](10, 6), "even", 0))


def phases_of(load: Load, n: int) -> list[list[bytes]]:
    sent = load.sent()
    return [
        [sent[place] for place in np.flatnonzero(load.schedule.phase == number)]
        for number in range(n)
    ]


def test_k6_gets_every_request_and_the_rates(load: Load, tmp_path: Path) -> None:
    script = emit("k6", load, tmp_path).read_text()

    assert (tmp_path / "requests.jsonl").read_bytes().splitlines() == load.sent()
    stages = json.loads(script.partition("stages: ")[2].partition(",\n    },")[0])
    assert stages == [
        {"target": 600, "duration": "2s"},
        {"target": 3000, "duration": "0s"},
        {"target": 3000, "duration": "2s"},
        {"target": 600, "duration": "0s"},
        {"target": 600, "duration": "2s"},
    ]
    assert "startRate: 600," in script
    assert f'target = "{URL}"' in script
    assert "noConnectionReuse: false" in script


def test_a_ramp_for_k6_needs_no_jumps(tmp_path: Path) -> None:
    script = emit("k6", load_of(scheduled(SHAPES["ramp"](10, 10), "even", 0)), tmp_path).read_text()

    stages = json.loads(script.partition("stages: ")[2].partition(",\n    },")[0])
    assert stages == [{"target": 60 * part, "duration": "1s"} for part in range(1, 11)]


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_the_script_for_k6_is_javascript_that_sends_each_body_in_turn(
    load: Load, tmp_path: Path
) -> None:
    # The three modules that only k6 has, made of a few lines each.
    parts = {
        "k6/http": "export default { post: (...words) => globalThis.posted.push(words) };",
        "k6/execution": "export default { scenario: { iterationInTest: 0 } };",
        "k6/data": "export const SharedArray = function (name, make) { return make(); };",
    }
    script = emit("k6", load, tmp_path).read_text()
    for name, text in parts.items():
        path = tmp_path / f"{name.replace('/', '-')}.mjs"
        path.write_text(text)
        script = script.replace(f'"{name}"', f'"./{path.name}"')
    (tmp_path / "load.mjs").write_text(script)
    (tmp_path / "play.mjs").write_text(
        """
        import fs from "fs";
        import exec from "./k6-execution.mjs";
        globalThis.posted = [];
        globalThis.open = (path) => fs.readFileSync(path, "utf8");
        const load = await import("./load.mjs");
        for (let number = 0; number < 142; number++) {
          exec.scenario.iterationInTest = number;
          load.default();
        }
        console.log(JSON.stringify({ posted, options: load.options }));
        """
    )

    done = subprocess.run(
        ["node", "play.mjs"], cwd=tmp_path, capture_output=True, check=True, timeout=30
    )

    told = json.loads(done.stdout)
    sent = load.sent()
    assert len(sent) == 140
    assert [words[1].encode() for words in told["posted"]] == [*sent, *sent[:2]]
    assert {words[0] for words in told["posted"]} == {URL}
    assert told["options"]["scenarios"]["load"]["executor"] == "ramping-arrival-rate"


def test_vegeta_gets_each_phase_with_its_own_requests(load: Load, tmp_path: Path) -> None:
    run_path = emit("vegeta", load, tmp_path)

    for number, bodies in enumerate(phases_of(load, 3)):
        lines = (tmp_path / f"targets-{number}.jsonl").read_text().splitlines()
        targets = [json.loads(line) for line in lines]
        assert [base64.b64decode(target["body"]) for target in targets] == bodies
        assert {(target["method"], target["url"]) for target in targets} == {("POST", URL)}
        assert targets[0]["header"]["Content-Type"] == ["application/json"]
    attacks = [line for line in run_path.read_text().splitlines() if line.startswith("vegeta")]
    assert [word for line in attacks for word in shlex.split(line) if "-rate=" in word] == [
        "-rate=20/2000ms",
        "-rate=100/2000ms",
        "-rate=20/2000ms",
    ]


def test_wrk2_gets_each_phase_with_its_own_requests(load: Load, tmp_path: Path) -> None:
    run_path = emit("wrk2", load, tmp_path)

    for number, bodies in enumerate(phases_of(load, 3)):
        assert (tmp_path / f"requests-{number}.jsonl").read_bytes().splitlines() == bodies
    lines = run_path.read_text().splitlines()
    assert sum("tells no times" in line for line in lines) == 3
    runs = [shlex.split(line) for line in lines if line.startswith("REQUESTS=")]
    assert [(words[0], words[4], words[5]) for words in runs] == [
        ("REQUESTS=requests-0.jsonl", "-R10", "-d2s"),
        ("REQUESTS=requests-1.jsonl", "-R50", "-d2s"),
        ("REQUESTS=requests-2.jsonl", "-R10", "-d2s"),
    ]


@pytest.mark.skipif(shutil.which("lua5.1") is None, reason="lua5.1 is not installed")
@pytest.mark.parametrize("stays", [True, False])
def test_the_script_for_wrk2_is_lua_that_sends_each_body_in_turn(
    *, stays: bool, tmp_path: Path
) -> None:
    load = load_of(scheduled(SHAPES["constant"](20, 1), "even", 0), stays=stays)
    emit("wrk2", load, tmp_path)
    # What wrk2 gives a script: a table to fill, and a function that makes a request.
    (tmp_path / "play.lua").write_text(
        """
        wrk = { headers = {} }
        function wrk.format(method, path, headers, body) return body end
        dofile("load.lua")
        print(wrk.method, wrk.headers["Content-Type"], wrk.headers["Connection"])
        for number = 1, 22 do print(request()) end
        """
    )

    done = subprocess.run(
        ["lua5.1", "play.lua"],
        cwd=tmp_path,
        env={"REQUESTS": "requests-0.jsonl"},
        capture_output=True,
        check=True,
        timeout=30,
    )

    head, *bodies = done.stdout.splitlines()
    assert head.decode() == f"POST\tapplication/json\t{'nil' if stays else 'close'}"
    assert bodies == [*load.sent(), *load.sent()[:2]]


def test_scripts_to_run_are_shell(load: Load, tmp_path: Path) -> None:
    for tool in ("vegeta", "wrk2"):
        path = emit(tool, load, tmp_path / tool)
        subprocess.run(["sh", "-n", path], check=True, timeout=30)
        assert path.stat().st_mode & 0o100


def test_a_part_of_a_replay_in_which_nobody_came_is_left_out(tmp_path: Path) -> None:
    plan = replayed(np.array([0, 1_000_000, 10_000_000]), 1.0)

    run_path = emit("vegeta", load_of(plan), tmp_path)

    assert sorted(path.name for path in tmp_path.glob("targets-*")) == [
        "targets-0.jsonl",
        "targets-1.jsonl",
        "targets-9.jsonl",
    ]
    assert run_path.read_text().count("vegeta attack") == 3


def test_emitted_bodies_are_requests(load: Load) -> None:
    assert {msgspec.json.decode(body, type=Request).k for body in load.sent()} == {3}
