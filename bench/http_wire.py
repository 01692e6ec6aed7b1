"""A body as the bytes that a caller sends, which is all that a driver needs to know of requests."""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

_WIRE: Final = (
    b"POST %b HTTP/1.1\r\nhost: %b\r\naccept: */*\r\n%b"
    b"content-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
)


def on_the_wire(
    body: bytes, *, path: str = "/v1/offers", host: str = "127.0.0.1", stays: bool = True
) -> bytes:
    """A body as an HTTP/1.1 request.

    Args:
        body: JSON.
        path: what is posted to.
        host: what the request names as its host.
        stays: the connection is to stay for the next request.
    """
    closing = b"" if stays else b"connection: close\r\n"
    return _WIRE % (path.encode(), host.encode(), closing, len(body), body)


def traced_on_the_wire(body: bytes) -> bytes:
    """The same with a head of its own, as callers that trace, and proxies, bring it."""
    head, end, rest = on_the_wire(body).partition(b"\r\n")
    trace = blake2b(body, digest_size=24).hexdigest().encode()
    return b"%b%btraceparent: 00-%b-%b-01%b%b" % (head, end, trace[:32], trace[32:], end, rest)
