"""Prices as they are written, read as whole hundredths of the brand's currency.

Hundredths whatever the currency, as a request's own prices are read when it is answered: yen have
no smaller unit, of dinars the third decimal is rounded.
"""

from __future__ import annotations

from typing import Final

from builder.duck import literal

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

CREATE OR REPLACE TEMP MACRO amount_cents(written) AS TRY_CAST(
    round(TRY_CAST(amount_text(written) AS DECIMAL(28, 10)) * 100::DECIMAL(4, 0)) AS BIGINT);

CREATE OR REPLACE TEMP MACRO amount_currency(written) AS CASE
    WHEN is_number(written) THEN NULL
    ELSE nullif(regexp_extract(written, '[A-Z]{{3}}'), '') END;
"""
