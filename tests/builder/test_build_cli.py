"""`almanac build` from outside: how it ends when files, folders, disks or data fail it."""

from __future__ import annotations

import json
import os
import random
import stat
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias

import pytest

from almanac import main
from builder.cli import moment_us
from builder.config import load
from builder.engine_cli import memory_from
from builder.errors import UsageError
from index.verify import verify_snapshot
from tests.builder.files import Row, write_rows
from tests.builder.planted_shop import almanac, command, environment

Done: TypeAlias = subprocess.CompletedProcess[str]
FULL_DISK_BYTES = 300 * 2**10
START_US = 1_740_000_000_000_000
HOUR_US = 3_600_000_000


def small_shop(n_customers: int = 40, n_orders: int = 6) -> list[Row]:
    """Everybody buys an item of their own and one of four popular ones."""
    draw = random.Random(5)
    return [
        {
            "ts": str(START_US + (order * n_customers + customer) * HOUR_US),
            "customer_id": f"c{customer}",
            "order_id": f"{customer}-{order}",
            "item_id": item,
        }
        for order in range(n_orders)
        for customer in range(n_customers)
        for item in (f"own-{customer:02d}", f"popular-{draw.randrange(4)}")
    ]


def build_words(orders: Path, out: Path) -> list[str | Path]:
    """The words of a build with one worker and little effort, enough for a small shop."""
    return ["build", "--events", orders, "--out", out, "--workers=1", "--effort=quick"]


def build(orders: Path, out: Path, *more: str) -> Done:
    """Build in processes of its own."""
    return almanac(*build_words(orders, out), *more)


def turned_shop() -> list[Row]:
    """Customers keep to items of their own, until in the last fifth all buy what guests bought."""
    turn = [
        {
            "ts": str(START_US + (6 * 40 + place) * HOUR_US),
            "customer_id": f"c{place}",
            "order_id": f"{place}-turn",
            "item_id": f"popular-{item}",
        }
        for place in range(40)
        for item in range(4)
    ]
    return [*small_shop(), *turn]


