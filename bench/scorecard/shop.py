"""The shop that is asked about: its events imported, a snapshot of what came before, orders after.

Where no snapshot is given one is built as of a moment that leaves some days for asking. Customers
who are kept out of learning are in none of its tables, so to the service they are new.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from bench.load.orders import Orders, read_orders
from bench.scorecard.runs import say
from builder.cli import build, moment_us
from builder.config import Config
from builder.effort import Effort
from builder.engine import LOCK_NAME, Engine
from builder.errors import NotWritable
from builder.intake import Imported, Inputs, import_inputs
from builder.progress import on_stderr
from index.errors import SnapshotError, SnapshotNotFound
from index.manifest import Manifest, read_manifest
from index.secret import brand_secret

_MEMORY_BYTES: Final = 4 * 2**30
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What to measure on.

    Attributes:
        events: names and patterns of files.
        items: of the catalogue.
        config_path: an almanac.toml, or None.
        config: read from it and from flags.
        renames: SOURCE=OURS, as flags had them.
        secret_file: with the brand's secret; None for the usual place.
        later_share: of the events' time, kept for asking.
        as_of: the moment the tables stand for, instead.
        effort: of the build.
        folder: where snapshot and intermediate results go.
    """

    events: tuple[str, ...]
    items: tuple[str, ...]
    config_path: Path | None
    config: Config
    renames: tuple[str, ...]
    secret_file: Path | None
    later_share: float
    as_of: str | None
    effort: Effort
    folder: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Shop:
    """A snapshot and the events it is measured on.

    Attributes:
        wish: what was asked for.
        snapshot_dir: the snapshot.
        manifest: its manifest.
        secret: of the brand.
        orders: those after the snapshot's moment.
    """

    wish: Wish
    snapshot_dir: Path
    manifest: Manifest
    secret: bytes
    orders: Orders

    @property
    def as_of_us(self) -> int:
        """The moment the tables stand for, UTC microseconds."""
        return int(self.manifest.data["as_of_us"])


def shop_of(wish: Wish, snapshot_dir: Path | None) -> Shop:
    """Build where there is no snapshot, and read the orders after it.

    Args:
        wish: what to measure on.
        snapshot_dir: what `almanac build --out` wrote; None to build.

    Raises:
        BuildError, InputNotFound, UsageError: see `almanac build`.
        NotWritable: where it is to be built is something that is not ours.
        SnapshotError: what is given is no snapshot.
    """
    secret_file = wish.secret_file or wish.config.brand.secret_file
    secret = brand_secret(
        wish.config.brand.name, secret_file=secret_file, create=snapshot_dir is None
    )
    if snapshot_dir is None:
        snapshot_dir = wish.folder / "snapshot"
        is_replaced = _is_ours(snapshot_dir)
        with engine_of(wish) as engine:
            imported = imported_of(wish, engine, secret)
        as_of = wish.as_of or _as_of(wish, imported)
        if is_replaced:
            shutil.rmtree(snapshot_dir)
        say(f"building a snapshot as of {as_of}")
        # What it found stands in the snapshot's own report.
        with redirect_stdout(StringIO()):
            build(
                events=list(wish.events),
                items=list(wish.items),
                config=wish.config_path,
                rename=list(wish.renames) or None,
                out=snapshot_dir,
                as_of=as_of,
                effort=wish.effort,
                max_bad=wish.config.input.max_bad,
                secret_file=wish.secret_file,
                work=_work_dir(wish),
                keep_work=True,
                force=True,
            )
    manifest = read_manifest(snapshot_dir)
    say("reading the orders after it")
    orders = _orders_since(wish, int(manifest.data["as_of_us"]))
    return Shop(
        wish=wish,
        snapshot_dir=snapshot_dir.absolute(),
        manifest=manifest,
        secret=secret,
        orders=orders,
    )


def imported_of(wish: Wish, engine: Engine, secret: bytes) -> Imported:
    """All events, as a build reads them."""
    inputs = Inputs(events=wish.events, items=wish.items)
    return import_inputs(engine, inputs, wish.config, secret, in_part=True)


@contextmanager
def engine_of(wish: Wish) -> Iterator[Engine]:
    """What runs tasks; those that a build finished are not run again."""
    with Engine(
        _work_dir(wish),
        workers=os.cpu_count() or 1,
        memory_bytes=_MEMORY_BYTES,
        listener=on_stderr(),
    ) as engine:
        yield engine


def check_work(wish: Wish) -> None:
    """Refuse now to work in a folder that no engine made; one that did not end is gone on with.

    Raises:
        NotWritable: such a folder is there.
    """
    folder = _work_dir(wish)
    if folder.exists() and not (folder / LOCK_NAME).exists():
        raise _occupied(folder)


def remove_work(wish: Wish) -> None:
    """Remove what engines left, once nobody asks for it again."""
    shutil.rmtree(_work_dir(wish), ignore_errors=True)


def _work_dir(wish: Wish) -> Path:
    return wish.folder / "work"


def _is_ours(snapshot_dir: Path) -> bool:
    """Whether there is a snapshot, which is replaced; False where there is nothing at all.

    Raises:
        NotWritable: something else is there.
    """
    if snapshot_dir.is_symlink():
        raise _occupied(snapshot_dir)
    try:
        read_manifest(snapshot_dir)
    except SnapshotNotFound:
        return False
    except SnapshotError as problem:
        raise _occupied(snapshot_dir) from problem
    return True


def _occupied(path: Path) -> NotWritable:
    return NotWritable(
        f"{path}: something is there that no scorecard made",
        hint="give another --out",
        path=path,
    )


def _as_of(wish: Wish, imported: Imported) -> str:
    """The shop's midnight that leaves about the wished share of time after it."""
    span_us = imported.last_us - imported.first_us
    cut = _EPOCH + timedelta(microseconds=imported.last_us - round(span_us * wish.later_share))
    return f"{cut.astimezone(ZoneInfo(wish.config.brand.timezone)):%Y-%m-%d}"


def later_orders(wish: Wish) -> tuple[Orders, int]:
    """The last share of the orders, where no snapshot says what is later.

    Returns:
        The orders, and since when there could be some, UTC microseconds.
    """
    since_us = moment_us(wish.as_of, wish.config)
    if since_us is None:
        ts_us = read_orders(wish.events, wish.config).ts_us
        since_us = int(ts_us[-1] - round(int(ts_us[-1] - ts_us[0]) * wish.later_share))
    return _orders_since(wish, since_us), since_us


def _orders_since(wish: Wish, since_us: int) -> Orders:
    remedy = "give later events, an earlier --as-of or a larger --later-share"
    return read_orders(wish.events, wish.config, since_us=since_us, remedy=remedy)
