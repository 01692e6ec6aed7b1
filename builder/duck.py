"""The one way to open DuckDB in a task: one thread, bounded memory, a spill folder, no download."""

from __future__ import annotations

from pathlib import Path

import duckdb

# The interpreter, numpy and DuckDB's own code take about this much before a row is read (measured:
# 90 to 130 MB), and DuckDB's buffers for reading and writing files are not counted in its limit.
RESERVED_BYTES = 192 * 2**20
FLOOR_BYTES = 128 * 2**20


def connect(memory_bytes: int, temp_dir: Path) -> duckdb.DuckDBPyConnection:
    """Open an in-memory database that stays within a process's share of memory.

    Args:
        memory_bytes: what the whole process may use; part of it is left to the interpreter.
        temp_dir: a folder that may vanish after the task; DuckDB spills there.

    Returns:
        A connection with one thread. Row order is not kept unless the statement says ORDER BY.
        It never downloads an extension and never sees Python variables as tables: tables are
        handed over by name with `register`.
    """
    limit_bytes = max(FLOOR_BYTES, int((memory_bytes - RESERVED_BYTES) * 0.8))
    connection = duckdb.connect(
        config={
            "threads": 1,
            "memory_limit": f"{limit_bytes // 2**20}MiB",
            "temp_directory": str(temp_dir / "spill"),
            "preserve_insertion_order": False,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "python_enable_replacements": False,
        }
    )
    connection.execute("SET enable_progress_bar = false; SET TimeZone = 'UTC'")
    return connection


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
