"""What keeps a process of ours from outliving its parent."""

from __future__ import annotations

import os
import signal
import threading
from multiprocessing.connection import Connection


def end_with_parent(leash: Connection) -> None:
    """Leave interrupts to the parent, and end when it ends, or lets go of the leash.

    Runs first in a process: only its parent holds the other end of the leash. Without it the
    process would outlive a parent that was killed, and work or wait for somebody who is gone.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_exit_with_parent, args=(leash,), daemon=True).start()


def _exit_with_parent(leash: Connection) -> None:
    try:
        leash.recv_bytes()
    except (EOFError, OSError):
        os._exit(1)
