"""What a build says, and what it remembers of its stages."""

from __future__ import annotations

import io

import pytest

from builder.progress import Bar, Display, Lines, Listener, TaskCost

COST = TaskCost(seconds=1.0, cpu_seconds=0.5, peak_rss_bytes=7 * 2**20)


def run_two_stages(listener: Listener) -> None:
    listener.stage_started("import", 3, 1)
    listener.task_finished("import", COST)
    listener.task_finished("import", COST)
    listener.say("times without offset are read as UTC")
    listener.stage_finished("import")
    with listener.stage("seal"):
        pass


def test_listener_adds_up_the_tasks_of_each_stage() -> None:
    listener = Listener()
    run_two_stages(listener)
    first, second = listener.costs
    assert (first.stage, first.n_tasks, first.n_skipped) == ("import", 3, 1)
    assert (first.cpu_seconds, first.peak_rss_bytes) == (1.0, 7 * 2**20)
    assert (second.stage, second.n_tasks) == ("seal", 1)
    assert second.peak_rss_bytes > 0


@pytest.mark.parametrize("display", [Lines, Bar])
def test_every_stage_and_notice_leaves_a_line(display: type[Lines | Bar]) -> None:
    stream = io.StringIO()
    shown: Display = display(stream)
    run_two_stages(Listener(shown))
    text = stream.getvalue()
    for words in ("import ", "3 tasks (1 from an earlier run)", "read as UTC", "seal "):
        assert words in text


@pytest.mark.parametrize("display", [Lines, Bar])
def test_failed_stage_costs_nothing_and_gives_the_terminal_back(
    display: type[Lines | Bar],
) -> None:
    listener = Listener(display(io.StringIO()))
    with pytest.raises(ValueError, match="odd"), listener.stage("import"):
        raise ValueError("odd")
    run_two_stages(listener)
    assert [cost.stage for cost in listener.costs] == ["import", "seal"]
