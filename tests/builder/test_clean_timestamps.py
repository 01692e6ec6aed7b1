"""Moments are read in every form that is allowed, and in no other."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.clean import prepare
from builder.errors import UsageError
from builder.timestamps import EARLIEST_US, time_columns

VIENNA = "Europe/Vienna"
MOMENT = 1_704_449_472  # 2024-01-05T10:11:12Z, a Friday


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as opened:
        opened.execute("SET TimeZone = 'UTC'")
        prepare(opened)
        yield opened


def read(
    connection: duckdb.DuckDBPyConnection, value: object, kind: str = "VARCHAR"
) -> tuple[int | None, str | None]:
    time = time_columns("x", kind, VIENNA)
    [(time_us, unit)] = connection.execute(
        f"SELECT {time.time_us}, {time.unit} FROM (SELECT CAST($1 AS {kind}) AS x)", [value]
    ).fetchall()
    return time_us, unit


@pytest.mark.parametrize(
    ("written", "seconds", "unit"),
    [
        ("2024-01-05T10:11:12Z", MOMENT, "offset"),
        ("2024-01-05t10:11:12z", MOMENT, "offset"),
        ("2024-01-05 10:11:12 UTC", MOMENT, "offset"),
        ("2024-01-05 12:11:12 +0200", MOMENT, "offset"),
        ("2024-01-05T12:11:12+02", MOMENT, "offset"),
        ("2024-01-05T06:41:12-03:30", MOMENT, "offset"),
        ("2024-01-05T10:11:12.250Z", MOMENT + 0.25, "offset"),
        ("2024-01-05T10:11:12.123456789Z", MOMENT + 0.123456, "offset"),
        ("2024-01-05T10:11Z", MOMENT - 12, "offset"),
        ("2024-01-05T11:11:12", MOMENT, "naive"),
        ("2024-01-05 11:11", MOMENT - 12, "naive"),
        ("2024-01-05", MOMENT - 11 * 3600 - 11 * 60 - 12, "date"),
        ("20240105", MOMENT - 11 * 3600 - 11 * 60 - 12, "date"),
        ("1704449472", MOMENT, "s"),
        ("1704449472.25", MOMENT + 0.25, "s"),
        ("1704449472000", MOMENT, "ms"),
        ("1704449472000.5", MOMENT + 0.0005, "ms"),
        ("1704449472000000", MOMENT, "us"),
        ("1704449472000000999", MOMENT, "ns"),
    ],
)
def test_allowed_forms_are_the_same_moment(
    connection: duckdb.DuckDBPyConnection, written: str, seconds: float, unit: str
) -> None:
    assert read(connection, written) == (round(seconds * 1_000_000), unit)


@pytest.mark.parametrize(
    "written",
    [
        "yesterday",
        "infinity",
        "epoch",
        "05.01.2024",
        "01/05/2024",
        "2024-1-5",
        "20241305",
        "20240230",
        "2024-02-30",
        "2024-01-05T25:00:00Z",
        "2024-01-05T10:11:60Z",
        "2024-01-05T10:11:12+02:00[Europe/Vienna]",
        "-1704449472",
        "1.7e9",
        "99999999999999999999",
        "NaN",
        "2024-01-05T10:11:12Z\x00",
    ],
)
def test_other_forms_are_no_moment(connection: duckdb.DuckDBPyConnection, written: str) -> None:
    assert read(connection, written)[0] is None


@pytest.mark.parametrize("written", ["0", "2024", "631151999"])
def test_numbers_too_small_for_any_unit_are_before_1990(
    connection: duckdb.DuckDBPyConnection, written: str
) -> None:
    time_us, _ = read(connection, written)
    assert time_us is not None
    assert time_us < EARLIEST_US


EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MOMENTS_US = st.integers(EARLIEST_US, 7_000_000_000_000_000)


@given(time_us=MOMENTS_US, offset=st.integers(-14 * 60, 14 * 60))
def test_offset_never_changes_the_moment(
    connection: duckdb.DuckDBPyConnection, time_us: int, offset: int
) -> None:
    zone = timezone(timedelta(minutes=offset))
    local = (EPOCH + timedelta(microseconds=time_us)).astimezone(zone)
    assert read(connection, local.isoformat()) == (time_us, "offset")
    assert read(connection, str(time_us)) == (time_us, "us")


def test_numbers_may_be_dates(connection: duckdb.DuckDBPyConnection) -> None:
    """Midnight in Vienna; a day that is none is no moment."""
    midnight = datetime(2024, 1, 5, tzinfo=ZoneInfo(VIENNA))

    assert read(connection, 20240105, "INTEGER") == (round(midnight.timestamp()) * 10**6, "date")
    assert read(connection, 20240230, "BIGINT")[0] is None


@pytest.mark.parametrize(
    ("kind", "written", "unit"),
    [
        ("TIMESTAMP WITH TIME ZONE", "2024-01-05 10:11:12+00", "offset"),
        ("TIMESTAMP", "2024-01-05 11:11:12", "naive"),
        ("TIMESTAMP_NS", "2024-01-05 11:11:12", "naive"),
        ("TIMESTAMP_MS", "2024-01-05 11:11:12", "naive"),
        ("BIGINT", MOMENT, "s"),
        ("UINTEGER", MOMENT, "s"),
        ("HUGEINT", MOMENT * 1000, "ms"),
        ("DOUBLE", float(MOMENT), "s"),
        ("DECIMAL(18,3)", MOMENT, "s"),
    ],
)
def test_typed_columns_are_the_same_moment(
    connection: duckdb.DuckDBPyConnection, kind: str, written: object, unit: str
) -> None:
    assert read(connection, written, kind) == (MOMENT * 1_000_000, unit)


@pytest.mark.parametrize(
    ("kind", "written"), [("TIMESTAMP", "infinity"), ("DOUBLE", "nan"), ("BIGINT", -(2**63))]
)
def test_typed_values_that_are_no_moment_do_not_pass(
    connection: duckdb.DuckDBPyConnection, kind: str, written: object
) -> None:
    time_us, _ = read(connection, written, kind)
    assert time_us is None or time_us < EARLIEST_US


def test_column_that_cannot_hold_moments_is_refused() -> None:
    with pytest.raises(UsageError, match="BOOLEAN cannot hold times"):
        time_columns("x", "BOOLEAN", "UTC")


@given(time_us=MOMENTS_US)
def test_hour_of_week_is_the_brands_local_hour(
    connection: duckdb.DuckDBPyConnection, time_us: int
) -> None:
    local = (EPOCH + timedelta(microseconds=time_us)).astimezone(ZoneInfo(VIENNA))
    found = connection.execute(f"SELECT hour_of_local_week({time_us}, '{VIENNA}')").fetchall()
    assert found == [(local.weekday() * 24 + local.hour,)]
