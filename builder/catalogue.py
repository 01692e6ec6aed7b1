"""Items: the columns they may have, how they are parsed, and the task that imports a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from builder.clean import FileImport, Rule, import_file, prepare, text_of
from builder.columns import TableColumns
from builder.duck import connect, literal
from builder.sources import Column, Rows, SourceFile

ITEMS: Final = TableColumns(
    table="items",
    required=("item_id",),
    optional=(
        "title",
        "category",
        "brand",
        "price",
        "sale_price",
        "availability",
        "url",
        "image_url",
    ),
)
PART: Final = "items.parquet"
LEVELS: Final = " > "
MAX_TEXT_BYTES: Final = 2_048
AVAILABLE: Final = "in_stock instock available in_stock_online limited_availability preorder"
AVAILABLE_TOO: Final = "pre_order backorder presale online_only in_store_only true yes y 1 active"
GONE: Final = "out_of_stock outofstock sold_out soldout unavailable discontinued false no n 0"
GONE_TOO: Final = "not_available inactive archived draft"

MACROS: Final = f"""
CREATE OR REPLACE TEMP MACRO one_line(written) AS
    nullif(trim(regexp_replace(said(written), '[\\x00-\\x20\\x7f]+', ' ', 'g')), '');

CREATE OR REPLACE TEMP MACRO path_of(levels) AS nullif(array_to_string(list_filter(
    list_transform(levels, lambda level: one_line(level)), lambda level: level IS NOT NULL),
    '{LEVELS}'), '');

CREATE OR REPLACE TEMP MACRO is_list(written) AS
    CASE WHEN starts_with(written, '[') THEN json_valid(written) ELSE false END;

CREATE OR REPLACE TEMP MACRO category_path(written, separator) AS CASE
    WHEN is_list(written) THEN path_of(from_json(written, '["VARCHAR"]'))
    ELSE path_of(string_split(written, separator)) END;
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportItems:
    """The task that imports one file of items.

    Attributes:
        wanted: our name and the file's column.
        currency: the brand's ISO 4217 code, or empty.
        separator: what stands between the levels of a category path.
        max_cents: the highest price, in hundredths.
    """

    file: SourceFile
    wanted: tuple[tuple[str, Column], ...]
    currency: str
    separator: str
    max_cents: int

    @property
    def name(self) -> str:
        return f"items-{self.file.number:05d}"

    def run(self, out_dir: Path, memory_bytes: int) -> None:
        rules = item_rules(self.currency, self.max_cents)
        task = FileImport(
            file=self.file, wanted=self.wanted, rules=rules, out_dir=out_dir, part=PART
        )
        price = f"CASE WHEN NOT ({_is_foreign(self.currency)}) THEN price_cents END"
        canonical = (
            f"item_id, title, category, brand, {price} AS price_cents,"
            " coalesce(is_available, true) AS available, url, image_url"
        )
        with connect(memory_bytes, out_dir) as connection:
            prepare(connection)
            connection.execute(MACROS)
            import_file(connection, task, self._parsed, canonical)

    def _parsed(self, rows: Rows) -> str:
        texts = "".join(
            f", one_line({text_of(rows, name)}) AS {name}"
            for name in ("title", "brand", "url", "image_url")
        )
        words = "regexp_replace(lower(said(written_availability)), '[ -]+', '_', 'g')"
        return f"""(
            SELECT *, amount_cents(written_price) AS price_cents,
                amount_currency(written_price) AS price_currency,
                CASE WHEN {words} IN ({_listed(AVAILABLE, AVAILABLE_TOO)}) THEN true
                    WHEN {words} IN ({_listed(GONE, GONE_TOO)}) THEN false
                    ELSE plain_number(written_availability) > 0 END AS is_available
            FROM (SELECT row, said({text_of(rows, "item_id")}) AS item_id {texts},
                    category_path(said({text_of(rows, "category")}), {literal(self.separator)})
                        AS category,
                    coalesce(said({text_of(rows, "sale_price")}), said({text_of(rows, "price")}))
                        AS written_price,
                    said({text_of(rows, "availability")}) AS written_availability
                FROM {rows.rows}))"""


def item_rules(currency: str, max_cents: int) -> tuple[Rule, ...]:
    """The rules for items, in the order in which they are asked."""
    texts = " OR ".join(
        f"strlen({name}) > {MAX_TEXT_BYTES}"
        for name in ("title", "category", "brand", "url", "image_url")
    )
    return (
        *id_rules("item_id", "item"),
        Rule(
            name="bad_price",
            action="quarantine",
            condition="written_price IS NOT NULL AND price_cents IS NULL",
            sentence="the price cannot be read",
        ),
        Rule(
            name="absurd_price",
            action="quarantine",
            condition=f"price_cents NOT BETWEEN 0 AND {max_cents}",
            sentence="the price is negative, or too high (input.max_unit_price)",
        ),
        Rule(
            name="long_text",
            action="quarantine",
            condition=texts,
            sentence=f"a text is longer than {MAX_TEXT_BYTES} bytes",
        ),
        Rule(
            name="foreign_currency",
            action="adjust",
            condition=_is_foreign(currency),
            sentence="the price is in another currency than the brand's: read as unknown",
        ),
        Rule(
            name="unknown_availability",
            action="adjust",
            condition="written_availability IS NOT NULL AND is_available IS NULL",
            sentence="the availability is no word we know: read as available",
        ),
    )


def id_rules(column: str, noun: str) -> tuple[Rule, ...]:
    """The rules for the id of an item or an offer."""
    return (
        Rule(
            name=f"no_{noun}",
            action="quarantine",
            condition=f"{column} IS NULL",
            sentence=f"the {noun} id is missing",
        ),
        Rule(
            name="long_id",
            action="quarantine",
            condition=f"is_too_long({column})",
            sentence="the id is longer than 512 bytes",
        ),
        Rule(
            name="bad_id",
            action="quarantine",
            condition=f"has_control({column}) OR is_nested({column})",
            sentence="the id holds control characters, or is a JSON list or object",
        ),
    )


def _is_foreign(currency: str) -> str:
    """SQL condition: the price is in another currency than the brand's."""
    return f"coalesce(price_currency <> {literal(currency)}, false)" if currency else "false"


def _listed(*words: str) -> str:
    return ", ".join(literal(word) for text in words for word in text.split())
