"""The input files: which there are, what each is, and its rows as a relation.

A file's format is read from its bytes, its columns from the header (CSV), the schema (Parquet) or
a scan of every key (JSONL): nothing is guessed from the first rows.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from glob import glob
from pathlib import Path
from typing import Final, Literal, TypeAlias

import duckdb
import msgspec

from builder.duck import connect, literal, quoted
from builder.errors import InputNotFound, InputUnreadable
from builder.streams import Compression, count_lines, head_of, sniff_compression
from builder.textrows import NO_DAMAGE, TextRows, csv_rows, json_rows

Format: TypeAlias = Literal["csv", "jsonl", "parquet"]
TEXT: Final = "VARCHAR"
_DELIMITERS: Final = (",", ";", "\t", "|")
_HEAD_BYTES: Final = 2**20
_FACTS: Final = "facts.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column as the file has it: text in CSV and JSONL, the file's own type in Parquet."""

    name: str
    type: str = TEXT


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """One input file as inspected: all that is needed to read it, and what makes it this file.

    Attributes:
        number: its place among the inputs.
        delimiter: of a CSV file; empty otherwise.
        n_rows: rows of a Parquet file; lines, with header and blank ones, of a text file.
    """

    number: int
    path: Path
    format: Format
    compression: Compression
    size_bytes: int
    mtime_ns: int
    delimiter: str
    columns: tuple[Column, ...]
    n_rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """A file's rows under our names.

    Attributes:
        rows: SQL to select `row` (from 1; the line's number in JSONL) and our columns from.
        types: type of each of our columns.
        damage: SQL to select what is no row from: row, n_lines, reason, raw.
    """

    rows: str
    types: Mapping[str, str]
    damage: str = NO_DAMAGE


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspect:
    """The task that looks at one file."""

    number: int
    path: Path
    size_bytes: int
    mtime_ns: int
    welcome: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"inspect-{self.number:05d}"

    def run(self, out_dir: Path, memory_bytes: int) -> None:
        with connect(memory_bytes, out_dir) as connection:
            facts = _inspect(connection, self, out_dir / "spill")
        (out_dir / _FACTS).write_bytes(msgspec.json.encode(facts, enc_hook=str))


_FACTS_DECODER: Final = msgspec.json.Decoder(
    SourceFile, dec_hook=lambda kind, value: Path(value) if kind is Path else value
)


def inspections(paths: Sequence[Path], welcome: Iterable[str]) -> list[Inspect]:
    """Tasks that look at each file; `welcome` column names help to tell a CSV file's delimiter."""
    names = tuple(sorted(welcome))
    return [
        Inspect(
            number=number,
            path=path,
            size_bytes=path.stat().st_size,
            mtime_ns=path.stat().st_mtime_ns,
            welcome=names,
        )
        for number, path in enumerate(paths)
    ]


def inspected(result_dirs: Iterable[Path]) -> list[SourceFile]:
    """What the tasks found, in their order."""
    return [_FACTS_DECODER.decode((result_dir / _FACTS).read_bytes()) for result_dir in result_dirs]


def expand(patterns: Iterable[str | Path]) -> list[Path]:
    """The files that names and patterns stand for, each once: patterns in order, files by name.

    Raises:
        InputNotFound: one of them stands for no file.
    """
    found: dict[Path, None] = {}
    for pattern in patterns:
        path = Path(pattern).expanduser()
        if path.is_dir():
            raise InputNotFound(
                f"{path}: is a folder, expected files",
                hint=f"name them with a pattern: {path / '*.parquet'}",
                path=path,
            )
        # pathlib's own glob cannot take a pattern that begins with a folder or a root.
        names = [str(path)] if path.exists() else sorted(glob(str(path)))  # noqa: PTH207
        files = [Path(name).resolve() for name in names if Path(name).is_file()]
        if not files:
            raise InputNotFound(f"{path}: no such file", path=path)
        found |= dict.fromkeys(files)
    return list(found)


def open_rows(
    connection: duckdb.DuckDBPyConnection,
    file: SourceFile,
    wanted: Mapping[str, Column],
    scratch_dir: Path,
) -> Rows:
    """The file's rows with the wanted columns.

    Args:
        connection: from `duck.connect`.
        file: from `inspected`.
        wanted: our name to the file's column.
        scratch_dir: a folder that outlives the relation and may vanish afterwards.
    """
    scratch_dir.mkdir(parents=True, exist_ok=True)
    if file.format == "parquet":
        chosen = "".join(f", {quoted(c.name)} AS {quoted(our)}" for our, c in wanted.items())
        return Rows(
            rows=f"(SELECT file_row_number + 1 AS row {chosen} FROM read_parquet("
            f"{literal(file.path)}, file_row_number = true, binary_as_string = true))",
            types={our: column.type for our, column in wanted.items()},
        )
    types = dict.fromkeys(wanted, TEXT)
    if file.format == "csv":
        places = {column.name: place for place, column in enumerate(file.columns)}
        text = csv_rows(
            connection,
            file.path,
            file.compression,
            delimiter=file.delimiter,
            n_columns=len(file.columns),
            wanted={our: places[column.name] for our, column in wanted.items()},
            n_lines=file.n_rows,
            scratch_dir=scratch_dir,
        )
        return Rows(rows=text.rows, types=types, damage=text.damage)
    text = _json_lines(connection, file.path, file.compression, file.n_rows, scratch_dir)
    paths = ", ".join(literal(_json_pointer(column.name)) for column in wanted.values())
    values = "".join(f", v[{i + 1}] AS {quoted(our)}" for i, our in enumerate(wanted))
    extracted = scratch_dir / "extracted.parquet"
    # Written down, since every use of a value would extract it anew.
    connection.execute(
        f"COPY (SELECT row {values} FROM (SELECT row, json_extract_string(raw, [{paths}]) AS v"
        f" FROM {text.rows})) TO {literal(extracted)} (FORMAT parquet)"
    )
    return Rows(rows=f"read_parquet({literal(extracted)})", types=types, damage=text.damage)


