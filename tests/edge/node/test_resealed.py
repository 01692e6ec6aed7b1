"""Damaged tables with the right digests, as a bad builder with a good key would publish them."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from edge.errors import NotProved
from edge.node.prove import prove
from index.layout import MANIFEST_NAME
from index.manifest import Manifest, encode_manifest, model_id, read_manifest
from tests.edge.node.trials import Trial
from tests.edge.node.world import World
from tests.index.shipping.origins import digest
from tests.mutants import N_MUTANTS, mutants
from tests.toys import N_OFFERS, SECRET

ROOT = Path(__file__).parents[3]
N_RESEALED = N_MUTANTS - round(0.95 * N_MUTANTS)
LEAF = 2 * 4096
"""Where the only page with records begins."""


def resealed(manifest: Manifest, name: str, data: bytes) -> Manifest:
    """A manifest that promises these bytes under that name, and else what it promised before."""
    files = [
        replace(entry, size=len(data), sha256=digest(data)) if entry.name == name else entry
        for entry in manifest.files
    ]
    return replace(manifest, files=files, model_id=model_id(files))


@pytest.fixture
def secret_file(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_bytes(SECRET)
    return path


@contextmanager
def trials(secret_file: Path) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-m", "tests.edge.node.trials", str(secret_file)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


def tried(process: subprocess.Popen[str], path: Path) -> Trial:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{path}\n")
    process.stdin.flush()
    return msgspec.json.decode(process.stdout.readline(), type=Trial)


def test_case_25_damage_that_was_signed_is_found_by_the_trial_or_harms_no_worker(
    first_night: World, tmp_path: Path, secret_file: Path
) -> None:
    """Each file in turn is damaged, or is another snapshot's; the manifest agrees with it.

    Promised is that what passes the trial neither kills who answers from it nor raises. That a
    legal number became another legal number nobody can tell whose signature is right, unless a
    golden decision depends on it: such answers may differ, and are only counted.
    """
    genuine, other = first_night.built("a"), first_night.built("b")
    manifest = read_manifest(genuine)
    names = [entry.name for entry in manifest.files]
    rng = random.Random(13)
    copies = {name: mutants(rng, (genuine / name).read_bytes()) for name in names}
    path = tmp_path / "snapshot"
    shutil.copytree(genuine, path, copy_function=shutil.copyfile)
    outcomes: Counter[str] = Counter()
    with trials(secret_file) as process:
        sound = tried(process, path)
        for number in range(N_RESEALED):
            name = names[number % len(names)]
            way, data = next(copies[name])
            if number % 10 == 0:
                way, data = "another's", (other / name).read_bytes()
            (path / name).write_bytes(data)
            (path / MANIFEST_NAME).write_bytes(encode_manifest(resealed(manifest, name, data)))
            trial = tried(process, path)
            (path / name).write_bytes((genuine / name).read_bytes())
            told = (number, name, way, trial)
            assert trial.defect == "", told
            if trial.verdict is None:
                outcomes["died of it"] += 1
                assert trial.signal != "", told
                continue
            assert trial.signal == "", told
            outcomes[trial.verdict.outcome] += 1
            if trial.verdict.outcome == "proved":
                assert len(trial.answers) == len(sound.answers), told
                outcomes["other answers"] += trial.answers != sound.answers
                outcomes["damage met"] += trial.n_damaged > 0
            else:
                assert trial.verdict.what, told

    refused = outcomes["bad"] + outcomes["unfit"] + outcomes["died of it"]
    assert sound.verdict is not None
    assert (sound.verdict.outcome, sound.n_damaged) == ("proved", 0)
    assert refused + outcomes["proved"] == N_RESEALED
    assert refused > 0.4 * N_RESEALED
    assert outcomes["died of it"] < 0.02 * N_RESEALED


def test_case_25_a_table_whose_pages_lead_astray_is_not_proved(
    first_night: World, tmp_path: Path, secret_file: Path
) -> None:
    """A page that no golden decision reads: it would kill the first worker that is asked for it."""
    path = tmp_path / "snapshot"
    shutil.copytree(first_night.built("a"), path, copy_function=shutil.copyfile)
    table = path / "items.lmdb"
    data = bytearray(table.read_bytes())
    # The page begins with 16 bytes and two more for the place of each record: the last five
    # records now lie beyond the page, and beyond the file.
    end = LEAF + 16 + 2 * (1 + N_OFFERS)
    data[end - 10 : end] = b"\xf0\xff" * 5
    table.write_bytes(data)
    manifest = resealed(read_manifest(path), "items.lmdb", bytes(data))
    (path / MANIFEST_NAME).write_bytes(encode_manifest(manifest))

    with pytest.raises(NotProved, match=r"items\.lmdb: "):
        prove(path, secret_file=secret_file, max_private_bytes=1 << 30)
