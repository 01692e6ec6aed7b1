"""The open loop's driver: every request once, at its moment, and whatever goes wrong is told."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from time import monotonic_ns

import numpy as np
import pytest

from bench.http_answers import LOST
from bench.http_processes import free_port
from bench.load.drive import drive, share_of
from bench.load.driver import (
    GARBLED,
    NEVER,
    REFUSED,
    TIMED_OUT,
    WATCHED_IN_REAL_TIME_NS,
    WATCHED_NS,
    Trace,
    Work,
    follow,
)
from bench.load.samples import Samples, gathered
from bench.load.schedule import constant, scheduled
from bench.load.target import Target, WrongTarget, target_of
from bench.percentiles import percentiles_us
from tests.bench.load_server import load_server


def work_for(
    target: Target,
    bodies: Sequence[bytes],
    *,
    rate: float = 2000.0,
    connections: int = 4,
    stays: bool = True,
    timeout_ms: int = 5000,
) -> Work:
    """One request for each body, evenly spaced."""
    plan = scheduled(constant(rate, len(bodies) / rate), "even", 0)
    assert len(plan) == len(bodies)
    wire = sorted({target.request(body, stays=stays) for body in bodies})
    return Work(
        target=target,
        wire=wire,
        due_ns=plan.due_ns,
        which=np.array([wire.index(target.request(body, stays=stays)) for body in bodies]),
        connections=connections,
        stays=stays,
        timeout_ns=timeout_ms * 1_000_000,
    )


def followed(work: Work) -> Trace:
    return follow(work, monotonic_ns())


def test_idle_time_is_told_with_each_request() -> None:
    with load_server() as server:
        trace = followed(work_for(server.target, [b"fine"] * 20, rate=200))

    assert (np.diff(trace.idle_ns) >= 0).all()
    assert 0 < trace.idle_ns[-1] <= trace.taken_ns[-1]
    assert trace.busy_ns <= trace.wall_ns - trace.idle_ns[-1]


@pytest.mark.parametrize("stays", [True, False], ids=["keep-alive", "fresh"])
@pytest.mark.parametrize("over", ["tcp", "unix"])
def test_every_request_is_sent_once_and_answered_once(
    over: str, *, stays: bool, tmp_path: Path
) -> None:
    bodies = [b"%d" % (number % 7) for number in range(100)]
    with load_server(tmp_path / "s" if over == "unix" else None) as server:
        trace = followed(work_for(server.target, bodies, stays=stays))

    assert trace.statuses.tolist() == [200] * 100
    assert server.asked == {str(number): 15 if number < 2 else 14 for number in range(7)}
    assert server.connections == trace.connects == (4 if stays else 100)


def test_nothing_is_sent_before_it_is_due() -> None:
    with load_server() as server:
        work = work_for(server.target, [b"fine"] * 50, rate=500)
        trace = followed(work)

    assert (trace.taken_ns >= work.due_ns).all()
    assert (trace.sent_ns >= trace.taken_ns).all()
    assert (trace.done_ns > trace.sent_ns).all()


def test_what_goes_wrong_is_told_apart_and_the_others_are_answered() -> None:
    bodies = [b"fine", b"refuse", b"last", b"vanish", b"endless", b"fine", b"refuse", b"fine"]
    with load_server() as server:
        trace = followed(work_for(server.target, bodies, rate=200, connections=2))

    assert trace.statuses.tolist() == [200, 503, 200, LOST, GARBLED, 200, 503, 200]
    assert server.asked == {"fine": 3, "refuse": 2, "last": 1, "vanish": 1, "endless": 1}


def test_who_is_never_answered_is_given_up_and_frees_the_connection() -> None:
    bodies = [b"fine", b"never", b"fine", b"fine"]
    with load_server() as server:
        work = work_for(server.target, bodies, rate=20, connections=1, timeout_ms=120)
        trace = followed(work)

    # The third and the fourth were due while the only connection was taken.
    assert trace.statuses.tolist() == [200, TIMED_OUT, 200, 200]
    assert trace.done_ns[1] - work.due_ns[1] >= 120_000_000
    assert (trace.sent_ns[2:] >= trace.done_ns[1]).all()
    assert trace.connects == 2


def test_who_waits_too_long_for_a_connection_is_never_sent() -> None:
    with load_server() as server:
        work = work_for(
            server.target, [b"never", b"fine"], rate=1000, connections=1, timeout_ms=100
        )
        trace = followed(replace(work, due_ns=np.array([0, 0])))

    assert trace.statuses.tolist() == [TIMED_OUT, TIMED_OUT]
    assert trace.sent_ns[1] == NEVER
    assert "fine" not in server.asked


@pytest.mark.parametrize("stays", [True, False], ids=["keep-alive", "fresh"])
@pytest.mark.parametrize("over", ["tcp", "unix"])
def test_a_dead_service_refuses_every_request(over: str, *, stays: bool, tmp_path: Path) -> None:
    unix = tmp_path / "nobody" if over == "unix" else None
    target = target_of(f"http://127.0.0.1:{free_port()}", unix)

    trace = followed(work_for(target, [b"fine"] * 3000, rate=1e6, stays=stays))

    assert trace.statuses.tolist() == [REFUSED] * 3000


def test_requests_larger_than_the_kernel_takes_at_once_arrive_whole() -> None:
    with load_server() as server:
        body = b"x" * 3_000_000
        trace = followed(work_for(server.target, [body, body], connections=1))

    assert trace.statuses.tolist() == [200, 200]
    assert server.asked == {body.decode(): 2}


def test_connections_the_service_closes_while_they_are_idle_are_made_anew() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        target = target_of(f"http://127.0.0.1:{listener.getsockname()[1]}")
        work = work_for(target, [b"fine"], rate=10, connections=1)  # due after 50 ms
        begin_ns = monotonic_ns()

        def serve() -> None:
            listener.accept()[0].close()
            connection, _ = listener.accept()
            with connection:
                connection.recv(1 << 16)
                connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")

        # The kernel accepts by itself: the first connection is made before anything is due.
        thread = threading.Thread(target=serve)
        thread.start()
        trace = follow(work, begin_ns)
        thread.join()

    assert trace.statuses.tolist() == [200]
    assert trace.connects == 2


@pytest.fixture(scope="module")
def stalled() -> Samples:
    """500 requests a second for 2 s; after half a second nobody is answered for 0.3 s."""
    bodies = [b"fine"] * 1000
    bodies[250] = b"stall 0.3"
    with load_server() as server:
        work = work_for(server.target, bodies, rate=500, connections=8)
        trace = followed(work)
    plan = scheduled(constant(500, 2), "even", 0)
    samples = gathered(plan, ("any",), np.zeros(1000, dtype=np.uint8), [trace])
    assert samples.good.all()
    return samples


def test_a_stall_shows_in_everyone_who_was_due_meanwhile(stalled: Samples) -> None:
    waits, due_ns, until_ns = stalled.latency_ns[251:], stalled.due_ns[251:], stalled.done_ns[250]

    # Whoever was due in the stall waited for its end: the earlier the longer, in a straight line.
    meanwhile = due_ns < until_ns
    assert np.count_nonzero(meanwhile) >= 149
    assert (waits[meanwhile] >= until_ns - due_ns[meanwhile]).all()
    # A fifth of a second's requests waited for more than 0.1 s, every one of them; requests due
    # before the stall or long after it did not.
    early = due_ns <= until_ns - 100_000_000
    assert np.count_nonzero(early) >= 100
    assert np.count_nonzero(waits[early] >= 100_000_000) == np.count_nonzero(early)
    p50_us = percentiles_us(stalled.latency_ns)["p50_us"]
    assert p50_us is not None
    assert p50_us < 100_000


def test_a_stall_is_hidden_from_who_counts_from_sending(stalled: Samples) -> None:
    # Eight connections were stuck, and with a quiet machine no other request counts as slow: a
    # tenth of all waited for a tenth of a second, and of those hardly one is left.
    n_slow = [
        np.count_nonzero(waits >= 100_000_000) for waits in (stalled.latency_ns, stalled.service_ns)
    ]
    assert n_slow[0] >= 101
    assert 8 <= n_slow[1] < n_slow[0]
    latency, service = percentiles_us(stalled.latency_ns), percentiles_us(stalled.service_ns)
    assert latency["p90_us"] is not None
    assert service["p90_us"] is not None
    assert latency["p90_us"] >= 100_000
    assert service["p90_us"] < 100_000


def test_drivers_share_the_work_and_nothing_is_sent_twice() -> None:
    bodies = [b"%d" % (number % 5) for number in range(101)]
    with load_server() as server:
        work = work_for(server.target, bodies, rate=500, connections=5)
        # Drivers that never sleep: of less the kernel, which counts in ticks, may see nothing.
        traces, host = drive(replace(work, watched_ns=10**9), processes=2)

    assert [len(trace.statuses) for trace in traces] == [51, 50]
    assert [trace.connects for trace in traces] == [3, 2]
    assert server.asked == {"0": 21, "1": 20, "2": 20, "3": 20, "4": 20}
    plan = scheduled(constant(500, 101 / 500), "even", 0)
    samples = gathered(plan, ("any",), np.zeros(101, dtype=np.uint8), traces)
    assert samples.good.all()
    assert (samples.lag_ns >= 0).all()
    assert 0 < host.busy_share <= 1.1


def test_drivers_end_at_once_where_whoever_waits_for_them_is_stopped() -> None:
    def stop(_: int) -> None:
        raise SystemExit

    with load_server() as server:
        work = work_for(server.target, [b"fine"] * 400, rate=100)
        with pytest.raises(SystemExit):
            drive(work, processes=2, on_begin=stop)

    assert sum(server.asked.values()) < 400


def test_a_share_is_every_so_manieth_request() -> None:
    work = work_for(target_of("http://127.0.0.1:1"), [b"a", b"b", b"c", b"d", b"e"], connections=1)

    shares = [share_of(work, number, 2) for number in range(2)]

    assert shares[0].due_ns.tolist() == work.due_ns[[0, 2, 4]].tolist()
    assert shares[1].which.tolist() == work.which[[1, 3]].tolist()
    assert [share.connections for share in shares] == [1, 1]


def test_there_are_no_more_drivers_than_requests() -> None:
    with load_server() as server:
        traces, _ = drive(work_for(server.target, [b"a"]), processes=2)

    assert [trace.statuses.tolist() for trace in traces] == [[200]]
    assert server.asked == {"a": 1}


def test_a_target_is_what_its_url_says() -> None:
    target = target_of("http://127.0.0.1:8080")

    assert target.address == ("127.0.0.1", 8080)
    assert target.request(b"{}", stays=False) == (
        b"POST /v1/offers HTTP/1.1\r\nhost: 127.0.0.1:8080\r\naccept: */*\r\nconnection: close\r\n"
        b"content-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
    )
    assert target_of("http://[::1]:99/x?y=1").path == "/x?y=1"


@pytest.mark.parametrize(
    "url", ["127.0.0.1:8080", "https://shop", "http://", "http://shop:99999", "http://[::1/"]
)
def test_what_cannot_be_asked_is_refused(url: str) -> None:
    with pytest.raises(WrongTarget, match="no http"):
        target_of(url)


def test_a_name_that_no_host_can_have_is_refused() -> None:
    with pytest.raises(WrongTarget, match=r"'a\.\.b' is no name of a host"):
        target_of("http://a..b/")


@pytest.mark.parametrize(
    ("policy", "watched_ns"),
    [
        (os.SCHED_OTHER, WATCHED_NS),
        (os.SCHED_FIFO, WATCHED_IN_REAL_TIME_NS),
        (os.SCHED_RR, WATCHED_IN_REAL_TIME_NS),
    ],
)
def test_a_driver_before_all_others_leaves_them_air(
    monkeypatch: pytest.MonkeyPatch, policy: int, watched_ns: int
) -> None:
    monkeypatch.setattr(os, "sched_getscheduler", lambda _: policy)
    nothing = np.zeros(0, dtype=np.int64)
    target = target_of("http://127.0.0.1:1")

    work = Work(target=target, wire=[], due_ns=nothing, which=nothing, connections=1)

    assert work.watched_ns == watched_ns
