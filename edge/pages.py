"""Pages that are one file: their own script and style may run, and nothing else."""

from __future__ import annotations

import re
from base64 import b64encode
from hashlib import sha256
from pathlib import Path

from starlette.types import Receive, Scope, Send

_BLOCK = re.compile(rb"<(script|style)>(.*?)</\1>", re.DOTALL)


class Page:
    """A file as a plain ASGI app, with a content policy made from what is inside.

    Args:
        path: an HTML file with its script and style inside, in tags without attributes.
    """

    def __init__(self, path: Path) -> None:
        self._body = path.read_bytes()
        sources = {"script": "", "style": ""}
        for kind, text in _BLOCK.findall(self._body):
            digest = b64encode(sha256(text).digest()).decode()
            sources[kind.decode()] += f" 'sha256-{digest}'"
        policy = (
            f"default-src 'none'; script-src{sources['script']}; style-src{sources['style']}; "
            "img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
            "frame-ancestors 'none'"
        )
        self._headers = [
            (b"content-type", b"text/html; charset=utf-8"),
            (b"content-length", b"%d" % len(self._body)),
            (b"content-security-policy", policy.encode()),
            (b"x-content-type-options", b"nosniff"),
            (b"referrer-policy", b"no-referrer"),
            (b"cache-control", b"no-cache"),
        ]

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        body = b"" if scope["method"] == "HEAD" else self._body
        await send({"type": "http.response.start", "status": 200, "headers": self._headers})
        await send({"type": "http.response.body", "body": body})
