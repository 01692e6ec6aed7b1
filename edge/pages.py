"""Pages that are one file: their own script and style may run, and nothing else."""

from __future__ import annotations

import re
from base64 import b64encode
from hashlib import sha256
from pathlib import Path

from starlette.types import Receive, Scope, Send

from edge.answered import Answered, lines_of, send_answered

_BLOCK = re.compile(rb"<(script|style)>(.*?)</\1>", re.DOTALL)


class Page:
    """A file as a plain ASGI app, with a content policy made from what is inside.

    Args:
        path: an HTML file with its script and style inside, in tags without attributes.
    """

    def __init__(self, path: Path) -> None:
        body = path.read_bytes()
        sources = {"script": "", "style": ""}
        for kind, text in _BLOCK.findall(body):
            digest = b64encode(sha256(text).digest()).decode()
            sources[kind.decode()] += f" 'sha256-{digest}'"
        policy = (
            f"default-src 'none'; script-src{sources['script']}; style-src{sources['style']}; "
            "img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
            "frame-ancestors 'none'"
        )
        headers = [
            (b"content-type", b"text/html; charset=utf-8"),
            (b"content-length", b"%d" % len(body)),
            (b"content-security-policy", policy.encode()),
            (b"x-content-type-options", b"nosniff"),
            (b"referrer-policy", b"no-referrer"),
            (b"cache-control", b"no-cache"),
        ]
        self._answered = Answered(200, lines_of(headers), body)

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        await send_answered(scope, send, self._answered)
