"""Rows of CSV and JSONL files as relations in DuckDB, each with its number in the file.

DuckDB reads text fast, and is believed only when it raises nothing and finds exactly as many rows
as the file has lines. Otherwise (line breaks inside quotes, blank lines, damage) Python reads the
file record by record and notes each piece that is no row. Either way nothing is lost silently.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, TypeAlias

import duckdb
import numpy as np

from builder.duck import literal, quoted
from builder.streams import Compression, open_stream

_CHUNK_ROWS: Final = 50_000
_RAW_CHARACTERS: Final = 2_000
_ONE_COLUMN: Final = "\x01"  # stands in no JSON text, so that a whole line is one column
_DAMAGE_COLUMNS: Final = ("row", "n_lines", "reason", "raw")
NO_DAMAGE: Final = (
    "(SELECT 0::BIGINT AS row, 0::BIGINT AS n_lines, '' AS reason, '' AS raw WHERE false)"
)
# AND may be evaluated in any order, and the type of what is no JSON is an error.
_IS_OBJECT: Final = "(CASE WHEN json_valid(raw) THEN json_type(raw) = 'OBJECT' ELSE false END)"

Record: TypeAlias = tuple[int, tuple[str, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class TextRows:
    """Text as relations.

    Attributes:
        rows: SQL to select the rows from.
        damage: SQL to select what is no row from: row, n_lines (how many it took), reason, raw.
    """

    rows: str
    damage: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Damage:
    row: int
    n_lines: int
    reason: str
    raw: str


def csv_rows(
    connection: duckdb.DuckDBPyConnection,
    path: Path,
    compression: Compression,
    *,
    delimiter: str,
    n_columns: int,
    wanted: Mapping[str, int],
    n_lines: int,
    scratch_dir: Path,
) -> TextRows:
    """Some columns of a CSV file, as text, with `row`; row 1 is the first after the header.

    `wanted` maps our name to the column's place in the file; `n_lines` counts the file's lines,
    header and blank ones included; the rows are written into `scratch_dir`.
    """
    types = ", ".join(f"'c{i}': 'VARCHAR'" for i in range(n_columns))
    chosen = "".join(f", c{place} AS {quoted(name)}" for name, place in wanted.items())
    scan = (
        f"SELECT row_number() OVER () AS row {chosen} FROM read_csv({literal(path)},"
        f" auto_detect = false, header = true, delim = {literal(delimiter)}, quote = '\"',"
        f" escape = '\"', columns = {{{types}}}, compression = {literal(compression)})"
    )
    fast = _fast(connection, scan, scratch_dir, expected_rows=n_lines - 1)
    if fast is not None:
        return fast
    with open_stream(path, compression) as stream:
        found = _csv_records(stream, delimiter, n_columns, tuple(wanted.values()))
        return _careful(connection, found, tuple(wanted), scratch_dir)


def json_rows(
    connection: duckdb.DuckDBPyConnection,
    path: Path,
    compression: Compression,
    *,
    n_lines: int,
    scratch_dir: Path,
) -> TextRows:
    """The objects of a JSONL file as text: `row`, the line's number, and `raw`, the line.

    Blank lines are neither row nor damage, but are counted in `n_lines`.
    """
    scan = (
        f"SELECT row_number() OVER () AS row, raw FROM read_csv({literal(path)},"
        f" auto_detect = false, header = false, delim = {literal(_ONE_COLUMN)}, quote = '',"
        f" escape = '', columns = {{'raw': 'VARCHAR'}}, compression = {literal(compression)})"
    )
    lines = _fast(connection, scan, scratch_dir, expected_rows=n_lines)
    if lines is None:
        with open_stream(path, compression) as stream:
            lines = _careful(connection, _json_lines(stream), ("raw",), scratch_dir)
    bad = scratch_dir / "not_json.parquet"
    connection.execute(
        f"COPY (SELECT row, 1::BIGINT AS n_lines, 'not_json' AS reason, raw[:{_RAW_CHARACTERS}] AS"
        f" raw FROM {lines.rows} WHERE trim(raw, e' \\t\\r\\n') <> '' AND NOT {_IS_OBJECT})"
        f" TO {literal(bad)} (FORMAT parquet)"
    )
    return TextRows(
        rows=f"(SELECT row, raw FROM {lines.rows} WHERE {_IS_OBJECT})",
        damage=f"(FROM {lines.damage} UNION ALL FROM read_parquet({literal(bad)}))",
    )


def _fast(
    connection: duckdb.DuckDBPyConnection, scan: str, scratch_dir: Path, *, expected_rows: int
) -> TextRows | None:
    """DuckDB's reading, or None if there is any doubt about it."""
    path = scratch_dir / "rows.parquet"
    try:
        copied = connection.execute(f"COPY ({scan}) TO {literal(path)} (FORMAT parquet)")
        (n_rows,) = copied.fetchone() or (0,)
    except duckdb.Error:
        n_rows = -1
    if n_rows == expected_rows:
        return TextRows(rows=f"read_parquet({literal(path)})", damage=NO_DAMAGE)
    path.unlink(missing_ok=True)
    return None


