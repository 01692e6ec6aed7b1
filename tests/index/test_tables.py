"""Tables: written in order or not at all, opened whole or not at all, shared by all openers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from index.errors import Corrupt, Incomplete, Mixed, NotASnapshot, WriteFailed, WrongVersion
from index.layout import CONTEXTS, CUSTOMERS, OFFERS, row_key
from index.tables import Table, TableError, TableWriter, structure_problems, table_facts
from tests.toys import BINDING

Records = list[tuple[bytes, bytes]]
ROOT = Path(__file__).parents[2]


def rows(n: int, size: int = 100) -> Records:
    return [(row_key(row), bytes([row % 251]) * size) for row in range(n)]


def write(path: Path, records: Records, *, kind: int = OFFERS, binding: bytes = BINDING) -> Path:
    with TableWriter(path, kind=kind, binding=binding, capacity_bytes=1 << 20) as writer:
        writer.append(records)
        writer.finish(len(records))
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "table.lmdb"


@pytest.fixture
def table(path: Path) -> Iterator[Table]:
    opened = Table(write(path, rows(5000)), kind=OFFERS)
    yield opened
    opened.close()


def test_every_record_is_read_back_in_order(table: Table) -> None:
    reader = table.reader()

    assert list(reader.records()) == rows(5000)
    assert reader.get(row_key(5000)) is None
    assert table.facts.entries == 5000
    assert table.binding == BINDING
    reader.close()


def test_a_table_may_be_empty(path: Path) -> None:
    assert table_facts(write(path, [])).entries == 0


def test_values_may_be_longer_than_a_page(path: Path) -> None:
    table = Table(write(path, rows(3, size=70_000)), kind=OFFERS)
    reader = table.reader()
    table.prove()

    assert list(reader.records()) == rows(3, size=70_000)
    reader.close()
    table.close()


@pytest.mark.parametrize(
    ("records", "complaint"),
    [
        pytest.param([rows(3)[1], rows(3)[0]], "key 00000000 does not follow 00000001", id="falls"),
        pytest.param([rows(1)[0], rows(1)[0]], "key 00000000 does not follow 00000000", id="again"),
        pytest.param([(b"\1\2\3", b"")], "key 010203 does not follow the start", id="short key"),
        pytest.param([(bytes(5), b"")], "key 0000000000 does not follow", id="long key"),
        pytest.param([(b"", b"")], "key  does not follow the start", id="empty key"),
    ],
)
def test_records_out_of_order_are_refused(path: Path, records: Records, complaint: str) -> None:
    """Case 2."""
    with (
        pytest.raises(WriteFailed, match=complaint),
        TableWriter(path, kind=OFFERS, binding=BINDING, capacity_bytes=1 << 20) as writer,
    ):
        writer.append(records)


def test_order_is_also_kept_across_calls(path: Path) -> None:
    with TableWriter(path, kind=OFFERS, binding=BINDING, capacity_bytes=1 << 20) as writer:
        writer.append(rows(2000))
        with pytest.raises(WriteFailed, match="does not follow"):
            writer.append(rows(1))


@pytest.mark.parametrize("expected", [0, 4, 6])
def test_a_wrong_count_is_refused(path: Path, expected: int) -> None:
    """Case 2."""
    with TableWriter(path, kind=OFFERS, binding=BINDING, capacity_bytes=1 << 20) as writer:
        writer.append(rows(5))
        with pytest.raises(WriteFailed, match=f"expected {expected} records, 5 were added"):
            writer.finish(expected)


def test_what_was_not_finished_is_no_table(path: Path) -> None:
    with TableWriter(path, kind=OFFERS, binding=BINDING, capacity_bytes=1 << 20) as writer:
        writer.append(rows(5))

    with pytest.raises(NotASnapshot, match="not a table of ours"):
        Table(path, kind=OFFERS)


def test_more_than_the_capacity_is_refused(path: Path) -> None:
    with (
        pytest.raises(WriteFailed, match="LMDB refused records"),
        TableWriter(path, kind=OFFERS, binding=BINDING, capacity_bytes=1) as writer,
    ):
        writer.append((row_key(row), bytes(1 << 20)) for row in range(40))


def test_a_table_is_never_written_over(path: Path) -> None:
    before = write(path, rows(5)).read_bytes()

    with pytest.raises(WriteFailed, match="is there already"):
        TableWriter(path, kind=OFFERS, binding=BINDING, capacity_bytes=1)
    assert path.read_bytes() == before


def test_a_missing_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(WriteFailed, match="LMDB cannot make it"):
        TableWriter(tmp_path / "no" / "t", kind=OFFERS, binding=BINDING, capacity_bytes=1)


@pytest.mark.parametrize("size_kib", [4, 8, 64])
def test_a_full_disk_leaves_no_table(small_disk: Callable[[int], Path], size_kib: int) -> None:
    """Case 1."""
    path = small_disk(size_kib) / "t.lmdb"

    with pytest.raises(WriteFailed):
        write(path, rows(1000))
    if path.exists():
        with pytest.raises((NotASnapshot, Incomplete, Corrupt)):
            Table(path, kind=OFFERS)


def test_the_same_records_give_the_same_bytes(tmp_path: Path) -> None:
    one, other = (write(tmp_path / name, rows(500)) for name in ("a", "b"))

    assert one.read_bytes() == other.read_bytes()


def test_a_table_s_bytes_do_not_depend_on_how_it_was_appended(tmp_path: Path) -> None:
    whole, records = write(tmp_path / "whole", rows(2500)), rows(2500)
    with TableWriter(
        tmp_path / "parts", kind=OFFERS, binding=BINDING, capacity_bytes=1 << 20
    ) as writer:
        for start in range(0, 2500, 700):
            writer.append(records[start : start + 700])
        writer.finish(2500)

    assert (tmp_path / "parts").read_bytes() == whole.read_bytes()


def test_one_file_may_be_open_many_times(path: Path, tmp_path: Path) -> None:
    """Case 30."""
    linked = tmp_path / "linked.lmdb"
    linked.hardlink_to(write(path, rows(3)))
    tables = [Table(name, kind=OFFERS) for name in (path, linked, path)]
    last = tables.pop().reader()

    for table in tables:
        table.close()
        table.close()  # closing twice gives back once
    assert list(last.records()) == rows(3)
    last.close()


def test_a_replaced_file_is_another_table(path: Path, tmp_path: Path) -> None:
    old = Table(write(path, rows(3)), kind=OFFERS)
    write(tmp_path / "new", rows(4)).replace(path)
    new = Table(path, kind=OFFERS)

    assert (old.facts.entries, new.facts.entries) == (3, 4)
    reader = old.reader()
    assert list(reader.records()) == rows(3)
    reader.close()
    old.close()
    new.close()


CUTS = [1, 100, 4095, 4096, 4097, 8191, 8192, 8193, 12_288, 20_480, 100_000, 300_000]

OPEN_CUT = """
import sys
from pathlib import Path
from index.errors import SnapshotError
from index.layout import OFFERS
from index.tables import Table
for name in sys.argv[1:]:
    try:
        Table(Path(name), kind=OFFERS).prove()
    except SnapshotError as error:
        print(type(error).__name__)
    else:
        print("opened")
