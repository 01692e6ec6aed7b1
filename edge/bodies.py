"""Request bodies: all of it, of a type we read, and not too large."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from starlette.types import Message, Receive

from edge.problems import Refusal

HEADERS: Final = "almanac.headers"
"""Key of a scope: the request's headers as a dict, made once."""
JSON_TYPES: Final = (b"application/json", b"text/plain")
_DRAIN_FACTOR: Final = 16
"""How many times the limit is read and thrown away, so that the caller gets to read the refusal."""


class ClientGone(Exception):
    """The caller hung up before its request was complete; nobody is left to answer."""


def check_type(headers: Mapping[bytes, bytes]) -> None:
    """Refuse what we don't read. `text/plain` is read as JSON: browsers send it unasked.

    Raises:
        Refusal: 415.
    """
    kind = headers.get(b"content-type")
    if kind is not None and kind not in JSON_TYPES:
        main, _, parameters = kind.lower().partition(b";")
        charset = parameters.replace(b'"', b"").strip()
        if main.strip() not in JSON_TYPES or charset not in (b"", b"charset=utf-8"):
            raise Refusal(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
                f"The body is {kind.decode('latin-1')}; send JSON in UTF-8 with "
                "Content-Type: application/json, or text/plain to do without a CORS preflight.",
                headers={b"accept-post": b", ".join(JSON_TYPES)},
            )
    encoding = headers.get(b"content-encoding", b"identity")
    if encoding != b"identity":
        raise Refusal(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            f"The body is encoded with {encoding.decode('latin-1')}; send it as it is.",
            headers={b"accept-encoding": b"identity"},
        )


async def read_body(headers: Mapping[bytes, bytes], receive: Receive, max_bytes: int) -> bytes:
    """The whole body, however many pieces it comes in.

    Raises:
        Refusal: 413, it is longer than `max_bytes`.
        ClientGone: the caller hung up.
    """
    declared = headers.get(b"content-length", b"")
    if declared.isdigit() and int(declared) > max_bytes:
        if headers.get(b"expect", b"").lower() != b"100-continue":
            await _throw_away(receive, max_bytes * _DRAIN_FACTOR)
        raise _too_large(max_bytes)
    body, more = b"", True
    while more and len(body) <= max_bytes:
        piece, more = _piece(await receive())
        body = body + piece if body else piece
    if len(body) <= max_bytes:
        return body
    if more:
        await _throw_away(receive, max_bytes * _DRAIN_FACTOR)
    raise _too_large(max_bytes)


def _piece(message: Message) -> tuple[bytes, bool]:
    if message["type"] == "http.disconnect":
        raise ClientGone
    return message.get("body", b""), message.get("more_body", False)


async def _throw_away(receive: Receive, max_bytes: int) -> None:
    more = True
    while more and max_bytes > 0:
        piece, more = _piece(await receive())
        max_bytes -= len(piece)


def _too_large(max_bytes: int) -> Refusal:
    return Refusal(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        f"The body is larger than {max_bytes} bytes.",
        headers={b"connection": b"close"},
    )
