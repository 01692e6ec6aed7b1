"""Moments as they are written in files, read as UTC microseconds.

- RFC 3339, with `T` or a blank, with or without seconds: `2026-11-24T09:30:00.5+01:00`.
- The same without an offset, and dates alone (midnight), also as `20261124`: read in the brand's
  time zone. No epoch number since 1990 looks like such a date.
- Epoch numbers: seconds, milliseconds, microseconds or nanoseconds. A file says nowhere which, so
  each number's size says it. The four ranges that stand for 1990 to 2286 do not touch, hence a
  number has one possible unit, and a file that mixes units is read right (and the mix reported).
- Parquet's own times and dates.

Anything else is unparseable: it is never half read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from builder.duck import literal
from builder.errors import UsageError

EARLIEST_US: Final = 631_152_000_000_000
"""1990-01-01: before shops took orders online, and after every number in a wrong unit."""

UNITS: Final = {
    "offset": "time with an offset",
    "naive": "time without an offset, read in the brand's time zone",
    "date": "date, read as midnight in the brand's time zone",
    "s": "epoch seconds",
    "ms": "epoch milliseconds",
    "us": "epoch microseconds",
    "ns": "epoch nanoseconds",
}

_DATE = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
_TIME = f"{_DATE}[T ][0-9]{{2}}:[0-9]{{2}}(:[0-9]{{2}}([.][0-9]{{1,9}})?)?"
_OFFSET = f"{_TIME} ?(Z|UTC|[+-][0-9]{{2}}(:?[0-9]{{2}})?)"
_COMPACT = "(199|20[0-9]|21[0-9])[0-9]{5}"
_WHOLE = "[0-9]{1,19}"
_DECIMAL = "[0-9]{1,19}[.][0-9]+"

# A macro is pasted where it is used; each takes a column, so that nothing is computed twice.
MACROS: Final = f"""
CREATE OR REPLACE TEMP MACRO epoch_unit(number) AS CASE
    WHEN number < 1e11 THEN 's' WHEN number < 1e14 THEN 'ms'
    WHEN number < 1e17 THEN 'us' ELSE 'ns' END;

CREATE OR REPLACE TEMP MACRO whole_epoch_us(number) AS CASE
    WHEN number < 0 THEN number
    WHEN number < 100000000000 THEN number * 1000000
    WHEN number < 100000000000000 THEN number * 1000
    WHEN number < 100000000000000000 THEN number
    ELSE number // 1000 END;

CREATE OR REPLACE TEMP MACRO decimal_epoch_us(number) AS TRY_CAST(round(CASE epoch_unit(number)
    WHEN 's' THEN number * 1e6 WHEN 'ms' THEN number * 1e3
    WHEN 'us' THEN number ELSE number / 1e3 END) AS BIGINT);

CREATE OR REPLACE TEMP MACRO is_compact(number) AS number BETWEEN 19900101 AND 21991231;

CREATE OR REPLACE TEMP MACRO compact_us(written, zone) AS
    epoch_us(timezone(zone, try_strptime(written, '%Y%m%d')));

CREATE OR REPLACE TEMP MACRO text_form(written) AS CASE
    WHEN regexp_full_match(written, '{_COMPACT}') THEN 'date'
    WHEN regexp_full_match(written, '{_WHOLE}') THEN 'whole'
    WHEN regexp_full_match(written, '{_DECIMAL}') THEN 'decimal'
    WHEN regexp_full_match(written, '{_OFFSET}', 'i') THEN 'offset'
    WHEN regexp_full_match(written, '{_TIME}', 'i') THEN 'naive'
    WHEN regexp_full_match(written, '{_DATE}') THEN 'date' END;

CREATE OR REPLACE TEMP MACRO text_time_us(written, form, zone) AS CASE form
    WHEN 'whole' THEN whole_epoch_us(TRY_CAST(written AS BIGINT))
    WHEN 'decimal' THEN decimal_epoch_us(TRY_CAST(written AS DOUBLE))
    WHEN 'offset' THEN epoch_us(TRY_CAST(
        replace(replace(regexp_replace(upper(written), ' ?(UTC|Z)$', 'Z'), ' +', '+'), ' -', '-')
        AS TIMESTAMPTZ))
    WHEN 'naive' THEN epoch_us(timezone(zone, TRY_CAST(upper(written) AS TIMESTAMP)))
    WHEN 'date' THEN coalesce(
        compact_us(written, zone), epoch_us(timezone(zone, TRY_CAST(written AS TIMESTAMP)))) END;

CREATE OR REPLACE TEMP MACRO text_time_unit(written, form) AS CASE form
    WHEN 'whole' THEN epoch_unit(TRY_CAST(written AS DOUBLE))
    WHEN 'decimal' THEN epoch_unit(TRY_CAST(written AS DOUBLE))
    ELSE form END;

CREATE OR REPLACE TEMP MACRO hour_of_local_week(time_us, zone) AS (
    (isodow(timezone(zone, make_timestamptz(time_us))) - 1) * 24
    + hour(timezone(zone, make_timestamptz(time_us))))::UTINYINT;

CREATE OR REPLACE TEMP MACRO local_day(time_us, zone) AS
    epoch_us(timezone(zone, make_timestamptz(time_us))) // 86400000000;
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeColumns:
    """A column of moments as SQL.

    Attributes:
        time_us: UTC microseconds, NULL when it is no moment.
        unit: how it is written, a key of `UNITS`.
    """

    time_us: str
    unit: str


def time_columns(column: str, kind: str, zone: str) -> TimeColumns:
    """Read a column of moments; the connection has run `MACROS`.

    Args:
        column: SQL of the column; of text, without outer blanks and with NULL for missing.
        kind: its SQL type.
        zone: IANA name of the brand's time zone.

    Raises:
        UsageError: no moment can be of this type.
    """
    where = literal(zone)
    if kind == "VARCHAR":
        return TimeColumns(
            time_us=f"text_time_us({column}, text_form({column}), {where})",
            unit=f"text_time_unit({column}, text_form({column}))",
        )
    if kind in ("TIMESTAMP WITH TIME ZONE", "TIMESTAMP_NS WITH TIME ZONE"):
        return TimeColumns(
            time_us=f"TRY(epoch_us({column}::TIMESTAMPTZ))", unit=_present(column, "offset")
        )
    if kind.startswith("TIMESTAMP") or kind == "DATE":
        unit = "date" if kind == "DATE" else "naive"
        return TimeColumns(
            time_us=f"TRY(epoch_us(timezone({where}, {column}::TIMESTAMP)))",
            unit=_present(column, unit),
        )
    if kind in ("FLOAT", "DOUBLE") or kind.startswith("DECIMAL"):
        number = f"{column}::DOUBLE"
        return TimeColumns(time_us=f"decimal_epoch_us({number})", unit=f"epoch_unit({number})")
    if kind.endswith(("INT", "INTEGER")):
        number = f"TRY_CAST({column} AS BIGINT)"
        return TimeColumns(
            time_us=f"""CASE WHEN is_compact({number}) THEN compact_us({number}::VARCHAR, {where})
                ELSE whole_epoch_us({number}) END""",
            unit=f"CASE WHEN is_compact({number}) THEN 'date' ELSE epoch_unit({number}) END",
        )
    raise UsageError(
        f"a column of type {kind} cannot hold times",
        hint="expected times, dates, text or epoch numbers",
    )


def _present(column: str, unit: str) -> str:
    return f"CASE WHEN {column} IS NOT NULL THEN {literal(unit)} END"
