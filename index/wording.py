"""Counts and sentences as people write them."""

from __future__ import annotations


def many(n: int, one: str, several: str | None = None) -> str:
    """A count with its noun, and with what follows it where that differs too.

    >>> many(1, "request"), many(2650, "request"), many(0, "answer names", "answers name")
    ('1 request', '2,650 requests', '0 answers name')
    """
    return f"{n:,} {one if n == 1 else several or f'{one}s'}"


def begun(sentence: str) -> str:
    """A sentence with its first letter raised; all others stay, as those of names have to.

    >>> begun("no answer from Vendor A")
    'No answer from Vendor A'
    """
    return sentence[:1].upper() + sentence[1:]
