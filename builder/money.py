"""Prices as they are written, read as whole minor units (cents) of the brand's currency."""

from __future__ import annotations

from typing import Final

from builder.duck import literal

_MINOR_DIGITS: Final = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF",
    3: "BHD IQD JOD KWD LYD OMR TND",
}
_NUMBER: Final = "[+-]?([0-9]+([.][0-9]*)?|[.][0-9]+)(e[+-]?[0-9]{1,3})?"
_MONEY: Final = "([A-Z]{3}|[$€£¥₹])? ?([+-]?[0-9][0-9., '\u00a0]*) ?([A-Z]{3}|[$€£¥₹])?"

# `plain_number` reads what a computer writes; `bare_amount` what people write: `1,234.50`,
# `1.234,50`, `15,00`. The last separator is the decimal one, except a comma before three digits.
MACROS: Final = f"""
CREATE OR REPLACE TEMP MACRO is_number(written) AS regexp_full_match(written, '{_NUMBER}', 'i');

CREATE OR REPLACE TEMP MACRO plain_number(written) AS
    CASE WHEN is_number(written) THEN TRY_CAST(written AS DOUBLE) END;

CREATE OR REPLACE TEMP MACRO bare_amount(amount) AS CASE
    WHEN regexp_full_match(amount, '[+-]?[0-9]+,[0-9]{{1,2}}|[^,]*[.][^,]*,[0-9]*')
        THEN replace(replace(amount, '.', ''), ',', '.')
    WHEN regexp_full_match(amount, '[^.]*[.][^.]*') THEN replace(amount, ',', '')
    ELSE replace(replace(amount, ',', ''), '.', '') END;

CREATE OR REPLACE TEMP MACRO amount_text(written) AS CASE
    WHEN is_number(written) THEN written
    WHEN regexp_full_match(written, {literal(_MONEY)}) THEN bare_amount(regexp_replace(
        regexp_extract(written, {literal(_MONEY)}, 2), '[ ''\u00a0]', '', 'g')) END;

CREATE OR REPLACE TEMP MACRO amount_minor(written, digits) AS TRY_CAST(round(
    TRY_CAST(amount_text(written) AS DECIMAL(28, 10)) * pow(10, digits)::DECIMAL(4, 0)) AS BIGINT);

CREATE OR REPLACE TEMP MACRO amount_currency(written) AS CASE
    WHEN is_number(written) THEN NULL
    ELSE nullif(regexp_extract(written, '[A-Z]{{3}}'), '') END;
"""


def minor_digits(currency: str) -> int:
    """How many decimals a currency has in cash registers (ISO 4217); 2 for an unknown one.

    >>> minor_digits("EUR"), minor_digits("JPY"), minor_digits("")
    (2, 0, 2)
    """
    return next((n for n, codes in _MINOR_DIGITS.items() if currency in codes.split()), 2)
