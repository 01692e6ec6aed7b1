"""`docs/failure-cases.md`: every case is there, and every test that is said to show it exists."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

import almanac

ROOT = Path(almanac.__file__).parent
ROWS = re.findall(
    r"^\| (\d+) \| (.*) \|$", (ROOT / "docs" / "failure-cases.md").read_text(), re.MULTILINE
)


@cache
def docstrings_in(path: str) -> dict[str, str]:
    """Docstrings of the tests of a file, by name."""
    parsed = ast.parse((ROOT / path).read_text())
    functions = [node for node in ast.walk(parsed) if isinstance(node, ast.FunctionDef)]
    return {function.name: ast.get_docstring(function) or "" for function in functions}


def cases_of(name: str, docstring: str) -> set[int]:
    """The cases that a test is named after, by its name or by how its docstring begins."""
    named = re.match(r"test_cases?_(\d+)(?:_and_(\d+))?", name)
    said = re.match(r"Cases? ([\d, and]+)[.:]", docstring)
    numbers = [*(named.groups() if named else ()), *re.findall(r"\d+", said[1] if said else "")]
    return {int(number) for number in numbers if number}


def test_all_cases_are_told_in_order() -> None:
    assert [int(number) for number, _ in ROWS] == list(range(1, 44))


@pytest.mark.parametrize(("number", "row"), ROWS, ids=[number for number, _ in ROWS])
def test_the_tests_of_a_case_exist_and_are_named_after_it(number: str, row: str) -> None:
    shown = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", row)

    assert shown
    for path, name in shown:
        assert name in docstrings_in(path)
        assert int(number) in cases_of(name, docstrings_in(path)[name])


def test_a_test_that_is_named_after_a_case_is_told() -> None:
    told = {test for _, row in ROWS for test in re.findall(r"`(tests/[\w/]+\.py::\w+)`", row)}
    found = {
        f"{path.relative_to(ROOT)}::{name}"
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in docstrings_in(str(path.relative_to(ROOT)))
        if re.match(r"test_cases?_\d", name)
    }

    assert len(found) > 25
    assert found <= told
