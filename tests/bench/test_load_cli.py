"""The verb as a whole, and beside an independent tool."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic_ns
from typing import Any

import numpy as np
import pytest

from almanac import main
from bench.load.cli import NO_VERDICT, Contradiction, load
from bench.load.driver import Work, follow
from bench.load.schedule import constant, scheduled
from builder.errors import DataGate, NotWritable
from tests.bench.load_server import load_server
from tests.bench.verbs import ROOT

EVENTS = "ts,customer_id,order_id,item_id\n" + "".join(
    f"2026-11-01T10:00:{second:02d}Z,c{second % 7},o{second},i{second % 3}\n"
    for second in range(60)
)
URL = "http://127.0.0.1:9"


@pytest.fixture
def events(tmp_path: Path) -> str:
    path = tmp_path / "events.csv"
    path.write_text(EVENTS)
    return str(path)


def test_a_replay_is_sent_kept_and_told(
    events: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with load_server() as server:
        code = load(
            server.target.url,
            schedule="replay",
            events=[events],
            speed=59.0,
            since=datetime(2026, 11, 1, 10, 0, 30, tzinfo=UTC),
            out_dir=tmp_path,
            json=True,
        )

    told = json.loads(capsys.readouterr().out)
    [run_dir] = tmp_path.glob("load-*")
    assert json.loads((run_dir / "summary.json").read_bytes()) == told
    assert code == (0 if told["verdict"]["is_trusted"] else NO_VERDICT)
    assert sum(server.asked.values()) == told["all"]["requests"] == 30
    assert json.loads(next(iter(server.asked))) == {
        "placement": "checkout",
        "k": 10,
        "customer_id": "c2",
        "cart": [{"item_id": "i0"}],
    }
    # Of the seven customers two ordered five times before, and all others four times.
    assert told["kinds"]["known"]["requests"] == 30
    with np.load(run_dir / "samples.npz") as raw:
        assert raw["statuses"].tolist() == [200] * 30
        assert raw["due_ns"] == pytest.approx(np.arange(30) * 1e9 / 59, abs=1)


def test_the_synthetic_shop_is_asked_without_any_events(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with load_server() as server:
        load(
            server.target.url,
            rate=200,
            seconds=0.5,
            arrivals="even",
            fresh=True,
            customers=1000,
            offers=1000,
            out_dir=tmp_path,
        )

    out = capsys.readouterr().out
    assert sum(server.asked.values()) == server.connections == 100
    assert "constant" in out
    assert "100 connections made" in out


def test_a_service_that_is_not_there_fails_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with load_server() as server:
        gone = server.target.url

    code = load(
        gone, rate=100, seconds=0.2, arrivals="even", customers=1000, offers=1000, out_dir=tmp_path
    )

    assert code == NO_VERDICT
    assert capsys.readouterr().out.startswith(
        "none of 20 requests was answered, no verdict: 20 × refused\n"
    )


def test_nothing_is_sent_where_its_figures_could_not_be_kept(tmp_path: Path) -> None:
    (tmp_path / "a file").touch()

    with (
        load_server() as server,
        pytest.raises(NotWritable, match="no folder can be made there"),
    ):
        load(server.target.url, rate=20, seconds=0.2, out_dir=tmp_path / "a file")

    assert not server.asked


def test_the_same_load_is_written_for_another_tool_and_nothing_is_sent(
    events: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = load(URL, events=[events], rate=20, emit_for="k6", emit_dir=tmp_path / "k6")

    assert code == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "k6" / "load-k6.js")
    assert not list(tmp_path.glob("load-*"))


def test_renamings_of_the_brands_catalogue_do_not_hinder_reading_its_events(
    events: str, tmp_path: Path
) -> None:
    config = tmp_path / "almanac.toml"
    config.write_text('[input.map]\n"name of it" = "title"\narticle = "item_id"\n')

    code = load(URL, events=[events], config=config, emit_for="k6", emit_dir=tmp_path / "k6")

    assert code == 0


def test_bad_rows_are_refused_or_left_out_and_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "events.csv"
    path.write_text(EVENTS + "no time,c1,o99,i1\n")
    flags: dict[str, Any] = {"events": [str(path)], "emit_for": "k6", "emit_dir": tmp_path / "k6"}

    with pytest.raises(DataGate, match="1 of 61 rows are bad"):
        load(URL, **flags)
    load(URL, max_bad=0.05, **flags)

    assert capsys.readouterr().err.startswith("left out: events: 1 of 61 rows are bad")


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        ({"schedule": "replay"}, "needs --events"),
        ({"schedule": "replay", "events": ["x"], "shares": (1, 0, 0)}, "--shares"),
        ({"speed": 2.0}, "for a replay only"),
        ({"schedule": "replay", "events": ["x"], "speed": 1.0, "scale": 9.0}, "give one"),
        ({"emit_for": "k6", "unix": Path("s")}, "leave --unix out"),
    ],
)
def test_flags_that_contradict_each_other_are_refused(flags: dict[str, object], why: str) -> None:
    with pytest.raises(Contradiction, match=why):
        load(URL, **flags)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("flags", "problem", "remedy"),
    [
        (["--core=99999"], "--core 99999: no process may run there", "give --core one of "),
        (["--core=-1"], "--core -1: no process may run there", "give --core one of "),
        (["--seed=-1"], 'Invalid value "-1" for --seed', "--help"),
        (["--shares", "nan", "1", "1"], "--shares nan 1 1 are no shares", "give three numbers"),
    ],
)
def test_flags_that_mean_nothing_are_refused(
    flags: list[str],
    problem: str,
    remedy: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["--customers=1000", "--offers=1000", f"--out-dir={tmp_path}"]

    assert main(["bench", "load", URL, *words, *flags]) == 2

    said, hint = capsys.readouterr().err.split("hint: ")
    assert problem in said
    assert remedy in hint
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(shutil.which("h2load") is None, reason="h2load (nghttp2-client) is missing")
def test_an_independent_tool_sees_the_same_waits(tmp_path: Path) -> None:
    """Every answer takes 20 ms, at ten requests a second: nothing stands in line."""
    body = b"stall 0.02"
    (tmp_path / "body").write_bytes(body)
    with load_server() as server:
        words = ["h2load", "--h1", "-n20", "-c1", "--rps=10", f"--log-file={tmp_path / 'log'}"]
        subprocess.run(
            [*words, "-d", str(tmp_path / "body"), server.target.url],
            check=True,
            capture_output=True,
            timeout=60,
        )
        plan = scheduled(constant(10, 2), "even", 0)
        work = Work(
            target=server.target,
            wire=[server.target.request(body, stays=True)],
            due_ns=plan.due_ns,
            which=np.zeros(20, dtype=np.int64),
            connections=1,
        )
        trace = follow(work, monotonic_ns())

    assert server.asked == {body.decode(): 40}
    _, statuses, theirs_us = np.loadtxt(tmp_path / "log", dtype=np.int64, unpack=True)
    ours_us = (trace.done_ns - trace.sent_ns) // 1000
    assert statuses.tolist() == trace.statuses.tolist() == [200] * 20
    assert [np.count_nonzero(us >= 20_000) for us in (ours_us, theirs_us)] == [20, 20]
    assert np.median(ours_us) == pytest.approx(np.median(theirs_us), rel=0.5)


@pytest.mark.parametrize(("ended_by", "code"), [(signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_a_service_is_left_alone_once_the_verb_is_ended(
    ended_by: signal.Signals, code: int, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(60)
        words = [f"http://127.0.0.1:{listener.getsockname()[1]}", "--connections=1"]
        words += ["--seconds=600", "--timeout-ms=600000", "--customers=1000", "--offers=1000"]
        command = [sys.executable, "-m", "almanac", "bench", "load", *words]
        with subprocess.Popen([*command, f"--out-dir={tmp_path}"], cwd=ROOT) as verb:
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(60)
                asked = connection.recv(1 << 16)
                verb.send_signal(ended_by)
                assert verb.wait(60) == code
                while connection.recv(1 << 16):
                    pass

    assert asked.startswith(b"POST /v1/offers ")


SHELL = """
ulimit {kind} {most}
exec {python} -m almanac bench load {url} --rate 4000 --seconds 0.04 --arrivals even \\
    --connections 200 --timeout-ms 1000 --out-dir {out} --json
"""


def under_limit(kind: str, most: int, url: str, out: Path) -> subprocess.CompletedProcess[str]:
    """A driver that may open only so many files."""
    script = SHELL.format(kind=kind, most=most, url=url, python=sys.executable, out=out)
    command = ["sh", "-c", script]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)


def test_more_connections_than_files_are_open_by_default_are_made(tmp_path: Path) -> None:
    """Nobody is answered, so each request needs a connection of its own."""
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
        port = listener.getsockname()[1]
        done = under_limit("-Sn", 96, f"http://127.0.0.1:{port}", tmp_path)

    assert json.loads(done.stdout)["all"]["errors"] == {"timed out": 160}


def test_more_connections_than_files_may_be_open_are_refused(tmp_path: Path) -> None:
    done = under_limit("-n", 256, URL, tmp_path)

    assert done.returncode == 2
    assert "200 connections at once are more than the 256 files" in done.stderr
    assert "ulimit -Hn" in done.stderr
