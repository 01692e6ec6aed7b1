"""What k6 is given: the rates that were asked for, and an end that tells what went wrong."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.load.emit.load import Load, NotForTool
from bench.load.emit.tools import emit
from bench.load.schedule import SHAPES, constant, replayed, scheduled
from bench.load.target import target_of
from tests.bench.emitted_load import URL, brief, load_of, steps, year
from tests.bench.load_server import load_server

MISSED = 99
needs_k6 = pytest.mark.skipif(shutil.which("k6") is None, reason="k6 is not installed")
needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")


def script_of(load: Load, tmp_path: Path) -> str:
    return emit("k6", load, tmp_path).read_text(encoding="utf-8")


def stages_of(script: str) -> list[dict[str, Any]]:
    text = script.partition("stages: ")[2].partition("],")[0]
    stages: list[dict[str, Any]] = json.loads(text.rstrip().rstrip(",") + "]")
    return stages


def number_of(name: str, script: str) -> int:
    found = re.search(rf'{name}: "?(\d+)', script)
    assert found is not None
    return int(found[1])


def test_k6_gets_every_request_and_the_rates(tmp_path: Path) -> None:
    load = steps()
    script = script_of(load, tmp_path)

    assert (tmp_path / "requests-k6.jsonl").read_bytes().splitlines() == load.sent()
    assert stages_of(script) == [
        {"target": 10, "duration": "2000ms"},
        {"target": 50, "duration": "0s"},
        {"target": 50, "duration": "2000ms"},
        {"target": 10, "duration": "0s"},
        {"target": 10, "duration": "2000ms"},
    ]
    assert (number_of("startRate", script), number_of("timeUnit", script)) == (10, 1)
    assert f'target = "{URL}"' in script
    assert 'timeout = "1500ms"' in script
    assert "noConnectionReuse: false" in script


def test_a_ramp_for_k6_needs_no_jumps(tmp_path: Path) -> None:
    script = script_of(load_of(scheduled(SHAPES["ramp"](10, 10), "even", 0)), tmp_path)

    assert stages_of(script) == [{"target": part, "duration": "1000ms"} for part in range(1, 11)]


@pytest.mark.parametrize("rate", [1 / 7, 0.0123, 0.83, 3.77, 123.456, 8000.0])
def test_rates_are_those_that_were_asked_for(rate: float, tmp_path: Path) -> None:
    script = script_of(load_of(scheduled(constant(rate, 300), "even", 0)), tmp_path)

    [stage] = stages_of(script)
    told = stage["target"] / number_of("timeUnit", script)
    assert told == pytest.approx(rate, rel=0.002)


def test_a_year_of_a_few_orders_is_sent(tmp_path: Path) -> None:
    script = script_of(year(), tmp_path)

    lengths = [stage["duration"] for stage in stages_of(script) if stage["duration"] != "0s"]
    assert lengths == ["3153600000ms"] * 10
    unit_s = number_of("timeUnit", script)
    rates = [stage["target"] / unit_s for stage in stages_of(script)]
    assert rates == pytest.approx([400 / 3_153_600] * len(rates), rel=0.003)


def test_rates_that_k6_cannot_count_are_refused(tmp_path: Path) -> None:
    moments_us = np.array([0, 10, 27]) * 10**14

    with pytest.raises(NotForTool, match=r"too short for 3\.7e-09 requests per second") as refused:
        emit("k6", load_of(replayed(moments_us, 1.0)), tmp_path)
    assert "--speed" in refused.value.hint
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("rate", "timeout_ms", "at_first", "at_most"),
    [
        (1.0, 5000, 16, 16),  # as many as there are connections
        (500.0, 1500, 750, 750),
        (500.0, 5000, 1000, 2500),
        (8000.0, 5000, 10_000, 10_000),
    ],
)
def test_what_is_due_in_a_standstill_waits(
    rate: float, timeout_ms: int, at_first: int, at_most: int, tmp_path: Path
) -> None:
    plan = scheduled(constant(rate, 2), "even", 0)
    script = script_of(load_of(plan, timeout_ms=timeout_ms), tmp_path)

    assert (number_of("preAllocatedVUs", script), number_of("maxVUs", script)) == (
        at_first,
        at_most,
    )
    assert number_of("gracefulStop", script) > timeout_ms


@needs_node
def test_the_script_is_javascript_that_sends_each_body_in_turn_in_its_phase(
    tmp_path: Path,
) -> None:
    load = steps()
    # The three modules that only k6 has, made of a few lines each.
    parts = {
        "k6/http": "export default { post: (...words) => globalThis.posted.push(words) };",
        "k6/execution": "export default { scenario: { iterationInTest: 0, startTime: 0 } };",
        "k6/data": "export const SharedArray = function (name, make) { return make(); };",
    }
    script = script_of(load, tmp_path)
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
          Date.now = () => number * 50;
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
    assert {words[2]["timeout"] for words in told["posted"]} == {"1500ms"}
    # One each 50 ms, in phases of 2 s; what is sent after the last one's end is of it, too.
    phases = [words[2]["tags"]["phase"] for words in told["posted"]]
    assert phases == ["1×"] * 40 + ["5×"] * 40 + ["1× again"] * 62
    assert told["options"]["scenarios"]["load"]["executor"] == "ramping-arrival-rate"
    assert told["options"]["thresholds"] == {
        "http_req_failed": ["rate==0"],
        "dropped_iterations": ["count==0"],
        "http_req_duration{phase:1×}": ["max>=0"],
        "http_req_duration{phase:5×}": ["max>=0"],
        "http_req_duration{phase:1× again}": ["max>=0"],
    }


@needs_k6
def test_k6_itself_takes_a_year(tmp_path: Path) -> None:
    path = emit("k6", year(), tmp_path)

    done = subprocess.run(
        ["k6", "inspect", "--execution-requirements", path],
        capture_output=True,
        check=True,
        timeout=60,
    )

    assert json.loads(done.stdout)["totalDuration"] == "8760h0m2.5s"


def k6_run(load: Load, tmp_path: Path) -> tuple[int, str]:
    path = emit("k6", load, tmp_path)
    words = ["k6", "run", "--quiet", "--no-color", "--no-usage-report", str(path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)
    return done.returncode, done.stdout


@needs_k6
def test_k6_itself_tells_phases_and_ends_well_where_all_was_answered(tmp_path: Path) -> None:
    with load_server() as server:
        code, told = k6_run(brief(b"fine", server.target), tmp_path)

    assert code == 0
    assert server.asked.keys() == {"fine"}
    assert "{ phase:first }" in told
    assert "{ phase:then }" in told


@needs_k6
def test_k6_itself_ends_badly_where_answers_fail(tmp_path: Path) -> None:
    with load_server() as server:
        code, _ = k6_run(brief(b"refuse", server.target), tmp_path)
    gone = target_of(server.target.url)

    assert code == MISSED
    assert server.asked.keys() == {"refuse"}
    assert k6_run(brief(b"fine", gone), tmp_path)[0] == MISSED
