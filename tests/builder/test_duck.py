"""Databases that nobody uses are kept for the next use, and closed before the interpreter ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import pytest

from builder.duck import RESERVED_BYTES, connect

MEMORY = RESERVED_BYTES * 2
LAST_WORDS = """
import atexit, pathlib, duckdb
made = []
begin = duckdb.connect
duckdb.connect = lambda **settings: made.append(begin(**settings)) or made[-1]

def tell():  # what is registered first runs last
    for database in made:
        try:
            database.execute("SELECT 1")
        except duckdb.ConnectionException:
            print("closed")

atexit.register(tell)
from builder.duck import RESERVED_BYTES, connect
with connect(RESERVED_BYTES * 2, pathlib.Path("nowhere")) as connection:
    connection.execute("SELECT 1")
"""


def test_a_database_is_used_again_and_found_empty(tmp_path: Path) -> None:
    with connect(MEMORY, tmp_path) as connection:
        connection.execute("CREATE TEMP TABLE t AS SELECT 1 AS one")
    with connect(MEMORY, tmp_path) as connection, pytest.raises(duckdb.CatalogException):
        connection.execute("SELECT * FROM t")


def test_only_a_database_that_spilled_is_not_used_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows of text lie in the same folder, and make no spilling."""
    begun: list[object] = []

    def begin(**settings: Any) -> duckdb.DuckDBPyConnection:
        begun.append(settings)
        return start(**settings)

    start = duckdb.connect
    with connect(MEMORY, tmp_path):
        (tmp_path / "spill").mkdir()
    monkeypatch.setattr(duckdb, "connect", begin)
    with connect(MEMORY, tmp_path) as connection:
        assert len(begun) == 0
        connection.execute(
            "SET memory_limit = '16MB';"
            "CREATE TEMP TABLE t AS SELECT range AS a, hash(range) AS b FROM range(2000000)"
        )
        assert list((tmp_path / "spill").iterdir())
    for _ in range(2):
        with connect(MEMORY, tmp_path / "elsewhere"):
            assert len(begun) == 1


def test_lists_of_words_are_no_joins(tmp_path: Path) -> None:
    """Rules over dozens of columns are planned in a moment."""
    words = ", ".join(f"'word {n}'" for n in range(30))
    with connect(MEMORY, tmp_path) as connection:
        plan = connection.execute(
            f"EXPLAIN SELECT range::VARCHAR IN ({words}) FROM range(9)"
        ).fetchall()

    assert "join" not in str(plan).lower()


def test_what_is_kept_is_closed_at_the_end() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", LAST_WORDS], capture_output=True, text=True, check=True
    )

    assert (ended.stdout, ended.stderr) == ("closed\n", "")
