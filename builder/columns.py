"""Which of a file's columns are ours: by name, or by `--map`."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from builder.errors import MissingColumns, UsageError
from builder.sources import Column, SourceFile
from builder.timestamps import time_columns

CONTEXT_PREFIX: Final = "ctx_"
MAX_CONTEXT_COLUMNS: Final = 100
DERIVED_FEATURES: Final = ("hour_of_week", "category", "price_band")
# What other systems call a column: never taken silently, but named in the error that misses it.
_OTHER_NAMES: Final[Mapping[str, str]] = {
    "ts": "timestamp time event_time event_timestamp created_at date datetime order_date day",
    "item_id": "product_id productid sku product article_id variant_id itemid item movieid id",
    "customer_id": "user_id userid user household_id client_id visitor_id customerid customer",
    "order_id": "basket_id transaction_id invoice_id invoice",
    "session_id": "sessionid session visit_id",
    "offer_id": "id coupon_id action_id promotion_id",
}
_NO_TIMES: Final = "; where no times are known, add a column ts with the same date in every row"


@dataclass(frozen=True, slots=True, kw_only=True)
class TableColumns:
    """What one of the inputs (`events`, `items`, `offers`) may hold.

    Attributes:
        required: must be in every file.
        one_of: at least one of these must be; empty when there is no such rule.
        has_context: whether `ctx_NAME` columns are taken, too.
    """

    table: str
    required: tuple[str, ...]
    optional: tuple[str, ...]
    one_of: tuple[str, ...] = ()
    has_context: bool = False

    @property
    def known(self) -> tuple[str, ...]:
        """Every name, in the order of the documentation."""
        return self.required + self.optional

    def takes(self, name: str) -> bool:
        """Whether this is one of our names."""
        is_context = self.has_context and re.fullmatch(rf"{CONTEXT_PREFIX}\w+", name) is not None
        return name in self.known or is_context


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """A file's columns under our names.

    Attributes:
        wanted: our name and the file's column, in our order.
        unknown: the file's other columns; they are not read.
        passed_over: of these, the ones with a name of ours that another column was renamed to: our
            name, the renamed column and the one that is not read.
    """

    wanted: tuple[tuple[str, Column], ...]
    unknown: tuple[str, ...]
    passed_over: tuple[tuple[str, str, str], ...] = ()


def choose(file: SourceFile, table: TableColumns, renames: Mapping[str, str]) -> Chosen:
    """Match a file's columns with ours: what `renames` says first, then equal names.

    Case, outer blanks, and whether words are joined by blanks, hyphens or underscores are ignored.

    Raises:
        MissingColumns: a required column, or every one of a group, is not there.
        UsageError: two columns would be the same one of ours.
    """
    sources = {_plain(source): ours for source, ours in renames.items() if table.takes(ours)}
    renamed: dict[str, list[Column]] = {}
    named: dict[str, list[Column]] = {}
    unknown = []
    for column in file.columns:
        plain = _plain(column.name)
        if plain in sources:
            renamed.setdefault(sources[plain], []).append(column)
        elif table.takes(plain):
            named.setdefault(plain, []).append(column)
        else:
            unknown.append(column.name)
    passed_over = [
        (ours, taken[0].name, column.name)
        for ours, taken in renamed.items()
        for column in named.pop(ours, [])
    ]
    unknown += [column for _, _, column in passed_over]
    found = named | renamed
    for ours, columns in found.items():
        if len(columns) > 1:
            raise UsageError(
                f"{file.path}: {len(columns)} columns are {ours}:"
                f" {', '.join(column.name for column in columns)}",
                hint="keep one of them, or rename the other with --map",
                path=file.path,
            )
    _require(file, table, set(found))
    order = {name: place for place, name in enumerate(table.known)}
    names = sorted(found, key=lambda name: (order.get(name, len(order)), name))
    return Chosen(
        wanted=tuple((name, found[name][0]) for name in names),
        unknown=tuple(unknown),
        passed_over=tuple(passed_over),
    )


def check_times(file: SourceFile, chosen: Chosen, names: Collection[str]) -> None:
    """Refuse a column that can hold no times.

    Args:
        file: whose columns.
        chosen: which are read.
        names: ours for columns of times.

    Raises:
        UsageError: one has another type.
    """
    for ours, column in chosen.wanted:
        if ours in names:
            try:
                time_columns(ours, column.type, "UTC")
            except UsageError as problem:
                raise UsageError(
                    f"{file.path}: {column.name}: {problem}", hint=problem.hint, path=file.path
                ) from problem


def context_columns(chosen: Iterable[Chosen]) -> tuple[str, ...]:
    """Every `ctx_NAME` of any file, sorted.

    Raises:
        UsageError: there are more than can be meant, or one has the name of a derived feature.
    """
    names = {name for c in chosen for name, _ in c.wanted if name.startswith(CONTEXT_PREFIX)}
    for feature in DERIVED_FEATURES:
        if CONTEXT_PREFIX + feature in names:
            raise UsageError(
                f"{CONTEXT_PREFIX}{feature}: the feature {feature} is derived from the events",
                hint="leave the column out, or give it another name with --map",
            )
    if len(names) > MAX_CONTEXT_COLUMNS:
        raise UsageError(
            f"{len(names)} context columns (ctx_…), at most {MAX_CONTEXT_COLUMNS} can be learned",
            hint="a context feature is a column with a handful of values, not one column per value",
        )
    return tuple(sorted(names))


def check_renames(
    renames: Mapping[str, str],
    tables: Sequence[TableColumns],
    files: Sequence[SourceFile],
    unread: Sequence[TableColumns] = (),
    inherited: Mapping[str, str] | None = None,
) -> None:
    """Refuse a renaming that would do nothing.

    Args:
        renames: their names to ours.
        tables: that are read.
        files: of these tables.
        unread: tables of the same shop whose files are not read now. What may be meant for one of
            them is left alone, since it can't be told from what is in vain.
        inherited: renamings of an earlier build. Its files had these columns; those of today may
            have our names.

    Raises:
        UsageError: no file has the column, or we have no such name.
    """
    seen = {_plain(column.name) for file in files for column in file.columns}
    for source, ours in renames.items():
        is_taken, is_seen = any(table.takes(ours) for table in tables), _plain(source) in seen
        if not (is_taken and is_seen) and any(table.takes(ours) for table in unread):
            continue
        if not is_seen and (inherited or {}).get(source) == ours:
            continue
        if not is_taken:
            names = [name for table in tables for name in table.known]
            close = difflib.get_close_matches(ours, names, n=1)
            raise UsageError(
                f"--map {source}={ours}: {ours} is not one of our columns",
                hint=f"did you mean {close[0]}?" if close else f"ours are: {', '.join(names)}",
            )
        if not is_seen:
            close = difflib.get_close_matches(_plain(source), sorted(seen), n=1)
            raise UsageError(
                f"--map {source}={ours}: no file has a column {source}",
                hint=f"did you mean {close[0]}?" if close else None,
            )


def _plain(name: str) -> str:
    """A column's name without what differs by taste.

    >>> _plain(" Item-ID ")
    'item_id'
    """
    return re.sub(r"[\s-]+", "_", name.strip().lower())


def _require(file: SourceFile, table: TableColumns, found: set[str]) -> None:
    missing = [name for name in table.required if name not in found]
    wanted = list(missing)
    if table.one_of and not found & set(table.one_of):
        missing += table.one_of
        wanted.append("one of " + ", ".join(table.one_of))
    if not missing:
        return
    seen = [column.name for column in file.columns]
    raise MissingColumns(
        f"{file.path}: as {table.table} it lacks {' and '.join(wanted)}; it has {', '.join(seen)}",
        missing=missing,
        seen=seen,
        hint=f"say which column it is, for instance --map {_likely(missing, seen, found)}"
        + (_NO_TIMES if "ts" in missing else ""),
        path=file.path,
    )


def _likely(missing: Sequence[str], seen: Sequence[str], found: Collection[str]) -> str:
    """The renamings that were probably meant, else one to go by."""
    meant = {}
    for ours in missing:
        for column in seen:
            if column not in meant and _plain(column) in _OTHER_NAMES.get(ours, "").split():
                meant[column] = ours
                break
    if not meant:
        others = [column for column in seen if _plain(column) not in found]
        meant = {others[0] if others else "COLUMN": missing[0]}
    return " ".join(f"{column}={ours}" for column, ours in meant.items())
