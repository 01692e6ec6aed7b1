"""Offers: the columns they may have, how they are parsed, and the task that imports a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from builder.catalogue import MACROS as CATALOGUE_MACROS
from builder.catalogue import MAX_TEXT_BYTES, id_rules
from builder.clean import FileImport, Rule, import_file, prepare, text_of
from builder.columns import TableColumns
from builder.duck import connect, literal
from builder.sources import Column, Rows, SourceFile
from builder.timestamps import time_columns
from index.eligibility import parse_rules

OFFERS: Final = TableColumns(
    table="offers",
    required=("offer_id",),
    optional=(
        "title",
        "item_ids",
        "categories",
        "value",
        "starts_at",
        "expires_at",
        "placement",
        "creative",
        "eligibility",
    ),
)
PART: Final = "offers.parquet"

# A list is JSON, or values between bars, or, where there is no bar, between commas.
MACROS: Final = """
CREATE OR REPLACE TEMP MACRO listed(written) AS list_sort(list_distinct(list_filter(list_transform(
    CASE WHEN written IS NULL THEN []
        WHEN is_list(written) THEN from_json(written, '["VARCHAR"]')
        WHEN contains(written, '|') THEN string_split(written, '|')
        ELSE string_split(written, ',') END,
    lambda value: said(value)), lambda value: value IS NOT NULL)));

CREATE OR REPLACE TEMP MACRO is_object(written) AS
    CASE WHEN json_valid(written) THEN json_type(written) = 'OBJECT' ELSE false END;
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportOffers:
    """The task that imports one file of offers.

    Attributes:
        wanted: our name and the file's column.
        zone: the brand's time zone.
        separator: what stands between the levels of a category path.
    """

    file: SourceFile
    wanted: tuple[tuple[str, Column], ...]
    zone: str
    separator: str

    @property
    def name(self) -> str:
        return f"offers-{self.file.number:05d}"

    def run(self, out_dir: Path, memory_bytes: int) -> None:
        task = FileImport(
            file=self.file, wanted=self.wanted, rules=OFFER_RULES, out_dir=out_dir, part=PART
        )
        canonical = (
            "offer_id, title, value, starts_us, expires_us, placements,"
            " json(creative)::VARCHAR AS creative, eligibility, item_ids, categories"
        )
        with connect(memory_bytes, out_dir) as connection:
            prepare(connection)
            connection.execute(CATALOGUE_MACROS)
            connection.execute(MACROS)
            connection.create_function("is_rule_set", _is_rule_set, ["VARCHAR"], "BOOLEAN")
            import_file(connection, task, self._parsed, canonical)
            connection.remove_function("is_rule_set")

    def _parsed(self, rows: Rows) -> str:
        moments, written = "", ""
        for name in ("starts", "expires"):
            kind = rows.types.get(f"{name}_at", "VARCHAR")
            text = f"said({text_of(rows, f'{name}_at')})" if kind == "VARCHAR" else f"{name}_at"
            time = time_columns(f"written_{name}", kind, self.zone)
            written += f", {text} AS written_{name}"
            moments += f", {time.time_us} AS {name}_us"
        return f"""(
            SELECT * {moments}, plain_number(written_value) AS value
            FROM (SELECT row, said({text_of(rows, "offer_id")}) AS offer_id,
                    one_line({text_of(rows, "title")}) AS title,
                    said({text_of(rows, "value")}) AS written_value,
                    listed({text_of(rows, "item_ids")}) AS item_ids,
                    list_filter(list_transform(listed({text_of(rows, "categories")}),
                        lambda path: category_path(path, {literal(self.separator)})),
                        lambda path: path IS NOT NULL) AS categories,
                    listed({text_of(rows, "placement")}) AS placements,
                    said({text_of(rows, "creative")}) AS creative,
                    said({text_of(rows, "eligibility")}) AS eligibility {written}
                FROM {rows.rows}))"""


def _is_rule_set(rules: str) -> bool:
    """Whether the decision can read this eligibility."""
    try:
        parse_rules(rules)
    except ValueError:
        return False
    return True


OFFER_RULES: Final = (
    *id_rules("offer_id", "offer"),
    Rule(
        name="bad_value",
        action="quarantine",
        condition="written_value IS NOT NULL AND NOT coalesce(value BETWEEN 0 AND 1e12, false)",
        sentence="the value is no number, or negative",
    ),
    Rule(
        name="bad_time",
        action="quarantine",
        condition="(written_starts IS NOT NULL AND starts_us IS NULL)"
        " OR (written_expires IS NOT NULL AND expires_us IS NULL)",
        sentence="starts_at or expires_at cannot be read",
    ),
    Rule(
        name="never_valid",
        action="quarantine",
        condition="expires_us <= starts_us",
        sentence="it expires before it starts",
    ),
    Rule(
        name="long_text",
        action="quarantine",
        condition=f"strlen(title) > {MAX_TEXT_BYTES}",
        sentence=f"the title is longer than {MAX_TEXT_BYTES} bytes",
    ),
    Rule(
        name="bad_creative",
        action="quarantine",
        condition="creative IS NOT NULL AND NOT is_object(creative)",
        sentence='the creative is no JSON object, such as {"headline": "Fresh bread"}',
    ),
    Rule(
        name="bad_eligibility",
        action="quarantine",
        condition="eligibility IS NOT NULL AND NOT is_rule_set(eligibility)",
        sentence='the eligibility is no rule set, such as {"country": ["US"]}',
    ),
)
