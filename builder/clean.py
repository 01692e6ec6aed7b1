"""What becomes of each row: the rules, as data, and the one way they are applied.

A rule is a name, a condition on parsed columns, an action and a sentence. The first rule that
holds decides. *Quarantined* rows are bad: they are written down and count against `max_bad`.
*Dropped* rows are fine, but not what is learned from. *Adjusted* rows are kept.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias

import duckdb

from builder import money, timestamps
from builder.duck import literal, quoted
from builder.sources import Column, Rows, SourceFile, open_rows
from builder.tally import Tally

Action: TypeAlias = Literal["quarantine", "drop", "adjust"]

QUARANTINE: Final = "quarantine"
LINE_BITS: Final = 40
MAX_ID_BYTES: Final = 512
MAX_CONTEXT_BYTES: Final = 128
# What programs write where they mean nothing. Left as they are, they would be one huge customer.
MISSING_WORDS: Final = ("null", "none", "nan", "n/a", "undefined", "(not set)", r"\n")
_MISSING_PATTERN: Final = "|".join(map(re.escape, MISSING_WORDS))
_BLANK_CODES: Final = "9, 10, 11, 12, 13, 32, 160"
_BLANKS: Final = " || ".join(f"chr({code})" for code in _BLANK_CODES.split(", "))

# An expression that stands twice in a statement is computed ahead for every row, also where a CASE
# would spare it: hence no costly expression stands twice.
MACROS: Final = f"""
CREATE OR REPLACE TEMP MACRO said(written) AS CASE
    WHEN unicode(written) IN ({_BLANK_CODES}) OR unicode(written[-1]) IN ({_BLANK_CODES})
        THEN nullif(regexp_replace(trim(written, {_BLANKS}), '^({_MISSING_PATTERN})$', '', 'i'), '')
    WHEN lower(written) IN ('', {", ".join(map(literal, MISSING_WORDS))}) THEN NULL
    ELSE written END;

CREATE OR REPLACE TEMP MACRO float_text(number) AS CASE
    WHEN isnan(number) THEN NULL
    WHEN number = trunc(number) AND abs(number) < 9e15 THEN number::BIGINT::VARCHAR
    ELSE number::VARCHAR END;

CREATE OR REPLACE TEMP MACRO is_too_long(id) AS coalesce(strlen(id) > {MAX_ID_BYTES}, false);

CREATE OR REPLACE TEMP MACRO has_control(written) AS
    regexp_matches(written, '[\\x00-\\x1f\\x7f]');

CREATE OR REPLACE TEMP MACRO is_nested(id) AS coalesce(CASE
    WHEN starts_with(id, '{{') OR starts_with(id, '[') THEN json_valid(id) ELSE false END, false);

