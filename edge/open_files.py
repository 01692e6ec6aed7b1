"""How many files a process may have open, and who gets them: a connection is one, a table too.

Callers must never have them all: a worker that has none left can't open the next snapshot, and a
good one would be refused for it.
"""

from __future__ import annotations

import resource
import sys
from contextlib import suppress
from typing import Final

from edge.errors import TooFewFiles

_FEWEST: Final = 128
"""For a supervisor and workers with snapshots of a few tables each."""
_OURS: Final = 832
"""For three snapshots of 256 shards (one answers, one retires, one is prepared), and the rest."""


def allow_many_connections() -> int:
    """Let this process, and what it starts, open as many files as the system grants.

    Most services begin with 1,024.

    Returns:
        How many that are.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # macOS grants fewer than it says
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return _granted()


def require_files() -> None:
    """Take as many files as the system grants.

    Raises:
        TooFewFiles: an edge could not do its work with them.
    """
    granted = allow_many_connections()
    if granted < _FEWEST:
        raise TooFewFiles(
            f"a process may open {granted} files here; an edge needs {_FEWEST}, and one for each "
            "caller besides",
            hint="raise the hard limit: ulimit -Hn, LimitNOFILE= of a unit, ulimits of a container",
        )


def most_callers() -> int:
    """How many connections this process may have, so that files are left for itself."""
    granted = _granted()
    return granted - min(_OURS, granted // 2)


def _granted() -> int:
    granted, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if granted == resource.RLIM_INFINITY else granted
