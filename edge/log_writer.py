"""The process that empties the workers' spools into the decision log.

It shares no fate with those that answer: while it is away, or the disk full, spools fill up, and
then entries are dropped and counted. An entry leaves its spool when its line is written, so a
process that is killed in between may write some lines twice, and loses none.
"""

from __future__ import annotations

import signal
import time
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
import structlog

from edge.decision_log import line_of, spool_of
from edge.errors import FolderBusy
from edge.log_files import LogFiles
from edge.logs import configure_logs
from edge.spool import Spool

_AT_ONCE: Final = 500
_PAUSE_S: Final = 0.05
_AFTER_FAILURE_S: Final = 1.0

_log = structlog.get_logger()


def write_log(
    folder: Path,
    spools: Any,
    n_workers: int,
    line: Connection,
    log_format: Literal["auto", "json", "console"],
) -> None:
    """Write until the supervisor hangs up; the target of a spawned process.

    Args:
        folder: where the files go.
        spools: of all workers; see `edge.decision_log`.
        n_workers: how many.
        line: nothing is said on it; its end is the end, whatever ended the supervisor.
        log_format: shape of this process's own log lines.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # whoever sends it to everybody: workers still answer
    configure_logs(log_format, process="decision-log")
    ours = [spool_of(spools, slot) for slot in range(n_workers)]
    files: LogFiles | None = None
    failed = ""
    while True:
        last = bool(wait([line], 0))  # what was put into a spool before is written still
        try:
            files = files or LogFiles(folder)
            n_lines = sum(drain(spool, files) for spool in ours)
            files.finish_if_due()
            failed = ""
        except (OSError, FolderBusy) as problem:
            if failed != str(problem):
                failed = str(problem)
                _log.exception("decisions can't be logged", folder=str(folder), why=failed)
            if last:
                return
            time.sleep(_AFTER_FAILURE_S)
            continue
        if not n_lines:
            if last:
                files.close()
                return
            wait([line], _PAUSE_S)


def drain(spool: Spool, files: LogFiles) -> int:
    """Write what a spool holds, or some hundreds of it; how many lines that were.

    Raises:
        OSError: nothing was written; the spool is as it was.
    """
    entries, upto = spool.entries(_AT_ONCE)
    if entries:
        files.add(b"".join(map(_line, entries)))
    spool.release(upto)
    return len(entries)


def _line(entry: bytes) -> bytes:
    try:
        return line_of(entry)
    except (msgspec.DecodeError, UnicodeDecodeError) as problem:
        # Damaged tables can make a number that JSON has no word for; the next entry is another.
        _log.warning("an answer could not be logged", why=str(problem))
        return b""
