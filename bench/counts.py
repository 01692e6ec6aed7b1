"""Counts with what they count."""

from __future__ import annotations


def counted(n: int, noun: str) -> str:
    """A count before its noun, which is in the plural but for one.

    >>> counted(1, "request"), counted(1_400, "request"), counted(0, "swap")
    ('1 request', '1,400 requests', '0 swaps')
    """
    return f"{n:,} {noun}" + ("" if n == 1 else "s")
