"""Input files of every format, and what an import makes of them."""

from __future__ import annotations

import atexit
import csv
import gzip
import io
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import duckdb
import numpy as np
import zstandard

from builder.config import Config, load
from builder.duck import literal
from builder.engine import Engine
from builder.intake import Imported, Inputs, import_inputs
from builder.progress import Listener

Row: TypeAlias = Mapping[str, str]
SECRET = b"a secret of tests, 32 bytes long"
NOW_US = 1_800_000_000_000_000  # 2027-01-15
FORMATS = ("csv", "csv.gz", "csv.zst", "jsonl", "jsonl.gz", "jsonl.zst", "parquet")


@cache
def _database() -> duckdb.DuckDBPyConnection:
    # What is left to the interpreter's last moments is told by DuckDB's bindings as leaked.
    atexit.register(_database.cache_clear)
    return duckdb.connect()


def connected() -> duckdb.DuckDBPyConnection:
    """A connection to the tests' own database: one for all, since each takes its time to start.

    What is made over it must be temporary, and is gone when it is closed.
    """
    return _database().cursor()


def write_rows(path: Path, rows: Sequence[Row]) -> Path:
    """Write rows of text, every row with the same columns, in the format of the path's name."""
    if path.suffix == ".parquet":
        with connected() as connection:
            table = {name: np.array([r[name] for r in rows], dtype=object) for name in rows[0]}
            connection.register("rows", table)
            columns = ", ".join(f'"{name}"::VARCHAR AS "{name}"' for name in rows[0])
            connection.execute(
                f"COPY (SELECT {columns} FROM rows) TO {literal(path)} (FORMAT parquet)"
            )
        return path
    text = csv_text(rows) if ".csv" in path.name else json_text(rows)
    path.write_bytes(packed(path, text.encode()))
    return path


def packed(path: Path, content: bytes) -> bytes:
    """The content, compressed as the path's name says."""
    if path.suffix == ".gz":
        return gzip.compress(content, mtime=0)
    return zstandard.compress(content) if path.suffix == ".zst" else content


def csv_text(rows: Sequence[Row], delimiter: str = ",") -> str:
    """The rows as CSV with a header."""
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def json_text(rows: Sequence[Row]) -> str:
    """The rows as lines of JSON."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def settings(**overrides: object) -> Config:
    """Defaults but for one partition and little effort, with `section__name=value`."""
    given = {name.replace("__", "."): value for name, value in overrides.items()}
    return load(None, {"input.partitions": 1, "learn.effort": "quick", **given})


def import_files(
    work_dir: Path,
    *events: Path,
    items: Sequence[Path] = (),
    offers: Sequence[Path] = (),
    config: Config | None = None,
    now_us: int = NOW_US,
) -> Imported:
    """Import in this process; the engine's own tests start others."""
    inputs = Inputs(events=events, items=tuple(items), offers=tuple(offers))
    with in_threads(work_dir) as engine:
        return import_inputs(engine, inputs, config or settings(), SECRET, now_us=now_us)


def in_threads(work_dir: Path) -> Engine:
    """An engine that runs tasks in this process."""
    return Engine(
        work_dir,
        workers=1,
        memory_bytes=2**30,
        listener=Listener(),
        executor=lambda: ThreadPoolExecutor(1),
    )


def query(sql: str) -> list[tuple[Any, ...]]:
    """Rows of a query over files."""
    with connected() as connection:
        rows: list[tuple[Any, ...]] = connection.execute(sql).fetchall()
    return rows


def events_of(imported: Imported, columns: str = "*") -> list[tuple[Any, ...]]:
    """The canonical events, in the order of their lines."""
    paths = [str(path) for path in imported.events]
    return query(f"SELECT {columns} FROM read_parquet({paths}) ORDER BY line")


def vocabulary_of(imported: Imported, table: str, columns: str = "*") -> list[tuple[Any, ...]]:
    """A table of the vocabulary, in the order of its file."""
    return query(f"SELECT {columns} FROM '{imported.vocabulary_dir / table}.parquet'")


def rules_of(imported: Imported, table: str = "events") -> dict[str, int]:
    """Rule name to rows, from the report."""
    return {entry["rule"]: entry["rows"] for entry in imported.report[table]["rules"]}
