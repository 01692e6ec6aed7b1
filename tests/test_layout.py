"""The house as a whole: every folder is a known floor, every library is imported where it belongs.

import-linter checks that imports only go down. What it can't express is checked here: that no
folder escapes it, and that a floor imports no library its installation would not bring.
"""

from __future__ import annotations

import ast
import sys
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import almanac

ROOT = Path(almanac.__file__).parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS = PROJECT["project"]["optional-dependencies"]

# The extras whose libraries a floor may import, besides the core.
FLOORS: dict[str, list[str]] = {
    "index": ["ship"],
    "edge": ["edge"],
    "builder": ["build", "cluster", "demo"],
    "bench": ["bench", "edge"],
}

# Contenders that an interpreter of their own runs, beside what bench/peers/requirements.txt names.
APART = {
    Path("bench/peers/fastapi_model.py"),
    Path("bench/peers/fastapi_scikit.py"),
    Path("bench/peers/feast_repo.py"),
}


def modules() -> list[Path]:
    return sorted(path for floor in FLOORS for path in (ROOT / floor).rglob("*.py"))


def imported(path: Path) -> Iterator[str]:
    """Top-level names a file imports when it runs, wherever in the file it does."""
    waiting: list[ast.AST] = [ast.parse(path.read_text(), path.name)]
    while waiting:
        node = waiting.pop()
        match node:
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                waiting += node.orelse
                continue
            case ast.Import():
                yield from (alias.name.partition(".")[0] for alias in node.names)
            case ast.ImportFrom(level=0, module=str(name)):
                yield name.partition(".")[0]
            case ast.ImportFrom():
                pytest.fail(f"{path}: a relative import; write the whole name")
        waiting += ast.iter_child_nodes(node)


@cache
def owners_of_names() -> Mapping[str, list[str]]:
    """Which distributions bring a top-level name: looks at every file that is installed."""
    return packages_distributions()


def distributions_of(floor: str) -> set[str]:
    lines = [*PROJECT["project"]["dependencies"]]
    for extra in FLOORS[floor]:
        lines += EXTRAS[extra]
    return {canonicalize_name(Requirement(line).name) for line in lines}


def test_every_folder_with_code_is_a_floor_or_the_tests() -> None:
    folders = {path.relative_to(ROOT).parts[0] for path in ROOT.glob("[!.]*/**/*.py")}

    assert folders == {*FLOORS, "tests"}
    assert {path.name for path in ROOT.glob("*.py")} == {"almanac.py", "hatch_build.py"}


@pytest.mark.parametrize(
    "named",
    [
        pytest.param(PROJECT["tool"]["importlinter"]["root_packages"], id="import-linter"),
        pytest.param(almanac.ROOMS, id="front door"),
        pytest.param(
            set(PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"])
            - {"almanac.py"},
            id="wheel",
        ),
        pytest.param(set(PROJECT["tool"]["mypy"]["files"]) - {"almanac.py", "tests"}, id="mypy"),
        pytest.param(
            set(PROJECT["tool"]["pytest"]["ini_options"]["testpaths"]) - {"tests"}, id="pytest"
        ),
    ],
)
def test_every_list_of_floors_is_complete(named: list[str]) -> None:
    assert set(named) == set(FLOORS)


def test_tests_are_no_package() -> None:
    assert not list((ROOT / "tests").rglob("__init__.py"))


@pytest.mark.parametrize(
    "path",
    [path for path in modules() if path.relative_to(ROOT) not in APART],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_a_floor_imports_only_what_its_installation_brings(path: Path) -> None:
    floor = path.relative_to(ROOT).parts[0]
    ours = {*FLOORS, *sys.stdlib_module_names}
    owners = owners_of_names()
    foreign = {name for name in imported(path) if name not in ours}

    brought = distributions_of(floor)
    for name in sorted(foreign):
        assert {canonicalize_name(owner) for owner in owners.get(name, [])} & brought, (
            f"{path.relative_to(ROOT)} imports {name}, which is neither in the core "
            f"nor in {FLOORS[floor]}"
        )


@pytest.mark.parametrize("path", sorted(APART), ids=str)
def test_what_another_interpreter_runs_imports_nothing_of_ours(path: Path) -> None:
    assert not {*imported(ROOT / path)} & {*FLOORS}


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_module_says_what_it_is_for(path: Path) -> None:
    tree = ast.parse(path.read_text())

    assert ast.get_docstring(tree) or (path.name == "__init__.py" and not tree.body), path


def test_no_other_project_owns_a_floor_s_name() -> None:
    owners = owners_of_names()

    for name in ("almanac", *FLOORS):
        assert set(owners.get(name, [])) <= {"offer-almanac"}
