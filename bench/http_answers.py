"""Answers as they come over a connection: whole or not yet, and what is kept of them."""

from __future__ import annotations

from math import nan
from typing import Final, NamedTuple

import orjson

LOST: Final = 0
"""In place of a status: the connection broke, or what came was no answer."""
_DECIDED: Final = b"\r\nserver-timing: decide;dur="


class Answer(NamedTuple):
    """What is kept of an answer: status, bytes of its body, what deciding took, what comes next."""

    status: int
    size: int
    decided_us: float
    stays: bool


def parsed_answer(received: bytes) -> Answer | None:
    r"""An answer; None while some of it is missing.

    >>> parsed_answer(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
    Answer(status=200, size=2, decided_us=nan, stays=True)
    >>> parsed_answer(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{") is None
    True

    Raises:
        ValueError: it is no answer whose end can be told, or more than one.
    """
    end = received.find(b"\r\n\r\n")
    if end < 0:
        return None
    head = received[: end + 2].lower()
    at = head.find(b"\r\ncontent-length:")
    if at < 0 or not head.startswith(b"http/1.1 "):
        raise ValueError("the end of the answer can't be told")
    size = int(head[at + 17 : head.index(b"\r\n", at + 17)])
    missing = end + 4 + size - len(received)
    if missing < 0:
        raise ValueError("there is more than was asked for")
    if missing:
        return None
    timing = head.find(_DECIDED)
    decided_us = nan
    if timing >= 0:
        timing += len(_DECIDED)
        decided_us = float(head[timing : head.index(b"\r\n", timing)]) * 1000.0
    return Answer(int(head[9:12]), size, decided_us, b"\r\nconnection: close\r\n" not in head)


def offers_in(answer: bytes) -> list[str]:
    """Ids of the offers of an answer, or of what is essential of it."""
    told = orjson.loads(answer)
    return [offer["offer_id"] for offer in told["offers"]] if isinstance(told, dict) else told
