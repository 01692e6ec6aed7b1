"""The one way to open DuckDB in a task: one thread, bounded memory, a spill folder, no download."""

from __future__ import annotations

import atexit
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import duckdb

# The interpreter, numpy and DuckDB's own code take about this much before a row is read (measured:
# 90 to 130 MB), and DuckDB's buffers for reading and writing files are not counted in its limit.
RESERVED_BYTES = 192 * 2**20
FLOOR_BYTES = 128 * 2**20
_SPILL: Final = "spill"


class _Idle:
    """Empty databases that nobody uses: to start another takes longer than a small query."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._databases: list[duckdb.DuckDBPyConnection] = []

    def take(self) -> duckdb.DuckDBPyConnection | None:
        with self._lock:
            return self._databases.pop() if self._databases else None

    def give(self, database: duckdb.DuckDBPyConnection) -> None:
        # A lower limit is what makes DuckDB's allocator return what it holds.
        database.execute(f"SET memory_limit = '{FLOOR_BYTES // 2**20}MiB'")
        with self._lock:
            self._databases.append(database)

    def close(self) -> None:
        with self._lock:
            while self._databases:
                self._databases.pop().close()


_idle = _Idle()
# What is left to the interpreter's last moments is told by DuckDB's bindings as leaked.
atexit.register(_idle.close)


@contextmanager
def connect(memory_bytes: int, temp_dir: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open an in-memory database that stays within a process's share of memory.

    It is empty, and nobody else's until it is left; what is made in it must be temporary, and a
    function removed, so that the process's next use finds it empty as well.

    Args:
        memory_bytes: what the whole process may use; part of it is left to the interpreter.
        temp_dir: a folder that may vanish after the task; DuckDB spills there.

    Yields:
        A connection with one thread. Row order is not kept unless the statement says ORDER BY.
        It never downloads an extension and never sees Python variables as tables: tables are
        handed over by name with `register`.
    """
    limit_bytes = max(FLOOR_BYTES, int((memory_bytes - RESERVED_BYTES) * 0.8))
    database = _idle.take() or _new()
    try:
        with database.cursor() as connection:
            connection.execute(
                f"""SET memory_limit = '{limit_bytes // 2**20}MiB';
                SET temp_directory = {literal(temp_dir / _SPILL)};
                SET preserve_insertion_order = false;
                SET enable_progress_bar = false;
                SET TimeZone = 'UTC'"""
            )
            yield connection
    except BaseException:
        database.close()
        raise
    if _has_spilled(database):  # where it spilled once it would have to spill again
        database.close()
    else:
        _idle.give(database)


def _new() -> duckdb.DuckDBPyConnection:
    return duckdb.connect(
        config={
            "threads": 1,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "python_enable_replacements": False,
            # It makes a join of every list of constants, however short: for rules over dozens of
            # columns that takes longer to plan than a small file to read, and longer to run.
            "disabled_optimizers": "in_clause",
        }
    )


def _has_spilled(database: duckdb.DuckDBPyConnection) -> bool:
    """Whether it can't let go of its folder; in that there may be what others keep for a while."""
    try:
        database.execute("SET temp_directory = ''")
    except duckdb.NotSupportedError:
        return True
    return False


def literal(value: str | Path) -> str:
    """A value as a quoted SQL string, for the places that take no parameters.

    >>> literal("it's")
    "'it''s'"
    """
    return "'" + str(value).replace("'", "''") + "'"


def quoted(name: str) -> str:
    """A column's name as an SQL identifier.

    >>> print(quoted('the "big" size'))
    "the ""big"" size"
    """
    return '"' + name.replace('"', '""') + '"'
