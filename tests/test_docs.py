"""The documents: links lead somewhere, decisions tell their cost, each word is explained once."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import almanac
from index.layout import FORMAT_VERSION
from tests.toys import SECRET, write_toy

ROOT = Path(almanac.__file__).parent
DOCS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
RECORDS = sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))
CHANGELOG = (ROOT / "CHANGELOG.md").read_text()


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", DOCS, ids=named)
def test_every_relative_link_leads_somewhere(path: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", path.read_text())
    local = [target for target in targets if "://" not in target and "mailto:" not in target]

    assert [target for target in local if not (path.parent / target).exists()] == []


@pytest.mark.parametrize("path", DOCS, ids=named)
def test_every_file_of_the_code_that_is_named_exists(path: Path) -> None:
    rooms = "|".join(sorted({*almanac.ROOMS, "docs", "tests"}))
    places = re.findall(rf"`((?:{rooms})/[\w/.-]*)`", path.read_text())

    assert [place for place in places if not (ROOT / place).exists()] == []


@pytest.mark.parametrize("path", RECORDS, ids=named)
def test_a_decision_record_has_every_part_of_the_template(path: Path) -> None:
    parts = re.findall(r"^## .*$", RECORDS[0].read_text(), re.MULTILINE)

    assert parts == re.findall(r"^## .*$", path.read_text(), re.MULTILINE)
    assert path.read_text().startswith(f"# {path.name[:4]}. ")


def test_decision_records_are_numbered_without_gaps_and_indexed() -> None:
    listed = re.findall(r"\((\d{4}-[^)]*)\)", (RECORDS[0].parent / "README.md").read_text())

    assert [int(path.name[:4]) for path in RECORDS] == list(range(len(RECORDS)))
    assert sorted(listed) == [path.name for path in RECORDS]


def test_a_glossary_word_is_explained_once() -> None:
    words = re.findall(r"\*\*([^*]+)\*\*", (ROOT / "docs" / "glossary.md").read_text())

    assert sorted(set(words)) == sorted(words)
    assert len(words) > 40


@pytest.mark.parametrize("path", DOCS, ids=named)
def test_nothing_is_left_of_a_merge(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert not [line for line in lines if line.startswith(("<<<<<<<", "=======", ">>>>>>>"))]


def test_changelog_names_every_verb_and_the_snapshot_format() -> None:
    assert f"**Snapshot format: {FORMAT_VERSION}**" in CHANGELOG
    for verb in almanac.VERBS:
        assert f"`almanac {verb}`" in CHANGELOG


def test_the_code_in_the_readme_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    write_toy(tmp_path / "snapshot")
    (tmp_path / "brand.key").write_bytes(SECRET)
    assert code.count('"demo-data/') == 2

    exec(code.replace('"demo-data/', f'"{tmp_path}/'))

    told = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"\S+  score -?\d+\.\d{3}  probability 0\.\d{3}", told[0])
    assert all(re.fullmatch(r"[+-]\d+\.\d{3}  \S+ \(.*\), \d+ orders", line) for line in told[1:])
    assert len(told) > 1
