"""More than can be answered, at a real edge: everyone is told something, and soon all is well."""

from __future__ import annotations

import os
import selectors
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable

import httpx2
import numpy as np

from bench.load.driver import Work, follow
from bench.load.target import target_of
from tests.edge.running import PATIENCE_S, Edge, called, eventually, get, post

StartEdge = Callable[..., Edge]
BODY = b'{"customer_id":"ann","k":3}'
COSTLY = b'{"customer_id":"ann","k":3,"explain":true}'
ASKED = (
    b"POST /v1/offers HTTP/1.1\r\nHost: shop\r\nContent-Type: application/json\r\n"
    b"Origin: https://shop.example\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
)


def sent_by_all(callers: list[socket.socket]) -> None:
    for caller in callers:
        caller.sendall(ASKED)


def answers_of_all(callers: list[socket.socket]) -> list[httpx2.Response]:
    """One answer of each caller, whole."""
    received = dict.fromkeys(callers, b"")
    found: dict[socket.socket, httpx2.Response] = {}
    with selectors.DefaultSelector() as waiting:
        for caller in callers:
            waiting.register(caller, selectors.EVENT_READ, caller)
        while len(found) < len(callers):
            ready = waiting.select(PATIENCE_S)
            assert ready, f"{len(callers) - len(found)} callers were never answered"
            for key, _ in ready:
                asked: socket.socket = key.data
                received[asked] += asked.recv(65536)
                if answer := _whole(received[asked]):
                    found[asked] = answer
                    waiting.unregister(asked)
    return list(found.values())


def _whole(text: bytes) -> httpx2.Response | None:
    head, _, body = text.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = [(name, value) for name, _, value in (line.partition(": ") for line in lines)]
    lengths = [int(value) for name, value in headers if name == "content-length"]
    if not lengths or len(body) < lengths[0]:
        return None
    return httpx2.Response(int(first.split()[1]), headers=headers, content=body)


def levels(edge: Edge) -> dict[str, int]:
    found: dict[str, int] = edge.status()["levels"]
    return found


def is_whole(edge: Edge) -> bool:
    answer = post(f"{edge.url}/v1/offers", content=BODY)
    return answer.json().get("tier") == "individual" and "x-at-most" not in answer.headers


def test_what_a_stall_leaves_behind_is_answered_cheaply(start_edge: StartEdge) -> None:
    """A worker that was stopped finds hundreds waiting: each gets an answer or is refused.

    Whatever was cheaper says so itself, in metrics, and by its tier; afterwards all is as before.
    """
    edge = start_edge(workers=1, queue_target_ms=2)
    callers = [called(edge) for _ in range(400)]
    for caller in callers:  # one after the other: nobody waits for anybody
        sent_by_all([caller])
        assert answers_of_all([caller])[0].status_code == 200
    before = levels(edge)
    worker = edge.status()["workers"][0]["pid"]

    os.kill(worker, signal.SIGSTOP)
    sent_by_all(callers)
    os.kill(worker, signal.SIGCONT)
    answers = answers_of_all(callers)

    after = Counter(levels(edge))
    after.subtract(before)
    seen = Counter(
        "refused" if answer.status_code == 503 else answer.headers.get("x-at-most", "full")
        for answer in answers
    )
    assert {answer.status_code for answer in answers} <= {200, 503}
    assert {level: count for level, count in after.items() if count} == seen
    assert seen["full"] < len(callers)
    tiers = Counter(answer.json()["tier"] for answer in answers if answer.status_code == 200)
    assert tiers["individual"] == seen["full"]
    assert tiers["prior"] >= seen["prior"]
    assert all(len(answer.json()["offers"]) == 3 for answer in answers if answer.status_code == 200)
    assert {answer.headers["access-control-allow-origin"] for answer in answers} == {"*"}
    for caller in callers:
        caller.close()
    time.sleep(1)
    assert all(is_whole(edge) for _ in range(20))


def test_more_than_can_be_answered_is_refused_and_forgotten(start_edge: StartEdge) -> None:
    """Many times too much for most of a second: no request is lost, none is left over."""
    edge = start_edge(workers=1, queue_target_ms=2)
    assert get(f"{edge.url}/readyz").status_code == 200
    n, rate = 16_000, 20_000
    due_ns = (np.arange(n) * (10**9 // rate)).astype(np.int64)
    target = target_of(f"{edge.url}/v1/offers")
    work = Work(
        target=target,
        wire=[target.request(COSTLY, stays=True)],
        due_ns=due_ns,
        which=np.zeros(n, np.int64),
        connections=400,
        timeout_ns=PATIENCE_S * 10**9,
    )

    trace = follow(work, time.monotonic_ns())

    statuses = Counter(trace.statuses.tolist())
    assert set(statuses) == {200, 503}
    eventually(lambda: edge.status()["in_flight"] == 0)
    counted = levels(edge)
    assert sum(counted.values()) == n
    assert counted["refused"] == statuses[503]
    assert counted["context"] + counted["prior"] > 0  # which of them, the machine says
    metrics = get(f"{edge.console}/metrics").text.splitlines()
    assert f"almanac_refused_total {float(statuses[503])}" in metrics
    degraded = f'almanac_degraded_answers_total{{level="prior"}} {float(counted["prior"])}'
    assert degraded in metrics
    assert f"almanac_queue_delay_seconds_count {float(n)}" in metrics
    time.sleep(1)
    assert edge.status()["pressure"] == 0
    assert all(is_whole(edge) for _ in range(20))


def test_health_is_told_whatever_is_asked(start_edge: StartEdge) -> None:
    """Only what costs a decision has to be admitted: a busy worker is a ready one."""
    edge = start_edge(workers=1)
    for path in ("/readyz", "/livez", "/openapi.json"):
        assert get(f"{edge.url}{path}").status_code == 200

    assert sum(levels(edge).values()) == 0