CREATE OR REPLACE TEMP MACRO context_value(text) AS CASE
    WHEN strlen(text) <= {MAX_CONTEXT_BYTES} AND NOT has_control(text) THEN lower(text) END;
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule.

    Attributes:
        condition: SQL over the parsed columns; NULL counts as false.
        sentence: what is wrong, or what was done, for a reader of the report.
    """

    name: str
    action: Action
    condition: str
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FileImport:
    """One file of items or offers on its way.

    Attributes:
        wanted: our name and the file's column.
        part: name of the Parquet file to write into `out_dir`.
    """

    file: SourceFile
    wanted: Sequence[tuple[str, Column]]
    rules: Sequence[Rule]
    out_dir: Path
    part: str


# Damage found while the file was read; these are no rows that a condition could be put to.
DAMAGE_RULES: Final = tuple(
    Rule(name=name, action="quarantine", condition="false", sentence=sentence)
    for name, sentence in (
        ("broken_csv", "quotes are not closed, or stand inside a value (every line is counted)"),
        ("wrong_columns", "the row has more or fewer values than the header"),
        ("not_utf8", "the row is not text in UTF-8"),
        ("not_json", "the line is not a JSON object"),
    )
)


def prepare(connection: duckdb.DuckDBPyConnection) -> None:
    """Give a connection the macros that parsing and rules are written in."""
    for macros in (MACROS, money.MACROS, timestamps.MACROS):
        connection.execute(macros)


def import_file(
    connection: duckdb.DuckDBPyConnection,
    task: FileImport,
    parse: Callable[[Rows], str],
    canonical: str,
) -> None:
    """Import a file of items or offers: small enough to be judged in one go.

    Args:
        connection: prepared, with the macros that parsing needs.
        task: which file, by which rules, where to.
        parse: from the file's rows to SQL of the parsed ones.
        canonical: SQL of the columns to keep, from the table `judged`; `line` is added.
    """
    tally, file, out_dir = Tally(), task.file, task.out_dir
    rows = open_rows(connection, file, dict(task.wanted), out_dir / "spill" / "rows")
    count_damage(connection, rows, tally, file_number=file.number)
    quarantine_damage(connection, rows, out_dir / QUARANTINE / "damage.parquet", file=file)
    judge(connection, parse(rows), task.rules, table="judged")
    count(connection, task.rules, tally, table="judged", file_number=file.number)
    bad_path = out_dir / QUARANTINE / task.part
    quarantine(connection, rows.rows, task.rules, bad_path, table="judged", file=file)
    [(tally.n_kept,)] = connection.execute(
        f"COPY (SELECT {canonical}, {line_of(file)} AS line FROM judged WHERE rule IS NULL)"
        f" TO {literal(out_dir / task.part)} (FORMAT parquet, COMPRESSION zstd)"
    ).fetchall()
    tally.write(out_dir)


def line_of(file: SourceFile) -> str:
    """SQL of a number that orders rows of all files: file number, then row."""
    return f"(({file.number}::UBIGINT << {LINE_BITS}) | row::UBIGINT)"


def text_of(rows: Rows, name: str) -> str:
    """SQL of one of our columns as text; NULL where the file does not have it.

    Numbers come out as people write ids: a whole number stored as a float has no decimals.
    """
    kind = rows.types.get(name)
    if kind is None:
        return "NULL::VARCHAR"
    if kind == "VARCHAR":
        return quoted(name)
    if kind in ("FLOAT", "DOUBLE"):
        return f"float_text({quoted(name)})"
    if kind.endswith(("]", ")")) and not kind.startswith(("DECIMAL", "ENUM")):
        return f"to_json({quoted(name)})::VARCHAR"
    return f"{quoted(name)}::VARCHAR"


def judge(
    connection: duckdb.DuckDBPyConnection, parsed: str, rules: Sequence[Rule], *, table: str
) -> None:
    """Make a table of the parsed rows, with `rule`: the name of the rule that takes a row out.

    Args:
        connection: prepared.
        parsed: SQL of the parsed rows; its columns are what the conditions speak of.
        rules: in the order in which they are asked.
        table: name of the temporary table; replaced when it exists.
    """
    taking_out = [rule for rule in rules if rule.action != "adjust"]
    cases = " ".join(f"WHEN {rule.condition} THEN {literal(rule.name)}" for rule in taking_out)
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE {table} AS SELECT *, CASE {cases} END AS rule FROM {parsed}"
    )


def count(
    connection: duckdb.DuckDBPyConnection,
    rules: Iterable[Rule],
    tally: Tally,
    *,
    table: str,
    file_number: int,
) -> None:
    """Add a judged table to a tally: rows read, rows by rule, the first of each as samples."""
    tally.n_read += _number(connection, f"SELECT count(*) FROM {table}")
    found = connection.execute(
        f"SELECT rule, count(*), min(row, {tally.max_samples}) FROM {table}"
        " WHERE rule IS NOT NULL GROUP BY rule"
    ).fetchall()
    for name, n_rows, samples in found:
        tally.add(name, n_rows, [(file_number, row) for row in samples])
    for rule in rules:
        if rule.action == "adjust":
            [(n_rows, samples)] = connection.execute(
                f"SELECT count(*), min(row, {tally.max_samples}) FROM {table}"
                f" WHERE rule IS NULL AND ({rule.condition})"
            ).fetchall()
            tally.add(rule.name, n_rows, [(file_number, row) for row in samples or ()])


def count_damage(
    connection: duckdb.DuckDBPyConnection, rows: Rows, tally: Tally, *, file_number: int
) -> None:
    """Add what could not be read as rows to a tally, every line of it."""
    found = connection.execute(
        f"SELECT reason, sum(n_lines)::BIGINT, min(row, {tally.max_samples}) FROM {rows.damage}"
        " GROUP BY reason"
    ).fetchall()
    for name, n_lines, samples in found:
        tally.n_read += n_lines
        tally.add(name, n_lines, [(file_number, row) for row in samples])


def quarantine(
    connection: duckdb.DuckDBPyConnection,
    rows: str,
    rules: Sequence[Rule],
    path: Path,
    *,
    table: str,
    file: SourceFile,
) -> None:
    """Write the bad rows of a judged table: file, row, reason, raw (the columns read, as JSON)."""
    bad = [rule.name for rule in rules if rule.action == "quarantine"]
    names = ", ".join(map(literal, bad))
    if _number(connection, f"SELECT count(*) FROM {table} WHERE rule IN ({names})"):
        _copy(
            connection,
            f"SELECT {literal(file.path)} AS file, row, rule AS reason,"
            f" to_json(columns_read)::VARCHAR AS raw"
            f" FROM {rows} AS columns_read JOIN (SELECT row AS bad_row, rule FROM {table}"
            f" WHERE rule IN ({names})) ON row = bad_row",
            path,
        )


def quarantine_damage(
    connection: duckdb.DuckDBPyConnection, rows: Rows, path: Path, *, file: SourceFile
) -> None:
    """Write what could not be read as rows: file, row, reason, raw (the text)."""
    if _number(connection, f"SELECT count(*) FROM {rows.damage}"):
        _copy(
            connection,
            f"SELECT {literal(file.path)} AS file, row, reason, raw FROM {rows.damage}",
            path,
        )


def matches_any(text: str, patterns: Iterable[str]) -> str:
    """SQL condition: the text is like one of the patterns (`*`, `?`), whatever its case.

    >>> matches_any("order_id", ["demo*", "x?"])
    "coalesce(regexp_full_match(order_id, 'demo.*|x.', 'is'), false)"
    """
    listed = "|".join(
        re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".") for pattern in patterns
    )
    if not listed:
        return "false"
    return f"coalesce(regexp_full_match({text}, {literal(listed)}, 'is'), false)"


def _number(connection: duckdb.DuckDBPyConnection, query: str) -> int:
    [(number,)] = connection.execute(query).fetchall()
    return int(number)


def _copy(connection: duckdb.DuckDBPyConnection, query: str, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    connection.execute(f"COPY ({query}) TO {literal(path)} (FORMAT parquet, COMPRESSION zstd)")
