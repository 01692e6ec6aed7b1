"""What a node remembers, when it is killed, when the disk is full and when bits rot."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from index.shipping.channel_changes import renew
from index.shipping.trust import TrustStore
from index.shipping.trust_errors import (
    TrustStateDamaged,
    TrustStateUnusable,
)
from tests.index.shipping.repository import (
    NOW,
    Repository,
    epoch_of,
    flip,
)

ROOT_FOLDER = Path(__file__).parents[3]


def test_flipped_bits_of_the_record_are_noticed(repository: Repository, node: TrustStore) -> None:
    repository.update(node)
    (path,) = node.folder.iterdir()
    genuine = path.read_bytes()
    rng = random.Random(5)
    for _ in range(200):
        path.write_bytes(flip(genuine, rng.randrange(len(genuine) * 8)))
        with pytest.raises(TrustStateDamaged, match="not what was written"):
            repository.accept(node)
    path.write_bytes(genuine)

    assert repository.accept(node).is_new is False


def test_a_record_that_can_not_be_kept_accepts_nothing(
    repository: Repository, node: TrustStore
) -> None:
    (path,) = node.folder.iterdir()
    genuine = path.read_bytes()
    path.unlink()
    path.mkdir()
    with pytest.raises(TrustStateUnusable):
        repository.accept(node)
    path.rmdir()
    path.write_bytes(genuine)

    assert epoch_of(node) == 0


def test_a_full_disk_accepts_nothing_and_leaves_the_old_floor(
    repository: Repository, node: TrustStore
) -> None:
    """A limit on file sizes stands for the disk: a write fails half way in the same manner."""
    repository.update(node)
    before = {path.name: path.read_bytes() for path in node.folder.iterdir()}
    repository.publish(repository.change(renew))
    (node.folder.parent / "channel.json").write_bytes(repository.served)
    code = f"""
        import resource, signal, sys
        from datetime import datetime
        from pathlib import Path
        from index.shipping.trust import TrustStore
        from index.shipping.trust_errors import TrustStateUnusable
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        node = TrustStore(Path({str(node.folder)!r}))
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
        try:
            node.accept_channel(
                Path({str(node.folder.parent / "channel.json")!r}).read_bytes(),
                brand="toy", channel="stable", now=datetime.fromisoformat({NOW.isoformat()!r}),
            )
        except TrustStateUnusable:
            sys.exit(75)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], cwd=ROOT_FOLDER, check=False
    )

    assert done.returncode == 75
    assert {path.name: path.read_bytes() for path in node.folder.iterdir()} == before


def written(repository: Repository, folder: Path, epochs: range) -> Path:
    """A folder with a file for each of the next epochs."""
    folder.mkdir()
    for epoch in epochs:
        repository.publish(repository.change(renew))
        (folder / f"{epoch}.json").write_bytes(repository.served)
    return folder


def test_killed_while_the_floor_is_written_a_node_wakes_with_the_old_or_the_new(
    repository: Repository, node: TrustStore, tmp_path: Path
) -> None:
    """Twelve times a process that accepts one epoch after the other is killed at some moment."""
    documents = written(repository, tmp_path / "documents", range(2, 602))
    code = f"""
        from datetime import datetime
        from pathlib import Path
        from index.shipping.trust import TrustStore
        node = TrustStore(Path({str(node.folder)!r}))
        last = node.last_channel("toy", "stable")
        for epoch in range(last.epoch + 1 if last else 2, 602):
            print("trying", epoch, flush=True)
            node.accept_channel(
                Path(f"{documents}/{{epoch}}.json").read_bytes(),
                brand="toy", channel="stable", now=datetime.fromisoformat({NOW.isoformat()!r}),
            )
            print("accepted", epoch, flush=True)
    """
    rng = random.Random(11)
    for _ in range(12):
        before = epoch_of(node)
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code)],
            cwd=ROOT_FOLDER,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        # After a few lines it is in the middle of one step or the other.
        lines = [process.stdout.readline() for _ in range(rng.randrange(1, 20))]
        os.kill(process.pid, signal.SIGKILL)
        rest, _ = process.communicate()
        words = [line.split() for line in (*lines, *rest.splitlines())]
        found = epoch_of(TrustStore(node.folder))

        assert process.returncode == -signal.SIGKILL
        accepted = [int(number) for word, number in words if word == "accepted"]
        tried = [int(number) for word, number in words if word == "trying"]
        assert max([before, *accepted]) <= found <= max([before, *tried])


def test_two_processes_never_lower_each_other_s_floor(
    repository: Repository, node: TrustStore, tmp_path: Path
) -> None:
    documents = written(repository, tmp_path / "documents", range(2, 202))
    code = f"""
        import sys
        from datetime import datetime
        from pathlib import Path
        from index.shipping.trust import TrustStore
        from index.shipping.trust_errors import StaleChannel
        node = TrustStore(Path({str(node.folder)!r}))
        print("ready", flush=True)
        sys.stdin.readline()
        n_accepted = 0
        for epoch in range(2, 202):
            try:
                taken = node.accept_channel(
                    Path(f"{documents}/{{epoch}}.json").read_bytes(),
                    brand="toy", channel="stable", now=datetime.fromisoformat({NOW.isoformat()!r}),
                )
            except StaleChannel:
                continue
            n_accepted += taken.is_new
            assert node.last_channel("toy", "stable").epoch >= epoch
        print(n_accepted)
    """
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code)],
            cwd=ROOT_FOLDER,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    accepted = [int(process.communicate()[0]) for process in processes]

    assert [process.returncode for process in processes] == [0, 0]
    # Each epoch is new to one of them at most, and the last one is there at the end.
    assert sum(accepted) <= 200
    assert epoch_of(node) == 201
