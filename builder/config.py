"""The brand's choices: `almanac.toml` read into frozen values, every problem reported at once.

A setting is a field of one of the section classes: its type says what is allowed, the sentence
beside the type what it means, its default what holds when nothing is said. Flags override the file.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import Field, dataclass, field, fields
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeAlias, get_type_hints
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from msgspec import Meta

from builder.errors import ConfigError, InputNotFound
from index.request import REPEAT_REMEDY, RepeatPolicy

Share: TypeAlias = Annotated[float, Meta(ge=0, le=1)]
Count: TypeAlias = Annotated[int, Meta(ge=1)]
Patterns: TypeAlias = tuple[str, ...]
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_IN_ENTRY: Final = " - at `$[...]`"
_REMEDIES: Final = {"[serve] repeat": REPEAT_REMEDY}
"""What to do about values whose type alone does not say it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Brand:
    """Who this is for."""

    name: Annotated[
        str,
        Meta(min_length=1, max_length=64),
        "names the brand in reports and its default secret file",
    ] = "shop"
    timezone: Annotated[
        str, "IANA zone of the shop's hours, and of times that come without an offset"
    ] = "UTC"
    currency: Annotated[
        str,
        Meta(pattern="^([A-Z]{3})?$"),
        "ISO 4217 code; prices in another currency count as unknown",
    ] = ""
    secret_file: Annotated[str | None, "file with the 16 to 64 bytes that key customer ids"] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """How files are read and what is refused."""

    max_bad: Annotated[Share, "share of bad rows above which the build stops"] = 0.001
    max_loss: Annotated[
        Share, "share of the orders or items of an incremental build's parent that may be missing"
    ] = 0.1
    map: Annotated[dict[str, str], "source column = our column, for files with other names"] = (
        field(default_factory=dict)
    )
    target: Annotated[
        Literal["purchase", "view", "add_to_cart"], "the event that offers are meant to bring about"
    ] = "purchase"
    category_separator: Annotated[
        str,
        Meta(min_length=1, max_length=3),
        "what stands between the levels of a category path",
    ] = ">"
    zero_quantity: Annotated[
        Literal["quarantine", "drop"], "whether lines of quantity 0 are bad or merely nothing"
    ] = "quarantine"
    negative_quantity: Annotated[
        Literal["quarantine", "refund"], "whether lines of negative quantity are bad or refunds"
    ] = "quarantine"
    max_quantity: Annotated[int, Meta(ge=1, le=2**31 - 1), "a larger quantity is bad"] = 1_000_000
    max_unit_price: Annotated[
        float,
        Meta(gt=0, le=1e12),
        "a larger price of one piece is bad, in the currency's major unit",
    ] = 1_000_000.0
    test_customers: Annotated[
        Patterns, "customer ids of tests, * and ? as wildcards, case ignored; dropped"
    ] = ("*@example.com", "*@example.org", "*@example.net", "*.test", "*.invalid")
    test_orders: Annotated[Patterns, "order ids of tests, likewise; dropped"] = (
        "test",
        "test-*",
        "test_*",
    )
    bot_max_orders_per_day: Annotated[
        Count, "a customer with more orders on one UTC day is a bot; all its events are dropped"
    ] = 100
    bot_max_events_per_day: Annotated[
        Count, "a customer or session with more events on one UTC day is a bot, likewise"
    ] = 5_000
    partitions: Annotated[
        int,
        Meta(ge=0, le=4096),
        "how many parts customers are split into, a power of two; 0 chooses by input size",
    ] = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Learn:
    """How tables are learned."""

    seed: Annotated[int, Meta(ge=0), "draws the samples; same seed, same snapshot"] = 0
    effort: Annotated[
        Literal["quick", "standard", "thorough"], "how much time is spent on learning"
    ] = "standard"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """How the tables are judged on orders they have not seen."""

    holdout: Annotated[
        float,
        Meta(ge=0, le=0.5),
        "share of customers kept out of learning, to judge offers for strangers",
    ] = 0.1
    slice_days: Annotated[
        Count, "length of the slices that weights and final numbers come from"
    ] = 28
    test_start: Annotated[
        datetime | None,
        "first moment of the final slice; by default the last `slice_days` of the data",
    ] = None
    min_orders: Annotated[
        Count,
        "offers in fewer order lines before the final slice are neither asked for nor ranked, by"
        " no method; published protocols often set 5",
    ] = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Serve:
    """What the snapshot tells every edge to do by default."""

    repeat: Annotated[
        dict[str, RepeatPolicy],
        "by placement, * for the others: whether what the customer already bought may be offered:"
        ' "allow", "exclude", or a number between 0 and 1 that its odds are multiplied with',
    ] = field(default_factory=dict)
    reserve: Annotated[Share, "offers less probable than this are not shown"] = 0.0
    exploration: Annotated[
        float, Meta(ge=0, le=0.5), "share of decisions that also try offers further down"
    ] = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """All sections; `load` makes and checks it."""

    brand: Brand = field(default_factory=Brand)
    input: Input = field(default_factory=Input)
    learn: Learn = field(default_factory=Learn)
    evaluation: Evaluation = field(default_factory=Evaluation)
    serve: Serve = field(default_factory=Serve)

    def moment_us(self, at: datetime) -> int:
        """UTC microseconds of a moment; one without an offset is in the brand's time zone.

        Raises:
            OverflowError: it lies outside of the years 1 to 9999, UTC.
        """
        if at.tzinfo is None:
            at = at.replace(tzinfo=ZoneInfo(self.brand.timezone))
        return (at.astimezone(UTC) - _EPOCH) // timedelta(microseconds=1)

    @property
    def test_start_us(self) -> int | None:
        """First moment of the final slice, where the brand names one."""
        start = self.evaluation.test_start
        return None if start is None else self.moment_us(start)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One setting as the documentation lists it."""

    section: str
    name: str
    default: object
    meaning: str


def load(
    path: Path | None = None,
    overrides: Mapping[str, object] | None = None,
    *,
    usual: Mapping[str, object] | None = None,
) -> Config:
    """Read a configuration.

    Args:
        path: an `almanac.toml`; None for the defaults.
        overrides: `section.name` to value, from flags; None values are not set. They win.
        usual: likewise, in place of the defaults; the file wins.

    Raises:
        InputNotFound: there is no such file.
        ConfigError: with every problem of file and flags.
    """
    document = _read(path) if path is not None else {}
    problems: list[str] = []
    sections: dict[str, Any] = {}
    given = dict(document)
    for dotted, value in (usual or {}).items():
        section, _, name = dotted.partition(".")
        if isinstance(given.setdefault(section, {}), dict):
            given[section] = {name: value, **given[section]}
    for dotted, value in (overrides or {}).items():
        if value is not None:
            section, _, name = dotted.partition(".")
            given[section] = {**_table(given.get(section)), name: value}
    kinds = get_type_hints(Config)
    problems += [
        f"[{name}]: no such section{_meant(name, kinds)}"
        for name in sorted(set(given) - set(kinds))
    ]
    for name, kind in kinds.items():
        sections[name] = _section(name, kind, given.get(name, {}), problems)
    if not problems:
        config = Config(**sections)
        problems += _contradictions(config)
    if problems:
        raise ConfigError(
            f"{path or 'settings'}: " + "; ".join(problems), problems=problems, path=path
        )
    return Config(**sections)


def settings() -> Iterator[Setting]:
    """Every setting with its default and meaning, in order."""
    for section, kind in get_type_hints(Config).items():
        hints = get_type_hints(kind, include_extras=True)
        defaults = kind()
        for entry in fields(kind):
            (meaning,) = (note for note in hints[entry.name].__metadata__ if isinstance(note, str))
            yield Setting(
                section=section,
                name=entry.name,
                default=getattr(defaults, entry.name),
                meaning=meaning,
            )


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputNotFound(f"{path}: no such file", path=path) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"{path}: not TOML: {error}", path=path) from error


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _section(name: str, kind: Any, given: Any, problems: list[str]) -> Any:
    if not isinstance(given, dict):
        problems.append(f"{name} = {given!r}: wanted a section, [{name}]")
        return None
    known: dict[str, Field[Any]] = {entry.name: entry for entry in fields(kind)}
    hints = get_type_hints(kind, include_extras=True)
    values = {}
    for key, value in given.items():
        if key not in known:
            problems.append(f"[{name}] {key}: no such setting{_meant(key, known)}")
            continue
        try:
            values[key] = msgspec.convert(_whole(value), hints[key])
        except msgspec.ValidationError as error:
            problems += _misfits(f"[{name}] {key}", value, hints[key], error)
    return kind(**values)


def _misfits(place: str, value: Any, kind: Any, error: msgspec.ValidationError) -> Iterator[str]:
    """What is wrong with a value, entry by entry where some of them are."""
    if not str(error).endswith(_IN_ENTRY):
        yield f"{place} = {value!r}: {_lowered(str(error))}"
        return
    for entry, one in value.items():
        try:
            msgspec.convert({entry: one}, kind)
        except msgspec.ValidationError as problem:
            said = _lowered(str(problem).removesuffix(_IN_ENTRY))
            remedy = f"; {_REMEDIES[place]}" if place in _REMEDIES else ""
            yield f"{place}.{entry} = {one!r}: {said}{remedy}"


def _whole(value: Any) -> Any:
    """A date as its first moment; TOML and flags may give either."""
    if isinstance(value, date) and not isinstance(value, datetime):
        return datetime.combine(value, time())
    return value


def _meant(name: str, known: Mapping[str, object]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else f"; known: {', '.join(known)}"


def _lowered(text: str) -> str:
    return text[:1].lower() + text[1:].replace("`", "")


def _contradictions(config: Config) -> Iterator[str]:
    """What each value allows but the whole does not."""
    try:
        ZoneInfo(config.brand.timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        yield (
            f"[brand] timezone = {config.brand.timezone!r}: not an IANA time zone such as"
            " Europe/Vienna"
        )
    n = config.input.partitions
    if n & (n - 1):
        yield f"[input] partitions = {n}: wanted a power of two, or 0"
    for source, ours in config.input.map.items():
        if not re.fullmatch(r"[a-z][a-z0-9_]*", ours):
            yield f"[input] map {source} = {ours!r}: wanted one of our column names"
