"""Request ids that we make: unique, rising with time, of the standard's form."""

from __future__ import annotations

import time
from uuid import RFC_4122, UUID

import pytest

from edge.request_ids import new_request_id


def test_each_is_a_uuid_of_version_7_with_the_time_in_it() -> None:
    before = time.time_ns() // 1_000_000
    made = UUID(new_request_id())

    assert (made.version, made.variant) == (7, RFC_4122)
    assert before <= made.int >> 80 <= time.time_ns() // 1_000_000


def test_no_two_are_the_same_also_within_a_millisecond(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of which there may be more than its counter can tell apart."""
    monkeypatch.setattr(time, "time_ns", lambda: 1_700_000_000_123_456_789)
    made = [new_request_id() for _ in range(10_000)]

    assert len(set(made)) == 10_000
    assert {UUID(one).int >> 80 for one in made} == {1_700_000_000_123}
    assert made[:4096] == sorted(made[:4096])
    assert {(UUID(one).version, UUID(one).variant) for one in made} == {(7, RFC_4122)}


def test_they_rise_with_time(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    for ms in range(1, 1000):
        monkeypatch.setattr(time, "time_ns", lambda ms=ms: ms * 1_000_000)
        made += [new_request_id(), new_request_id()]

    assert made == sorted(made)
