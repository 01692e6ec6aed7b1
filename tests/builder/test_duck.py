"""Databases that nobody uses are kept for the next use, and closed before the interpreter ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

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


def test_what_is_kept_is_closed_at_the_end() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", LAST_WORDS], capture_output=True, text=True, check=True
    )

    assert (ended.stdout, ended.stderr) == ("closed\n", "")
