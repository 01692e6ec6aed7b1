"""Words for why updating does not go on: each is explained to who reads it at night."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from edge.errors import WorkerRefused
from edge.node.failures import PROBLEMS, Problem, failure_of
from index.shipping.store_errors import NoRanges

OPERATIONS = Path(__file__).parents[3] / "docs" / "operations.md"


def kinds(kind: type[Problem]) -> Iterator[type[Problem]]:
    yield kind
    for narrower in kind.__subclasses__():
        yield from kinds(narrower)


def test_every_word_stands_in_the_operations() -> None:
    text = OPERATIONS.read_text()
    table = text[text.index("| `failure` | what it means |") :]
    explained = set(
        re.findall(r"`(\w+)`", "\n".join(re.findall(r"^\|[^|]*\|", table, re.MULTILINE)))
    )
    found = {kind for base in PROBLEMS for kind in kinds(base)} - {WorkerRefused}
    words = {failure_of(kind("what")).word for kind in found}

    assert {"unreachable", "no_ranges", "unfit"} < words
    assert words - explained == set()


def test_an_origin_without_ranges_is_not_called_damaged() -> None:
    """Who reads `damaged` deletes an object."""
    assert failure_of(NoRanges("sends the whole")).word == "no_ranges"
