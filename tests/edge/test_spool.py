"""A spool gives what was put into it, in order, and refuses what has no room."""

from __future__ import annotations

from collections import deque

from hypothesis import example, given
from hypothesis import strategies as st

from edge.spool import HEADER_BYTES, Spool

steps = st.lists(
    st.binary(max_size=40) | st.integers(1, 5),  # to put, or how many to take
    max_size=200,
)


@example(steps=[b"", b"", b"", b"", 3, b"12345", b""], size=21)
@given(steps=steps, size=st.integers(20, 200))
def test_what_goes_in_comes_out_in_order(steps: list[bytes | int], size: int) -> None:
    """Whatever the lengths, and however often it goes round."""
    memory = memoryview(bytearray(HEADER_BYTES + size))
    writer, reader, model = Spool(memory), Spool(memory), deque[bytes]()
    for step in steps:
        if isinstance(step, bytes):
            half = len(step) // 2
            if writer.put(step[:half], step[half:]):
                model.append(step)
            else:
                # There was no room, or less of it than it seems: before an entry that is not cut
                # as much is left out as it has bytes, at most.
                lengths = [len(entry) + 4 for entry in (*model, step)]
                assert sum(lengths) + 2 * max(lengths) > size
        else:
            entries, upto = reader.entries(step)
            assert entries == [model[at] for at in range(min(step, len(model)))]
            reader.release(upto)
            for _ in entries:
                model.popleft()

    assert reader.entries(1000)[0] == list(model)


def test_entries_stay_until_they_are_released() -> None:
    """Who dies between reading and writing them down finds them again."""
    memory = memoryview(bytearray(HEADER_BYTES + 64))
    Spool(memory).put(b"one")

    assert Spool(memory).entries(9)[0] == Spool(memory).entries(9)[0] == [b"one"]


def test_a_full_ring_has_room_again_after_a_release() -> None:
    spool = Spool(memoryview(bytearray(HEADER_BYTES + 30)))

    assert [spool.put(b"x" * 6) for _ in range(4)] == [True, True, True, False]
    spool.release(spool.entries(1)[1])
    assert spool.put(b"y" * 6)
    assert spool.entries(9)[0] == [b"x" * 6, b"x" * 6, b"y" * 6]