"""


def test_a_table_cut_anywhere_is_refused_before_it_can_kill(path: Path, tmp_path: Path) -> None:
    size = write(path, rows(5000)).stat().st_size
    cut_paths = []
    for cut in (*CUTS, size - 4096, size - 1):
        cut_paths.append(tmp_path / f"cut-{cut}")
        shutil.copyfile(path, cut_paths[-1])
        os.truncate(cut_paths[-1], cut)
    command = [sys.executable, "-c", OPEN_CUT, *map(str, cut_paths)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)

    answers = done.stdout.split()
    assert len(answers) == len(cut_paths)
    assert set(answers) <= {"Incomplete", "Corrupt"}
    # Once both meta pages are there, LMDB itself sees nothing wrong: our own check must.
    assert set(answers[CUTS.index(8192) :]) == {"Incomplete"}


def test_what_is_no_lmdb_file_at_all_has_a_problem_too(path: Path, tmp_path: Path) -> None:
    sound = write(path, rows(5)).read_bytes()
    for number, data in enumerate((b"", b"no table", bytes(3 * 4096), sound[:5000])):
        broken = tmp_path / str(number)
        broken.write_bytes(data)

        assert structure_problems(broken)
    assert structure_problems(path) == []


def test_pages_cut_away_after_opening_are_found_by_proving(path: Path) -> None:
    table = Table(write(path, rows(5000)), kind=OFFERS)
    os.truncate(path, path.stat().st_size - 40_960)

    with pytest.raises(Incomplete, match="a mapped page cannot be read"):
        table.prove()
    table.close()


def test_an_empty_file_is_incomplete(path: Path) -> None:
    path.touch()

    with pytest.raises(Incomplete, match="is empty"):
        Table(path, kind=OFFERS)


def test_a_missing_file_is_incomplete(path: Path) -> None:
    with pytest.raises(Incomplete, match="is missing"):
        Table(path, kind=OFFERS)


def test_another_program_s_file_is_corrupt(path: Path) -> None:
    path.write_bytes(b"PAR1" * 10_000)

    with pytest.raises(Corrupt, match="no readable LMDB file"):
        Table(path, kind=OFFERS)


def test_a_table_of_another_kind_is_mixed(path: Path) -> None:
    write(path, [], kind=CONTEXTS)

    with pytest.raises(Mixed, match=f"kind {CONTEXTS} under the name of kind {CUSTOMERS}"):
        Table(path, kind=CUSTOMERS)


def changed(path: Path, old: bytes, new: bytes) -> Path:
    """The file with its only occurrence of some bytes replaced."""
    data = path.read_bytes()
    assert data.count(old) == 1
    path.write_bytes(data.replace(old, new))
    return path


def test_an_unknown_table_version_is_said(path: Path) -> None:
    changed(write(path, rows(3)), b"ALMT\1\0", b"ALMT\2\0")

    with pytest.raises(WrongVersion, match="table format 2, this reader knows 1"):
        Table(path, kind=OFFERS)


def test_a_foreign_lmdb_file_is_no_table(path: Path) -> None:
    changed(write(path, rows(3)), b"ALMT", b"OTHR")

    with pytest.raises(NotASnapshot, match="not a table of ours"):
        Table(path, kind=OFFERS)


def test_a_longer_file_is_still_readable(path: Path) -> None:
    """What is appended is the manifest's business: LMDB reads up to its last page."""
    with write(path, rows(3)).open("ab") as file:
        file.write(b"x" * 5000)
    table = Table(path, kind=OFFERS)
    table.prove()

    assert table.facts.entries == 3
    table.close()


