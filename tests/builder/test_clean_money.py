"""Prices as computers and people write them."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import ROUND_HALF_UP, Decimal

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.clean import prepare


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as opened:
        prepare(opened)
        yield opened


def in_cents(connection: duckdb.DuckDBPyConnection, written: str) -> object:
    query = "SELECT amount_cents(x) FROM (SELECT $1::VARCHAR AS x)"
    return connection.execute(query, [written]).fetchall()[0][0]


@pytest.mark.parametrize(
    ("written", "cents"),
    [
        ("15", 1500),
        ("15.00", 1500),
        (".5", 50),
        ("5.", 500),
        ("+1.5e1", 1500),
        ("0.005", 1),
        ("1.005", 101),
        ("-3.5", -350),
        ("15.00 USD", 1500),
        ("USD 15", 1500),
        ("$1,234.50", 123450),
        ("1.234,50 €", 123450),
        ("15,00", 1500),
        ("1,234", 123400),
        ("1,234,567.89", 123456789),
        ("1.234.567", 123456700),
        ("12'345.60", 1234560),
        ("1 234,5", 123450),
    ],
)
def test_amounts_become_hundredths(
    connection: duckdb.DuckDBPyConnection, written: str, cents: int
) -> None:
    assert in_cents(connection, written) == cents


@pytest.mark.parametrize("written", ["abc", "1e400", "NaN", "0x1F", "1_000", "1e30", "--1", "$"])
def test_what_is_no_amount_is_none(connection: duckdb.DuckDBPyConnection, written: str) -> None:
    assert in_cents(connection, written) is None


@given(amount=st.decimals("-1e9", "1e9", places=4))
def test_plain_amounts_are_rounded_half_up(
    connection: duckdb.DuckDBPyConnection, amount: Decimal
) -> None:
    expected = (amount * 100).quantize(Decimal(1), ROUND_HALF_UP)
    assert in_cents(connection, f"{amount:f}") == int(expected)