def _careful(
    connection: duckdb.DuckDBPyConnection,
    found: Iterable[Record | _Damage],
    names: tuple[str, ...],
    scratch_dir: Path,
) -> TextRows:
    """Write what Python found, chunk by chunk."""
    rows = _Chunks(connection, scratch_dir / "careful", ("row", *names))
    damage = _Chunks(connection, scratch_dir / "damage", _DAMAGE_COLUMNS)
    for piece in found:
        if isinstance(piece, _Damage):
            damage.add((piece.row, piece.n_lines, piece.reason, piece.raw[:_RAW_CHARACTERS]))
        else:
            rows.add((piece[0], *piece[1]))
    return TextRows(rows=rows.finish(), damage=damage.finish())


class _Chunks:
    """Rows from Python, written as Parquet files of bounded size. Whole numbers, then text."""

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, folder: Path, names: tuple[str, ...]
    ) -> None:
        self._connection = connection
        self._folder = folder
        self._names = names
        self._rows: list[tuple[int | str, ...]] = []
        self._n_files = 0
        folder.mkdir(parents=True)

    def add(self, row: tuple[int | str, ...]) -> None:
        self._rows.append(row)
        if len(self._rows) >= _CHUNK_ROWS:
            self._write()

    def finish(self) -> str:
        """SQL to select the rows from."""
        if self._rows or not self._n_files:
            self._write()
        paths = ", ".join(literal(self._path(number)) for number in range(self._n_files))
        return f"read_parquet([{paths}])"

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:06d}.parquet"

    def _write(self) -> None:
        columns = list(zip(*self._rows, strict=True)) or [()] * len(self._names)
        typed, table = [], {}
        for name, values in zip(self._names, columns, strict=True):
            is_number = name in ("row", "n_lines")
            table[name] = np.array(values, dtype=np.int64 if is_number else object)
            typed.append(
                f"{quoted(name)}::{'BIGINT' if is_number else 'VARCHAR'} AS {quoted(name)}"
            )
        path = self._path(self._n_files)
        self._connection.register("chunk", table)
        self._connection.execute(
            f"COPY (SELECT {', '.join(typed)} FROM chunk) TO {literal(path)} (FORMAT parquet)"
        )
        self._connection.unregister("chunk")
        self._n_files += 1
        self._rows = []


class _Decoded:
    """The lines of a stream as text, with a note of lines that are not UTF-8."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.line = 0
        self.last_undecodable = 0
        self.recent: list[str] = []

    def __iter__(self) -> Iterator[str]:
        for content in self._stream:
            self.line += 1
            data = content.removeprefix(b"\xef\xbb\xbf") if self.line == 1 else content
            try:
                text = data.decode()
            except UnicodeDecodeError:
                self.last_undecodable = self.line
                text = data.decode(errors="replace")
            self.recent.append(text)
            yield text


def _csv_records(
    stream: BinaryIO, delimiter: str, n_columns: int, places: tuple[int, ...]
) -> Iterator[Record | _Damage]:
    """Each record after the header: the wanted values, or why it is none.

    A record that swallowed lines because a quote was never closed counts for all of them.
    """
    lines = _Decoded(stream)
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    row, first_line = 0, 1  # record 0 is the header
    while True:
        lines.recent.clear()
        reason, values = "", list[str]()
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error:
            reason = "broken_csv"
        n_lines, start = lines.line - first_line + 1, first_line
        first_line = lines.line + 1
        if not values and not reason:
            continue
        if not reason and lines.last_undecodable >= start:
            reason = "not_utf8"
        if not reason and (len(values) < n_columns or any(values[n_columns:])):
            reason = "wrong_columns"
        if row and reason:
            yield _Damage(row=row, n_lines=n_lines, reason=reason, raw="".join(lines.recent))
        elif row:
            yield row, tuple([values[place] for place in places])
        row += n_lines if row and reason else 1


def _json_lines(stream: BinaryIO) -> Iterator[Record | _Damage]:
    lines = _Decoded(stream)
    for text in lines:
        lines.recent.clear()
        if lines.last_undecodable == lines.line:
            yield _Damage(row=lines.line, n_lines=1, reason="not_utf8", raw=text)
        else:
            yield lines.line, (text,)
