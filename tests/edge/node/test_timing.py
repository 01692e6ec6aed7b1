"""When nodes do what all of them do, and when answers that fail are too many."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from edge.cells import blank_rows, row_of
from edge.counters import Counters
from edge.node.folder import NodeFolder
from edge.node.guard import Guard
from edge.node.scrub import PIECE_BYTES, Scrub
from edge.node.timing import pause_s, place_of
from index.manifest import FileEntry
from tests.index.shipping.origins import digest


@given(poll_s=st.floats(0.05, 3600), node=st.text(max_size=20), n_failed=st.integers(0, 10_000))
def test_a_pause_keeps_near_what_was_asked_for_and_has_an_end(
    poll_s: float, node: str, n_failed: int
) -> None:
    pause = pause_s(poll_s, node, n_failed)

    assert 0.9 * poll_s <= pause <= 1.1 * max(poll_s, 60)
    assert pause_s(poll_s, node, 0) <= 1.1 * poll_s
    assert pause <= pause_s(poll_s, node, n_failed + 1)


def test_the_nodes_of_a_fleet_spread_evenly_and_otherwise_for_each_snapshot() -> None:
    """Case 18."""
    places = {what: [place_of(f"node-{n}", what) for n in range(2000)] for what in ("a", "b")}

    for found in places.values():
        tenths = [sum(tenth <= 10 * place < tenth + 1 for place in found) for tenth in range(10)]
        assert sum(tenths) == 2000
        assert all(140 < n < 260 for n in tenths)  # 200 each, within 4.5 deviations
    assert places["a"] != places["b"]


def answered(rows: memoryview, slot: int, codes: list[int]) -> None:
    counters = Counters(row_of(rows, slot))
    for code in codes:
        counters.arrived()
        counters.answered(code)


def test_the_guard_speaks_up_for_many_failures_and_a_share_of_them() -> None:
    rows = blank_rows(2)
    answered(rows, 0, [500] * 100)
    guard = Guard(rows, 2)
    assert guard.breach() is None  # they failed before it looked

    answered(rows, 0, [500] * 10 + [422] * 50)
    answered(rows, 1, [500] * 9)
    assert guard.breach() is None  # too few to tell
    answered(rows, 1, [500])
    assert guard.breach() == "20 of 70 answers failed while it was watched"
    answered(rows, 1, [200] * 331)
    assert guard.breach() is None  # 20 of 401: less than one in twenty
    answered(rows, 1, [500] * 2)
    assert guard.breach() is not None
    guard.begin()
    assert guard.breach() is None


def test_a_scrub_reads_all_pieces_tells_damage_and_begins_again_after_a_lap(
    tmp_path: Path,
) -> None:
    folder, now = NodeFolder(tmp_path), 0.0
    folder.make()
    entries = []
    for name, data in (("sound", bytes(3 * PIECE_BYTES)), ("rotten", bytes(PIECE_BYTES + 1))):
        sha256 = digest(data)
        folder.object(sha256).write_bytes(data)
        entries.append(FileEntry(name=name, size=len(data), sha256=sha256))
    rotten = folder.object(entries[1].sha256)
    rotten.write_bytes(b"1" + rotten.read_bytes()[1:])
    scrub = Scrub(folder, lap_s=10, clock=lambda: now)

    def lap() -> list[FileEntry]:
        steps = [scrub.step("monday", lambda: entries) for _ in range(12)]
        return [found for found in steps if found]

    assert lap() == [entries[1]]
    assert lap() == []
    now = 10.0
    rotten.unlink()  # what is gone can't be read either
    assert lap() == [entries[1]]
    assert [scrub.step("tuesday", lambda: entries[:1]) for _ in range(9)] == [None] * 9