def _inspect(connection: duckdb.DuckDBPyConnection, task: Inspect, scratch_dir: Path) -> SourceFile:
    path = task.path
    compression = sniff_compression(path)
    head = head_of(path, compression, _HEAD_BYTES)
    kind = _format(path, head)
    delimiter, columns, n_rows = "", tuple[Column, ...](), 0
    if kind == "parquet":
        columns, n_rows = _parquet_facts(connection, path)
    else:
        n_rows = count_lines(path, compression)
    if kind == "csv":
        delimiter, columns = _csv_header(path, head, task.welcome)
    elif kind == "jsonl":
        scratch_dir.mkdir(parents=True, exist_ok=True)
        lines = _json_lines(connection, path, compression, n_rows, scratch_dir)
        columns = _json_keys(connection, path, lines)
    return SourceFile(
        number=task.number,
        path=path,
        format=kind,
        compression=compression,
        size_bytes=task.size_bytes,
        mtime_ns=task.mtime_ns,
        delimiter=delimiter,
        columns=columns,
        n_rows=n_rows,
    )


def _format(path: Path, head: bytes) -> Format:
    if not head.strip():
        raise InputUnreadable(f"{path}: is empty", path=path)
    if head.startswith(b"PAR1"):
        return "parquet"
    if head.startswith((b"\xff\xfe", b"\xfe\xff")) or head[:100].count(0) > 25:
        raise InputUnreadable(
            f"{path}: is not text in UTF-8 and not Parquet",
            hint="export it as CSV or JSONL in UTF-8, or as Parquet",
            path=path,
        )
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if start.startswith(b"["):
        raise InputUnreadable(
            f"{path}: is one JSON array, expected an object on each line",
            hint="convert it with: jq -c '.[]'",
            path=path,
        )
    return "jsonl" if start.startswith(b"{") else "csv"


def _parquet_facts(
    connection: duckdb.DuckDBPyConnection, path: Path
) -> tuple[tuple[Column, ...], int]:
    try:
        described = connection.execute(
            f"DESCRIBE FROM read_parquet({literal(path)}, binary_as_string = true)"
        ).fetchall()
        [(n_rows,)] = connection.execute(
            f"SELECT num_rows FROM parquet_file_metadata({literal(path)})"
        ).fetchall()
    except duckdb.Error as error:
        raise InputUnreadable(
            f"{path}: cannot be read as Parquet: {str(error).splitlines()[0]}",
            hint="the file is damaged or incomplete: fetch or export it again",
            path=path,
        ) from error
    return tuple(Column(name=row[0], type=row[1]) for row in described), int(n_rows)


def _csv_header(path: Path, head: bytes, welcome: Iterable[str]) -> tuple[str, tuple[Column, ...]]:
    """The delimiter under which most column names are known to us, and the names under it."""
    text = head.decode("utf-8-sig", errors="replace")
    known = set(welcome)
    if "\r" in text and "\n" not in text:
        raise InputUnreadable(
            f"{path}: its lines end with a carriage return alone, as on old Macs",
            hint=f"give it line feeds: tr '\\r' '\\n' < {path.name}",
            path=path,
        )
    if re.match(r'"?sep=', text, re.IGNORECASE):
        raise InputUnreadable(
            f"{path}: its first line is {text.splitlines()[0]}, a word to Excel and no CSV header",
            hint="delete that line: the first must name the columns",
            path=path,
        )

    def names(delimiter: str) -> list[str]:
        try:
            return next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
        except csv.Error:
            return []

    def fitness(delimiter: str) -> tuple[int, int]:
        found = names(delimiter)
        return sum(name.strip().lower() in known for name in found), len(found)

    delimiter = max(_DELIMITERS, key=fitness)
    header = names(delimiter)
    if not any(name.strip() for name in header):
        raise InputUnreadable(
            f"{path}: its first line is no CSV header",
            hint="the first line must name the columns",
            path=path,
        )
    return delimiter, tuple(Column(name=name.strip()) for name in header)


def _json_lines(
    connection: duckdb.DuckDBPyConnection,
    path: Path,
    compression: Compression,
    n_lines: int,
    scratch_dir: Path,
) -> TextRows:
    return json_rows(connection, path, compression, n_lines=n_lines, scratch_dir=scratch_dir)


def _json_keys(
    connection: duckdb.DuckDBPyConnection, path: Path, lines: TextRows
) -> tuple[Column, ...]:
    keys = connection.execute(
        f"SELECT DISTINCT unnest(json_keys(raw)) AS key FROM {lines.rows} ORDER BY key"
    ).fetchall()
    if not keys:
        raise InputUnreadable(
            f"{path}: no line holds a JSON object",
            hint='expected lines such as {"ts": "2026-11-24T09:30:00Z", "item_id": "A1"}',
            path=path,
        )
    return tuple(Column(name=key) for (key,) in keys)


def _json_pointer(key: str) -> str:
    """The key as a JSON pointer, in which ~ and / have their own spelling."""
    return "/" + key.replace("~", "~0").replace("/", "~1")