def test_a_hole_makes_reads_fail_until_the_transaction_is_renewed(path: Path) -> None:
    table = Table(write(path, rows(5000)), kind=OFFERS)
    reader = table.reader()
    page = path.read_bytes().index(bytes([100]) * 100) // 4096
    with path.open("r+b") as file:
        file.seek(page * 4096)
        file.write(bytes(4096))

    with pytest.raises(TableError):
        reader.get(row_key(100))
    with pytest.raises(TableError):
        reader.get(row_key(4000))
    reader.renew()
    assert list(reader.get(row_key(4000)) or b"") == [4000 % 251] * 100
    assert structure_problems(path)
    reader.close()
    table.close()


def test_a_sound_table_has_no_structure_problems(path: Path) -> None:
    assert structure_problems(write(path, rows(5000))) == []


def test_a_forked_process_opens_no_table(path: Path) -> None:
    """Case 31."""
    write(path, rows(3))
    code = f"""
import os, sys
from pathlib import Path
from index.errors import Corrupt
from index.layout import OFFERS
from index.tables import Table
child = os.fork()
if child == 0:
    try:
        Table(Path({str(path)!r}), kind=OFFERS)
    except Corrupt as error:
        os._exit(0 if "forked" in str(error) else 8)
    os._exit(9)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
