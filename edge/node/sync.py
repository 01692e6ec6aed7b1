"""The sync process: one for each node, started by the supervisor, and replaced when it dies.

Whatever happens to it, workers go on serving. It may be killed at any moment: the next one finds
the folder as it was before or after a step.
"""

from __future__ import annotations

import fcntl
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import parent_process
from multiprocessing.connection import Connection, wait
from threading import Thread
from typing import Any, Final

from edge.errors import FolderBusy, FolderUnusable
from edge.logs import configure_logs
from edge.node.failures import PROBLEMS, failure_of
from edge.node.folder import NodeFolder
from edge.node.follower import Follower
from edge.node.guard import Guard
from edge.node.line import Line, LineClosed
from edge.node.messages import SyncState
from edge.node.origins import Origins
from edge.node.pulse import Pulse
from edge.node.report import Report
from edge.node.served import Served
from edge.node.standing import NodeState
from edge.node.sweep import clear_half_done
from edge.node.timing import pause_s
from edge.settings import Settings
from index.shipping.store import open_store
from index.shipping.trust import TrustStore

_NICE: Final = 19


def follow(settings: Settings, connection: Connection, cells: Any) -> None:
    """Keep a node up to date until the pipe closes; the target of a process of its own.

    Args:
        settings: the node's, with its brand.
        connection: the pipe to the supervisor.
        cells: the workers' shared cells; they are only read.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to everybody
    os.nice(_NICE)
    configure_logs(settings.log_format, process="sync")
    Thread(target=_end_with_parent, daemon=True).start()
    line = Line(connection)
    with suppress(LineClosed):
        _keep_trying(settings, line, cells)


def _keep_trying(settings: Settings, line: Line, cells: Any) -> None:
    """Begin as often as it takes: what hinders at the start may pass as well."""
    assert settings.brand is not None
    report = Report(
        line,
        SyncState(
            channel=settings.channel,
            brand=settings.brand,
            trust="insecure" if settings.insecure else "signed",
            phase="starting",
        ),
    )
    guard = Guard(cells, settings.workers)
    served = Served(NodeState(settings.state_dir), guard, watch_s=settings.watch_s)
    n_failed, has_pulse = 0, False
    while True:
        try:
            with looked_after(NodeFolder(settings.state_dir)) as folder:
                follower, trust = _follower(settings, folder, served, line, report)
                if not has_pulse:
                    Pulse(settings, trust, line, report, served, cells).start()
                    has_pulse = True
                follower.run()
        except PROBLEMS as problem:
            report.fail(failure_of(problem))
            n_failed += 1
            until = time.monotonic() + pause_s(settings.poll_s, settings.node_id, n_failed)
            while (left_s := until - time.monotonic()) > 0:
                if (message := line.heard(left_s)) is not None:
                    served.hear(message)


def _follower(
    settings: Settings, folder: NodeFolder, served: Served, line: Line, report: Report
) -> tuple[Follower, TrustStore]:
    clear_half_done(folder)
    trust = TrustStore(folder.trust, insecure=settings.insecure)
    stores = [open_store(address) for address in (settings.store or "", *settings.mirrors)]
    follower = Follower(
        settings,
        folder=folder,
        trust=trust,
        origins=Origins(stores, trust, report.state.brand, settings.channel),
        state=NodeState(settings.state_dir),
        served=served,
        line=line,
        report=report,
    )
    return follower, trust


@contextmanager
def looked_after(folder: NodeFolder) -> Iterator[NodeFolder]:
    """The folder, while no other process looks after it.

    Raises:
        FolderBusy: one does. FolderUnusable: it can't be made or locked.
    """
    folder.make()
    try:
        descriptor = os.open(folder.top / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as problem:
        raise FolderUnusable(
            f"{folder.top} can't be locked ({problem.strerror})",
            hint="let this user read and write the node's folder",
        ) from problem
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as problem:
        os.close(descriptor)
        raise FolderBusy(
            f"another process looks after {folder.top}",
            hint="give every node a folder of its own: --state-dir",
        ) from problem
    try:
        yield folder
    finally:
        os.close(descriptor)


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(0)  # nothing is ever left in a state that needs tidying up