@pytest.fixture
def orders(tmp_path: Path) -> Path:
    """A file of orders that builds in a moment."""
    return write_rows(tmp_path / "orders.csv", small_shop())


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Where the snapshot shall be."""
    return tmp_path / "night" / "snapshot"


@pytest.fixture
def build_here(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., Done]:
    """Builds by the front door in this process, which has loaded what it takes; workers are others.

    Takes what `build` takes, and gives what it gives.
    """
    for name in ("ALMANAC_SECRET", "PYTHONWARNINGS"):
        monkeypatch.setenv(name, environment()[name])

    def run(orders: Path, out: Path, *more: str) -> Done:
        words = [*map(str, build_words(orders, out)), *more]
        capfd.readouterr()
        code = main(words)
        said = capfd.readouterr()
        return subprocess.CompletedProcess(words, code, said.out, said.err)

    return run


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """A disk of a given size; calling again resizes it."""
    path = tmp_path / "disk"
    path.mkdir()
    mounted = False

    def sized(n_bytes: int) -> Path:
        nonlocal mounted
        options = f"{'remount,' if mounted else ''}size={n_bytes}"
        made = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "none", str(path)],
            capture_output=True,
            check=False,
        )
        if made.returncode:
            pytest.skip("no disk can be mounted here")
        mounted = True
        return path

    yield sized
    if mounted:
        subprocess.run(["umount", str(path)], check=True)


def test_help_shows_every_flag(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["build", "--help"]) == 0
    shown = capsys.readouterr().out
    for flag in ("--events", "--items", "--offers", "--as-of", "--map", "--work", "--force"):
        assert flag in shown


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["--events", "none-*.csv"], 4, "none-*.csv: no such file"),
        (["--items", "none.csv"], 4, "none.csv: no such file"),
        (["--config", "none.toml"], 4, "none.toml: no such file"),
        (["--events", "."], 4, "is a folder"),
        (["--secret-file", "none"], 2, "the brand secret cannot be read"),
        (["--workers", "0"], 2, "--workers 0 is none"),
        (["--workers", "-3"], 2, "--workers -3 is none"),
        (["--memory", "some"], 2, "--memory 'some' is no size"),
        (["--memory", "1m"], 2, "--memory 1m is too little"),
        (["--as-of", "soon"], 2, "--as-of 'soon' is no time"),
        (["--map", "item_id"], 2, "--map 'item_id' is no rename"),
        (["--map", "a=session_id", "a=order_id"], 2, "--map renames a twice"),
        (["--target", "hope"], 2, "hope"),
        (["--max-bad", "7"], 2, "max_bad"),
        (["--seed", "-1"], 2, "seed"),
        (["--out", "."], 2, "something is there already"),
        (["--out", "orders.csv"], 2, "something is there already"),
        (["--out", "orders.csv/snapshot"], 2, "no folder can be made there"),
        (["--work", "orders.csv"], 2, "no work folder can be made there"),
        (["--target", "view"], 5, "none of the events is a view"),
        (["--as-of", "2020-01-01"], 5, "no accepted event lies before"),
    ],
    ids=lambda value: "=".join(value) if isinstance(value, list) else None,
)
def test_what_cannot_be_done_is_said_in_a_sentence(
    words: list[str],
    code: int,
    sentence: str,
    orders: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(orders.parent)
    monkeypatch.setenv("ALMANAC_SECRET", "a secret of tests, 32 bytes long")
    given = {"--events": ["orders.csv"], "--out": ["night/snapshot"]}
    given[words[0]] = words[1:]
    flags = [word for flag, values in given.items() for word in (flag, *values)]

    assert main(["build", *flags]) == code
    said = capfd.readouterr().err.splitlines()
    assert sentence in next(line for line in said if line.startswith("error: "))
    assert not Path("night/snapshot").exists()


def test_bad_rows_stop_the_build_and_are_written_down(
    build_here: Callable[..., Done], orders: Path, out: Path
) -> None:
    rows = [*small_shop(), {**small_shop()[0], "ts": "yesterday"}]
    write_rows(orders, rows)
    config = orders.with_name("almanac.toml")
    config.write_text('[brand]\nname = "my shop"\n')
    done = build_here(orders, out, "--config", str(config))

    assert done.returncode == 5
    assert not out.exists()
    assert "'my shop' can be built and served, but not published" in done.stderr
    quarantine = out.parent / ".snapshot.work" / "quarantine.csv"
    assert str(quarantine) in done.stderr
    assert "yesterday" in quarantine.read_text()


def test_bad_rows_that_are_few_are_kept_beside_the_snapshot(
    build_here: Callable[..., Done], orders: Path, out: Path
) -> None:
    write_rows(orders, [*small_shop(), {**small_shop()[0], "ts": "yesterday"}])
    done = build_here(orders, out, "--max-bad=0.01")

    assert done.returncode == 0
    kept = out.with_name("snapshot.quarantine.csv")
    assert done.stdout.splitlines()[-1] == f"bad rows: {kept} (1)"
    assert "yesterday" in kept.read_text()
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert sorted(out.parent.iterdir()) == [out, kept]


def test_tables_worse_than_popularity_do_not_ship_unless_forced(
    build_here: Callable[..., Done], tmp_path: Path, out: Path
) -> None:
    orders = write_rows(tmp_path / "orders.csv", turned_shop())
    refused = build_here(orders, out)

    assert refused.returncode == 5
    assert "warm customers: NDCG@10 is worse than default" in refused.stderr
    assert "--force" in refused.stderr
    assert [path.name for path in out.parent.iterdir()] == [".snapshot.work"]

    forced = build_here(orders, out, "--force", "--json")
    verdict = json.loads(forced.stdout)["report"]["verdict"]
    assert forced.returncode == 0
    assert not verdict["passed"]
    assert verdict["reasons"][0] in refused.stderr
    assert list(out.parent.iterdir()) == [out]


def test_a_full_disk_is_said_and_the_next_run_goes_on(
    orders: Path, tiny_disk: Callable[[int], Path]
) -> None:
    out = tiny_disk(FULL_DISK_BYTES) / "snapshot"
    stopped = build(orders, out)
    assert stopped.returncode == 75
    assert "no space left on the disk" in stopped.stderr
    assert "Traceback" not in stopped.stderr
    assert [path.name for path in out.parent.iterdir()] == [".snapshot.work"]

    tiny_disk(2**26)
    finished = build(orders, out)
    assert finished.returncode == 0
    assert "from an earlier run" in finished.stderr
    assert list(verify_snapshot(out, deep=True))


def test_of_two_builds_into_one_place_one_ships(orders: Path, out: Path, tmp_path: Path) -> None:
    words = build_words(orders, out)
    apart = [*words, "--work", tmp_path / "apart"]
    first, second, third = [
        subprocess.Popen(command(said), env=environment(), stderr=subprocess.PIPE, text=True)
        for said in (words, words, apart)
    ]
    said = {build.communicate()[1]: build.returncode for build in (first, second, third)}

    codes = [build.returncode for build in (first, second, third)]
    assert codes.count(0) == 1
    assert 6 in {first.returncode, second.returncode}
    assert not any("Traceback" in text for text in said)
    assert list(verify_snapshot(out, deep=True))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_said(orders: Path, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)

    done = build(orders, closed / "snapshot")
    assert done.returncode == 2
    assert "may not be written to" in done.stderr


def test_a_moment_without_offset_is_in_the_brands_time_zone() -> None:
    vienna = load(None, {"brand.timezone": "Europe/Vienna"})
    summer = datetime(2025, 6, 30, 22, tzinfo=UTC)

    assert moment_us("2025-07-01", vienna) == round(summer.timestamp()) * 1_000_000
    assert moment_us("2025-06-30T22:00:00.000001Z", vienna) == (
        round(summer.timestamp()) * 1_000_000 + 1
    )
    assert moment_us(None, vienna) is None


@pytest.mark.parametrize("text", ["", "2025-13-01", "0001-01-01", "9999-12-31T23:59:59-05:00"])
def test_a_moment_that_is_none_is_refused(text: str) -> None:
    vienna = load(None, {"brand.timezone": "Asia/Tokyo"})

    with pytest.raises(UsageError, match="is no time"):
        moment_us(text, vienna)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("512MiB", 2**29),
        ("512m", 2**29),
        ("1.5 g", 3 * 2**29),
        ("1073741824", 2**30),
        ("1T", 2**40),
    ],
)
def test_sizes_are_read_as_people_write_them(text: str, size: int) -> None:
    assert memory_from(text) == size


@pytest.mark.parametrize("text", ["", "4 gigs", "-1g", "1e9", "511m"])
def test_no_size_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--memory"):
        memory_from(text)
