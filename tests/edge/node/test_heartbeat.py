"""What a heartbeat says of the workers' last minute."""

from __future__ import annotations

from edge.counters import Counters, blank_rows, row_of
from edge.fleet import Fleet
from edge.node.heartbeat import GuardWindow


def test_counts_are_those_of_the_window_and_of_all_workers() -> None:
    cells = memoryview(bytearray(blank_rows(2).tobytes() + bytes(8))).cast("Q")
    counters = [Counters(row_of(cells, slot), ("checkout",)) for slot in range(2)]
    window, fleet = GuardWindow(cells, 2, span_s=60.0), Fleet(cells, 2)

    def work(n: int, score: float, code: int = 200) -> None:
        for at in range(n):
            one = counters[at % 2]
            one.arrived()
            one.decided("checkout" if at % 2 else "elsewhere", "individual", 50_000)
            one.shown(1 if code == 200 else 0, score)
            one.answered(code)

    work(7, -1.0)
    first = window.look(0.0)
    assert (first.window_s, first.requests, first.decisions, first.p99_us) == (0.0, 0, 0, None)
    work(4, -2.0)
    work(2, -9.0, code=500)
    fleet.forget(1)
    soon = window.look(30.0)
    assert (soon.window_s, soon.requests, soon.errors, soon.empty) == (30.0, 6, 2, 2)
    assert (soon.decisions, soon.tiers["individual"], soon.tiers["safe"]) == (6, 6, 0)
    assert (soon.scored, soon.score_sum, soon.score_squares) == (4, -8.0, 16.0)
    assert (soon.p50_us, soon.p99_us, soon.worker_deaths) == (50.0, 50.0, 1)
    work(3, 0.5)
    later = window.look(90.0)
    assert (later.window_s, later.requests, later.score_sum) == (60.0, 3, 1.5)
    assert later.worker_deaths == 0
    gone = window.look(200.0)
    assert (gone.window_s, gone.requests, gone.score_sum) == (0.0, 0, 0.0)
