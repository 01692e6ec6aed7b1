"""A head that is known is the one that was read, byte for byte but for the body's length."""

from __future__ import annotations

from typing import Any

import httptools
from hypothesis import given
from hypothesis import strategies as st

from edge.known_head import KnownHead


class Parsed:
    """What a parser of HTTP makes of bytes."""

    def __init__(self, data: bytes) -> None:
        self.headers: list[tuple[bytes, bytes]] = []
        self.body = b""
        self.is_whole = False
        parser: Any = httptools.HttpRequestParser(self)
        parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.is_whole = True


def request(body: bytes, *lines: bytes, length: bytes | None = None) -> bytes:
    length = b"%d" % len(body) if length is None else length
    head = [b"POST /v1/offers HTTP/1.1", b"Host: shop", b"Content-Length: " + length, *lines]
    return b"\r\n".join([*head, b"", body])


def known(data: bytes) -> KnownHead | None:
    return KnownHead.of(data, Parsed(data).headers)


def test_the_same_head_brings_other_bodies() -> None:
    head = known(request(b"{}", b"X-More: a, b"))

    assert head is not None
    assert head.headers[b"x-more"] == b"a, b"
    assert head.body_of(request(b'{"k":3}', b"X-More: a, b")) == b'{"k":3}'
    assert head.body_of(request(b"", b"X-More: a, b")) == b""


def test_what_is_not_one_whole_request_with_that_head_is_left_to_the_parser() -> None:
    head = known(request(b"{}"))

    assert head is not None
    for other in (
        b"",
        request(b"{}")[:-1],
        request(b"{}")[:40],
        request(b"{}") + b"\n",
        request(b"{}") * 2,
        request(b"{}", b"X-More: a"),
        request(b"{}", length=b"+2"),
        request(b"{}", length=b" 2"),
        request(b"{}", length=b""),
        request(b"{}", length=b"-2"),
        request(b"{}", length=b"\xb2"),
        request(b"{}", length=b"0000000002"),
        request(b"{}").replace(b"1.1", b"1.0"),
        request(b"{}").replace(b"\r\n\r\n", b"\n\n"),
        b"\r\n" + request(b"{}"),
    ):
        assert head.body_of(other) is None


def test_heads_whose_bytes_leave_a_doubt_are_not_known() -> None:
    whole = request(b"{}")

    assert KnownHead.of(b"\r\n" + whole, Parsed(whole).headers) is None
    assert KnownHead.of(b"\r\n\r\n" + whole, Parsed(whole).headers) is None
    assert KnownHead.of(whole.replace(b"Host", b"X: 1\nHost"), Parsed(whole).headers) is None
    assert KnownHead.of(whole.replace(b"shop", b"a\r\n shop"), Parsed(whole).headers) is None
    assert KnownHead.of(whole.replace(b"\r\n\r\n", b"\n\n"), Parsed(whole).headers) is None
    assert KnownHead.of(whole.replace(b"Content-Length", b"X"), Parsed(whole).headers) is None


WORDS = st.text("ab:, \t-", max_size=6).map(str.encode)
LINES = st.lists(
    st.tuples(st.sampled_from([b"a", b"Accept", b"x-content-length", b"X-Id"]), WORDS), max_size=4
).map(lambda pairs: [name + b":" + value for name, value in pairs])


@given(st.lists(LINES, min_size=1, max_size=2), st.binary(max_size=30), st.binary(max_size=30))
def test_a_known_head_says_what_the_parser_would(
    heads: list[list[bytes]], body: bytes, other_body: bytes
) -> None:
    first = request(body, *heads[0])
    second = request(other_body, *heads[-1])
    head, parsed = known(first), Parsed(second)

    assert head is not None
    assert head.body_of(first) == body
    assert parsed.is_whole
    assert parsed.body == other_body
    if heads[0] == heads[-1]:
        assert head.body_of(second) == other_body
        assert dict(parsed.headers) == dict(head.headers) | {
            b"content-length": b"%d" % len(other_body)
        }
    else:
        assert head.body_of(second) is None
