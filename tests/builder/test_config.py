"""Settings: what is said is heard, and what is wrong is said at once."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from builder.config import Config, load, settings
from builder.errors import ConfigError, InputNotFound


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "almanac.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_without_file_and_flags_the_defaults_hold() -> None:
    assert load() == Config()


def test_flags_win_over_the_file_and_absent_ones_do_not(tmp_path: Path) -> None:
    path = written(tmp_path, "[input]\nmax_bad = 0.5\npartitions = 8\n")
    config = load(path, {"input.max_bad": 0.25, "input.partitions": None, "learn.seed": 7})
    assert (config.input.max_bad, config.input.partitions, config.learn.seed) == (0.25, 8, 7)


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        '[brand]\ntimezne = "UTC"\ncurrency = "eur"\n[input]\nmax_bad = 3\n[lern]\nseed = 1\n',
    )
    with pytest.raises(ConfigError) as caught:
        load(path, {"input.partitions": "many"})
    assert caught.value.problems == (
        "[lern]: no such section; did you mean learn?",
        "[brand] timezne: no such setting; did you mean timezone?",
        "[brand] currency = 'eur': expected str matching regex '^([A-Z]{3})?$'",
        "[input] max_bad = 3: expected float <= 1.0",
        "[input] partitions = 'many': expected int, got str",
    )
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('[brand]\ntimezone = "Vienna"', "not an IANA time zone"),
        ("[input]\npartitions = 12", "wanted a power of two"),
        ('[input.map]\nfoo = "Not A Name"', "wanted one of our column names"),
        ("brand = 1", r"wanted a section, \[brand\]"),
        ("[brand\n", "not TOML"),
    ],
)
def test_values_that_cannot_be_are_refused(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        load(written(tmp_path, text))


def test_repeats_are_allowed_excluded_or_lowered_by_placement(tmp_path: Path) -> None:
    path = written(
        tmp_path, '[serve]\nrepeat = { home = 0.3, checkout = "allow", "*" = "exclude" }'
    )

    assert load(path).serve.repeat == {"home": 0.3, "checkout": "allow", "*": "exclude"}


def test_a_wrong_entry_is_named_with_its_remedy(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "[serve]\nrepeat = { a = 0.5, b = 1, c = 0.0, d = nan, e = 'never', \"*\" = true }\n"
        "[input]\nmap = { x = 7 }\n[brand]\nname = { x = 'y' }",
    )
    remedy = 'say "allow", "exclude" or a number between 0 and 1'
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert caught.value.problems == (
        "[brand] name = {'x': 'y'}: expected str, got object",
        "[input] map.x = 7: expected str, got int",
        f"[serve] repeat.b = 1: expected float < 1.0; {remedy}",
        f"[serve] repeat.c = 0.0: expected float > 0.0; {remedy}",
        f"[serve] repeat.d = nan: expected float > 0.0; {remedy}",
        f"[serve] repeat.e = 'never': invalid enum value 'never'; {remedy}",
        f"[serve] repeat.* = True: expected float | str, got bool; {remedy}",
    )


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputNotFound, match=r"almanac.toml: no such file"):
        load(tmp_path / "almanac.toml")


def test_date_stands_for_its_first_moment(tmp_path: Path) -> None:
    path = written(tmp_path, "[evaluation]\ntest_start = 2017-12-01\n")
    assert load(path).evaluation.test_start == datetime(2017, 12, 1)  # noqa: DTZ001 - brand's zone


def test_every_setting_says_what_it_means_and_has_a_valid_default() -> None:
    listed = list(settings())
    assert len({(entry.section, entry.name) for entry in listed}) == len(listed)
    for entry in listed:
        assert entry.meaning
        load(None, {f"{entry.section}.{entry.name}": entry.default})
