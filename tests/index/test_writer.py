"""Writing: the directory appears whole or not at all, whatever happens on the way."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from index.errors import Forestalled, WriteFailed
from index.snapshot import open_snapshot
from index.verify import verify_snapshot
from index.writer import SnapshotWriter
from tests.toys import AS_OF_US, BINDING, SECRET, toy_model, toy_offer, write_toy

ROOT = Path(__file__).parents[2]

# Kills the writer at its first, second, … file operation until one run comes to its end. What is
# heavy is imported once; what must not be forked, our own modules, is imported by each child.
KILL_EVERYWHERE = """
import os, shutil, signal, sys
from pathlib import Path
import cyclopts, faiss, lmdb, lmdb.verify, msgpack, msgspec.json, numpy, orjson

folder = Path(sys.argv[1])
for stop in range(1, 1000):
    child = os.fork()
    if child == 0:
        from tests.toys import write_toy
        steps = 0
        def watch(event, arguments):
            global steps
            if arguments and str(arguments[0]).startswith(str(folder)):
                steps += 1
                if steps == stop:
                    os.kill(os.getpid(), signal.SIGKILL)
        sys.addaudithook(watch)
        write_toy(folder / "snapshot")
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    if (folder / "snapshot").exists():
        (folder / "snapshot").rename(folder / f"whole-{stop}")
    for rest in folder.glob(".snapshot.*"):
        shutil.rmtree(rest)
    if os.WIFEXITED(status):
        print(stop - 1, os.waitstatus_to_exitcode(status))
        break
"""


def test_a_writer_killed_anywhere_leaves_a_whole_snapshot_or_none(tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILL_EVERYWHERE, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    n_killed, ended = map(int, done.stdout.split())
    whole = sorted(tmp_path.glob("whole-*"))

    assert ended == 0
    assert n_killed > 30
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in whole}
    assert f"whole-{n_killed + 1}" in {path.name for path in whole}
    for path in whole:
        assert list(verify_snapshot(path, deep=True))


def test_files_are_read_only_and_nothing_else_is_there(toy_dir: Path) -> None:
    names = sorted(path.name for path in toy_dir.iterdir())

    assert names == [
        "contexts.lmdb",
        "customers.lmdb",
        "items.lmdb",
        "manifest.json",
        "model.msgpack",
        "offers.faiss",
        "offers.lmdb",
    ]
    assert {path.stat().st_mode & 0o777 for path in toy_dir.iterdir()} == {0o444}


@pytest.mark.parametrize("make", [Path.mkdir, Path.touch])
def test_nothing_is_written_over(tmp_path: Path, make: object) -> None:
    out = tmp_path / "out"
    make(out)  # type: ignore[operator]

    with pytest.raises(Forestalled, match="something is there already"):
        write_toy(out)
    assert list(tmp_path.iterdir()) == [out]


def test_of_two_writers_the_first_to_end_wins(tmp_path: Path) -> None:
    """Case 7."""
    out = tmp_path / "out"
    late = SnapshotWriter(out, binding=BINDING)
    write_toy(out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}

    with late, pytest.raises(Forestalled, match="something is there already"):
        late.publish(open_snapshot(out).manifest, {})
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert list(tmp_path.iterdir()) == [out]


def test_what_a_killed_writer_left_is_removed_and_a_living_one_is_left_alone(
    tmp_path: Path,
) -> None:
    dead, other = tmp_path / ".out.writing-1", tmp_path / ".out-2.writing-1"
    dead.mkdir()
    (dead / "items.lmdb").write_bytes(b"half a table")
    other.mkdir()
    file = tmp_path / ".out.writing-notes"
    file.touch()

    with SnapshotWriter(tmp_path / "out", binding=BINDING) as living:
        assert not dead.exists()
        # Another container may know the living writer by another number.
        elsewhere = living.aside.rename(tmp_path / ".out.writing-4194305")
        write_toy(tmp_path / "out")
        assert elsewhere.exists()

    write_toy(tmp_path / "out-2")
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"out", "out-2", file.name, elsewhere.name}


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(WriteFailed, match="no directory can be made"):
        write_toy(tmp_path / "file" / "out")


def test_records_that_fail_leave_nothing(tmp_path: Path) -> None:
    twice = {3: toy_offer(2)}

    with pytest.raises(WriteFailed, match="key 00000002 does not follow 00000002"):
        write_toy(tmp_path / "out", offers=twice)
    assert list(tmp_path.iterdir()) == []


def test_reports_are_listed_but_do_not_change_the_model_id(tmp_path: Path, toy_dir: Path) -> None:
    write_toy(tmp_path / "plain")
    write_toy(tmp_path / "told", reports={"report.json": b"{}", "report.html": b"<p>"})
    with open_snapshot(tmp_path / "plain") as plain, open_snapshot(tmp_path / "told") as told:
        assert plain.model_id == told.model_id
        assert [entry.name for entry in told.manifest.reports] == ["report.html", "report.json"]
    (tmp_path / "told" / "report.html").chmod(0o644)
    (tmp_path / "told" / "report.html").write_bytes(b"<b>")

    with pytest.raises(Exception, match="sha256"):
        list(verify_snapshot(tmp_path / "told"))


def test_an_unknown_report_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WriteFailed, match=r"notes\.txt is no report file"):
        write_toy(tmp_path / "out", reports={"notes.txt": b""})
    assert list(tmp_path.iterdir()) == []


def test_customers_may_lie_in_shards(tmp_path: Path) -> None:
    write_toy(tmp_path / "one")
    write_toy(tmp_path / "four", model=toy_model(n_shards=4))
    names = sorted(path.name for path in (tmp_path / "four").glob("customers*"))
    with (
        open_snapshot(tmp_path / "one", SECRET) as one,
        open_snapshot(tmp_path / "four", SECRET) as four,
    ):
        for generation in (one, four):
            reader = generation.enter()
            orders = [
                record.n_orders
                for name in ("ann", "bob", "eve")
                if (record := reader.customer(generation.key_of(name) or b"")) is not None
            ]
            generation.leave(reader)
            assert orders == [9, 1]

    assert names == [f"customers-{shard:03d}.lmdb" for shard in range(4)]


def test_the_name_is_the_moment_and_the_model(toy_dir: Path) -> None:
    with open_snapshot(toy_dir) as generation:
        assert generation.manifest.data == {"as_of_us": AS_OF_US}
        assert generation.snapshot_id == f"20251201T0000Z-{generation.model_id[:12]}"
