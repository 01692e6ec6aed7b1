"""When answers are written: together, but never later than anybody is there to wait for."""

from __future__ import annotations

import asyncio

import pytest

from edge.outbox import Outbox


class Line(asyncio.Transport):
    """Remembers what was written."""

    def __init__(self) -> None:
        super().__init__()
        self.closing = False
        self.written: list[bytes] = []

    def is_closing(self) -> bool:
        return self.closing

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))


@pytest.mark.parametrize(
    ("n_callers", "n_answers", "n_written"),
    [(1, 1, 1), (2, 1, 0), (2, 2, 2), (5, 4, 0), (5, 5, 5), (100, 7, 0), (100, 8, 8), (100, 9, 8)],
)
def test_answers_wait_for_each_other_in_a_turn(
    n_callers: int, n_answers: int, n_written: int
) -> None:
    async def turn() -> int:
        outbox, loop = Outbox(), asyncio.get_running_loop()
        lines = [Line() for _ in range(n_answers)]
        for number, line in enumerate(lines):
            outbox.put(loop, line, b"%d" % number, n_callers)
        at_once = sum(len(line.written) for line in lines)
        await asyncio.sleep(0)
        assert [line.written for line in lines] == [[b"%d" % at] for at in range(n_answers)]
        return at_once

    assert asyncio.run(turn()) == n_written


def test_turns_follow_each_other() -> None:
    async def turns() -> list[bytes]:
        outbox, loop, line = Outbox(), asyncio.get_running_loop(), Line()
        for number in range(3):
            outbox.put(loop, line, b"%d" % number, 100)
            await asyncio.sleep(0)
        return line.written

    assert asyncio.run(turns()) == [b"0", b"1", b"2"]


def test_who_hung_up_is_left_alone() -> None:
    outbox, gone, there = Outbox(), Line(), Line()
    gone.closing = True

    async def turn() -> None:
        loop = asyncio.get_running_loop()
        outbox.put(loop, gone, b"for nobody", 100)
        outbox.put(loop, there, b"for somebody", 100)
        outbox.empty()

    asyncio.run(turn())
    assert (gone.written, there.written) == ([], [b"for somebody"])
