"""Damaged copies of bytes: what bad disks, cut connections and careless tools make of a file."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from typing import Final

N_MUTANTS: Final = int(os.environ.get("ALMANAC_TEST_MUTATIONS", "2000"))
"""How many documents and files are damaged in all, unless the environment says otherwise."""
_PAGE: Final = 4096
_SECTOR: Final = 512


def flipped(rng: random.Random, data: bytes) -> bytes:
    """One bit is another."""
    changed, bit = bytearray(data), rng.randrange(8 * len(data))
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def cut(rng: random.Random, data: bytes) -> bytes:
    """The end is missing, perhaps all of it."""
    return data[: rng.randrange(len(data))]


def holed(rng: random.Random, data: bytes) -> bytes:
    """A page of zeros, as an incomplete sparse file has it."""
    start = _PAGE * rng.randrange(-(-len(data) // _PAGE))
    length = len(data[start : start + _PAGE])
    return data[:start] + bytes(length) + data[start + length :]


def exchanged(rng: random.Random, data: bytes) -> bytes:
    """Two sectors have changed places; of short data, its halves."""
    places = range(0, len(data) - _SECTOR, _SECTOR)
    if len(places) < 2:
        middle = len(data) // 2
        return data[middle:] + data[:middle]
    a, b = sorted(rng.sample(places, 2))
    one, other = data[a : a + _SECTOR], data[b : b + _SECTOR]
    return data[:a] + other + data[a + _SECTOR : b] + one + data[b + _SECTOR :]


def scattered(rng: random.Random, data: bytes) -> bytes:
    """Eight bytes here and there are anything."""
    changed = bytearray(data)
    for _ in range(8):
        changed[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(changed)


def longer(rng: random.Random, data: bytes) -> bytes:
    """Something of itself is appended."""
    return data + data[rng.randrange(len(data)) :]


WAYS: Final[tuple[Callable[[random.Random, bytes], bytes], ...]] = (
    flipped,
    flipped,
    cut,
    holed,
    exchanged,
    scattered,
    longer,
)


def mutants(rng: random.Random, data: bytes) -> Iterator[tuple[str, bytes]]:
    """Damaged copies without end, each with how it was made; none equals the data."""
    while True:
        way = rng.choice(WAYS)
        mutant = way(rng, data)
        if mutant != data:
            yield way.__name__, mutant
