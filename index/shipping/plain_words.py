"""Words from documents, made fit for one line of a terminal."""

from __future__ import annotations

import re
from typing import Final

_COMMANDS: Final = re.compile(
    r"[\x00-\x1f\x7f-\x9f\N{LINE SEPARATOR}\N{PARAGRAPH SEPARATOR}"
    r"\N{LEFT-TO-RIGHT EMBEDDING}-\N{RIGHT-TO-LEFT OVERRIDE}"
    r"\N{LEFT-TO-RIGHT ISOLATE}-\N{POP DIRECTIONAL ISOLATE}]+"
)


def plain(words: str) -> str:
    r"""Words without line ends, and without what a terminal would obey instead of showing it.

    A heartbeat can be written by whoever can write to the store; it must not be able to clear the
    screen of who looks at the fleet, nor to make up a line of its own.

    >>> plain("odd lists\n\x1b[2Jon home")
    'odd lists [2Jon home'
    """
    return _COMMANDS.sub(" ", words)
