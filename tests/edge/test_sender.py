"""What the supervisor tells others: it waits for nobody, and all of it arrives in order."""

from __future__ import annotations

import os
import socket
import threading
from multiprocessing import Pipe

from edge.messages import LayOver, ToWorker
from edge.sender import Sender
from edge.settings import settings_from
from edge.workers import Slot, Workers
from tests.edge.running import eventually

LARGE = [LayOver(payload=bytes([number]) * 300_000) for number in range(5)]


def senders() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "sender"}


def test_a_worker_that_does_not_read_holds_nobody_up() -> None:
    """Many times what the pipe holds is told at once; all of it arrives, in order."""
    ours, theirs = Pipe()
    sender = Sender[ToWorker](ours)
    slot = Slot(0, line=ours, sender=sender)
    with socket.socket() as address:
        workers = Workers(settings_from({"snapshot": "/nowhere", "workers": 1}, {}), address)
        for message in LARGE:
            workers.tell(slot, message)

    assert [theirs.recv() for _ in LARGE] == LARGE
    sender.close()
    eventually(lambda: ours.closed)


def test_what_nobody_is_left_to_read_is_dropped() -> None:
    """Also what is being written just then; the pipe is closed, and the thread ends."""
    before = senders()
    ours, theirs = Pipe()
    sender = Sender[LayOver](ours)
    (thread,) = senders() - before
    for message in LARGE:
        sender.put(message)
    assert theirs.poll(60)
    theirs.close()
    sender.close()

    thread.join(60)

    assert not thread.is_alive()
    assert ours.closed


def test_what_was_said_before_a_death_is_still_heard() -> None:
    """A sender that finds nobody to read closes nothing by itself."""
    ours, theirs = Pipe()
    sender = Sender[LayOver](ours)
    theirs.send("why")
    theirs.close()
    for message in LARGE:
        sender.put(message)

    assert ours.poll(60)
    assert ours.recv() == "why"
    assert os.fstat(ours.fileno())
    sender.close()
    eventually(lambda: ours.closed)
