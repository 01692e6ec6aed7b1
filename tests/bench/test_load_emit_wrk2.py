"""What wrk2 is given: whole rates, or a refusal, and a script in Lua that knows what failed."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from bench.load.emit.load import NotForTool
from bench.load.emit.tools import emit
from bench.load.schedule import SHAPES, constant, scheduled
from tests.bench.emitted_load import URL, brief, by_phase, load_of, steps, year
from tests.bench.load_server import load_server

needs_wrk2 = pytest.mark.skipif(shutil.which("wrk2") is None, reason="wrk2 is not installed")
needs_lua = pytest.mark.skipif(shutil.which("lua5.1") is None, reason="lua5.1 is not installed")
# What wrk2 gives a script: a table to fill, and a function that makes a request.
WRK2 = """
wrk = { headers = {} }
function wrk.format(method, path, headers, body) return body end
dofile("load-wrk2.lua")
"""


def lua(text: str, folder: Path) -> subprocess.CompletedProcess[bytes]:
    (folder / "play.lua").write_text(WRK2 + text)
    return subprocess.run(
        ["lua5.1", "play.lua"],
        cwd=folder,
        env={"REQUESTS": "requests-wrk2-0.jsonl"},
        capture_output=True,
        check=False,
        timeout=30,
    )


def test_wrk2_gets_each_phase_with_its_own_requests(tmp_path: Path) -> None:
    load = steps()
    run_path = emit("wrk2", load, tmp_path)

    for number, bodies in enumerate(by_phase(load)):
        assert (tmp_path / f"requests-wrk2-{number}.jsonl").read_bytes().splitlines() == bodies
    script = run_path.read_text(encoding="utf-8")
    runs = [shlex.split(line) for line in script.splitlines() if line.startswith("run ")]
    assert runs == [
        ["run", "0", "1×", "10", "2"],
        ["run", "1", "5×", "50", "2"],
        ["run", "2", "1× again", "10", "2"],
    ]
    assert URL in script


@pytest.mark.parametrize(("timeout_ms", "told"), [(1, "1s"), (5000, "5s"), (5001, "6s")])
def test_wrk2_is_told_the_timeout_in_whole_seconds(
    timeout_ms: int, told: str, tmp_path: Path
) -> None:
    plan = scheduled(constant(10, 1), "even", 0)
    script = emit("wrk2", load_of(plan, timeout_ms=timeout_ms), tmp_path).read_text()

    assert f"--timeout {told} " in script


def test_draws_do_not_change_the_rate_that_was_asked_for(tmp_path: Path) -> None:
    load = load_of(scheduled(constant(10, 6), "poisson", 3))
    assert len(load.schedule) not in range(59, 62)

    assert "run 0 constant 10 6\n" in emit("wrk2", load, tmp_path).read_text()


def test_rates_that_would_be_others_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NotForTool, match=r"0\.000127 would be 0") as refused:
        emit("wrk2", year(), tmp_path)
    assert "--rate" in refused.value.hint
    with pytest.raises(NotForTool, match=r"phase to 1/s: wrk2 takes whole .* 0\.5 would be 0"):
        emit("wrk2", load_of(scheduled(SHAPES["ramp"](10, 10), "even", 0)), tmp_path)
    assert not list(tmp_path.iterdir())


@needs_lua
@pytest.mark.parametrize("stays", [True, False])
def test_the_script_is_lua_that_sends_each_body_in_turn(*, stays: bool, tmp_path: Path) -> None:
    load = load_of(scheduled(constant(20, 1), "even", 0), stays=stays)
    emit("wrk2", load, tmp_path)

    done = lua(
        """
        print(wrk.method, wrk.headers["Content-Type"], wrk.headers["Connection"])
        for number = 1, 22 do print(request()) end
        """,
        tmp_path,
    )

    head, *bodies = done.stdout.splitlines()
    assert head.decode() == f"POST\tapplication/json\t{'nil' if stays else 'close'}"
    assert bodies == [*load.sent(), *load.sent()[:2]]


@needs_lua
@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ("", 0),
        ("errors.timeout = 1", 0),  # of connections that had nothing to do, too
        ("errors.connect = 1", 1),
        ("errors.read = 1", 1),
        ("errors.write = 1", 1),
        ("errors.status = 1", 1),
        ("requests = 0", 1),
    ],
)
def test_the_script_ends_badly_where_a_request_failed(
    found: str, expected: int, tmp_path: Path
) -> None:
    emit("wrk2", load_of(scheduled(constant(20, 1), "even", 0)), tmp_path)

    done = lua(
        f"""
        local requests = 20
        local errors = {{ connect = 0, read = 0, write = 0, timeout = 0, status = 0 }}
        {found}
        done({{ requests = requests, errors = errors }})
        """,
        tmp_path,
    )

    assert done.returncode == expected


@needs_wrk2
@pytest.mark.parametrize(("body", "expected"), [(b"fine", 0), (b"refuse", 1)])
def test_wrk2_itself_ends_as_requests_do(body: bytes, expected: int, tmp_path: Path) -> None:
    with load_server() as server:
        run_path = emit("wrk2", brief(body, server.target), tmp_path)
        done = subprocess.run(
            ["sh", run_path], capture_output=True, text=True, check=False, timeout=120
        )

    assert done.returncode == expected
    assert server.asked.keys() == {body.decode()}
    assert [line for line in done.stdout.splitlines() if line in {"first", "then"}] == [
        "first",
        "then",
    ]
