"""What a build says while it runs, and what each stage cost, kept for the report.

A Listener is told of stages and tasks; it remembers the costs and passes the news to a display:
a progress bar when stderr is a terminal, plain lines elsewhere.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID
from index.wording import many


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskCost:
    """What one task took, as measured inside its own process."""

    seconds: float
    cpu_seconds: float
    peak_rss_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StageCost:
    """What one stage took; tasks found finished cost nothing and are counted in `n_skipped`."""

    stage: str
    seconds: float
    cpu_seconds: float
    peak_rss_bytes: int
    n_tasks: int
    n_skipped: int


class Display(Protocol):
    """Where the news goes."""

    def started(self, stage: str, n_tasks: int, n_skipped: int) -> None: ...
    def advanced(self) -> None: ...
    def finished(self, cost: StageCost) -> None: ...
    def failed(self) -> None: ...
    def said(self, message: str) -> None: ...


class Silent:
    """Shows nothing."""

    def started(self, stage: str, n_tasks: int, n_skipped: int) -> None:
        """Nothing."""

    def advanced(self) -> None:
        """Nothing."""

    def finished(self, cost: StageCost) -> None:
        """Nothing."""

    def failed(self) -> None:
        """Nothing."""

    def said(self, message: str) -> None:
        """Nothing."""


class Lines:
    """One plain line when a stage ends, for logs and pipes."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def started(self, stage: str, n_tasks: int, n_skipped: int) -> None:
        """Nothing: the line at the end says it all."""

    def advanced(self) -> None:
        """Nothing: one line a task would drown the rest."""

    def finished(self, cost: StageCost) -> None:
        """Print the stage with its duration and counts."""
        self.said(sentence(cost))

    def failed(self) -> None:
        """Nothing: whoever catches the error prints it."""

    def said(self, message: str) -> None:
        """Print one line."""
        print(message, file=self._stream, flush=True)


class Bar:
    """A progress bar for the running stage; a finished stage leaves its line above it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._progress: Progress | None = None
        self._row: TaskID | None = None

    def started(self, stage: str, n_tasks: int, n_skipped: int) -> None:
        """Show a bar, already filled by the tasks that an earlier run finished."""
        from rich.console import Console  # noqa: PLC0415 - workers load this file, and draw nothing
        from rich.progress import (  # noqa: PLC0415
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
        )

        self._progress = Progress(
            TextColumn("{task.description:<12}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=Console(file=self._stream),
            transient=True,
        )
        self._row = self._progress.add_task(stage, total=n_tasks, completed=n_skipped)
        self._progress.start()

    def advanced(self) -> None:
        """Move the bar by one task."""
        if self._progress is not None and self._row is not None:
            self._progress.advance(self._row)

    def finished(self, cost: StageCost) -> None:
        """Replace the bar with the stage's line."""
        self.failed()
        self.said(sentence(cost))

    def failed(self) -> None:
        """Take the bar away and give the terminal back."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def said(self, message: str) -> None:
        """Print one line, above the bar when there is one."""
        if self._progress is not None:
            self._progress.console.print(message, highlight=False, markup=False, soft_wrap=True)
        else:
            print(message, file=self._stream, flush=True)


@dataclass(slots=True)
class _Running:
    """The stage under way."""

    stage: str
    n_tasks: int
    n_skipped: int
    started_s: float = field(default_factory=time.perf_counter)
    cpu_seconds: float = 0.0
    peak_rss_bytes: int = 0


class Listener:
    """Is told of stages and tasks by whoever runs them. One stage at a time, in one thread.

    Attributes:
        costs: one entry per finished stage, in order.
    """

    def __init__(self, display: Display | None = None) -> None:
        self.costs: list[StageCost] = []
        self._display: Display = display if display is not None else Silent()
        self._running: _Running | None = None

    def stage_started(self, stage: str, n_tasks: int, n_skipped: int = 0) -> None:
        """A stage begins; `n_skipped` of its tasks were finished by an earlier run."""
        self._running = _Running(stage, n_tasks, n_skipped)
        self._display.started(stage, n_tasks, n_skipped)

    def task_finished(self, stage: str, cost: TaskCost) -> None:
        """One more task of the running stage is done."""
        assert self._running is not None
        assert self._running.stage == stage
        self._running.cpu_seconds += cost.cpu_seconds
        self._running.peak_rss_bytes = max(self._running.peak_rss_bytes, cost.peak_rss_bytes)
        self._display.advanced()

    def stage_finished(self, stage: str) -> StageCost:
        """The running stage ends; its cost is remembered and returned."""
        running = self._running
        assert running is not None
        assert running.stage == stage
        cost = StageCost(
            stage=stage,
            seconds=time.perf_counter() - running.started_s,
            cpu_seconds=running.cpu_seconds,
            peak_rss_bytes=running.peak_rss_bytes,
            n_tasks=running.n_tasks,
            n_skipped=running.n_skipped,
        )
        self._running = None
        self.costs.append(cost)
        self._display.finished(cost)
        return cost

    def stage_failed(self, stage: str) -> None:
        """The running stage ends with an error; it has no cost."""
        assert self._running is not None
        assert self._running.stage == stage
        self._running = None
        self._display.failed()

    @contextmanager
    def stage(self, stage: str) -> Iterator[None]:
        """Measure a stage that runs in this process, without tasks."""
        self.stage_started(stage, 1)
        started_s, started_cpu_s = time.perf_counter(), time.process_time()
        try:
            yield
        except BaseException:
            self.stage_failed(stage)
            raise
        cost = TaskCost(
            seconds=time.perf_counter() - started_s,
            cpu_seconds=time.process_time() - started_cpu_s,
            peak_rss_bytes=peak_rss_bytes(),
        )
        self.task_finished(stage, cost)
        self.stage_finished(stage)

    def say(self, message: str) -> None:
        """Something worth a line: a notice, a choice made for the user."""
        self._display.said(message)


def on_stderr() -> Listener:
    """A listener that shows a bar on a terminal and plain lines elsewhere."""
    return Listener(Bar(sys.stderr) if sys.stderr.isatty() else Lines(sys.stderr))


def sentence(cost: StageCost) -> str:
    """A stage's cost as one line of text.

    >>> sentence(StageCost(stage="import", seconds=3.21, cpu_seconds=6.0, peak_rss_bytes=2**30,
    ...                    n_tasks=4, n_skipped=1))
    'import       3.2 s  4 tasks (1 from an earlier run)  cpu 6.0 s  peak 1024 MB'
    """
    tasks = many(cost.n_tasks, "task")
    if cost.n_skipped:
        tasks += f" ({cost.n_skipped} from an earlier run)"
    peak_mb = cost.peak_rss_bytes // 2**20
    return (
        f"{cost.stage:<12} {cost.seconds:.1f} s  {tasks}"
        f"  cpu {cost.cpu_seconds:.1f} s  peak {peak_mb} MB"
    )


def reset_peak_rss() -> None:
    """Start measuring this process's peak memory anew, where the kernel can (Linux)."""
    with suppress(OSError):  # elsewhere the peak is the process's since its start
        Path("/proc/self/clear_refs").write_text("5")


def peak_rss_bytes() -> int:
    """The most memory this process had resident since its start or `reset_peak_rss`."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
    peak_kb = next(line for line in status.splitlines() if line.startswith("VmHWM:")).split()[1]
    return int(peak_kb) * 1024
