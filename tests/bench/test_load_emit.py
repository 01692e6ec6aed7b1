"""Files for other tools: where they go, and that nobody's are in the way of another's."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import get_args

import msgspec
import numpy as np
import pytest

import almanac
from bench.load.emit.load import NotForTool
from bench.load.emit.tools import NotWritable, Tool, emit
from bench.load.schedule import constant, replayed, scheduled
from index.request import Request
from tests.bench.emitted_load import URL, load_of, steps

TOOLS: tuple[Tool, ...] = get_args(Tool)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_several_tools_share_a_folder(tmp_path: Path) -> None:
    for tool in TOOLS:
        emit(tool, steps(), tmp_path / tool)
        emit(tool, steps(), tmp_path / "all")

    alone = [contents(tmp_path / tool) for tool in TOOLS]
    together = contents(tmp_path / "all")
    assert together == alone[0] | alone[1] | alone[2]
    assert len(together) == sum(map(len, alone))


@pytest.mark.parametrize("tool", TOOLS)
def test_the_manual_says_how_what_is_written_is_run(tool: Tool, tmp_path: Path) -> None:
    name = emit(tool, steps(), tmp_path).name
    manual = Path(__file__).parents[2] / "docs" / "load.md"

    command = "k6 run" if tool == "k6" else "sh"
    assert f"$ {command} load/{name}\n" in manual.read_text(encoding="utf-8")


def test_files_are_utf_8_where_the_locale_knows_only_ascii(tmp_path: Path) -> None:
    for tool in TOOLS:
        emit(tool, steps(), tmp_path / "here")
    code = (
        "from pathlib import Path; from bench.load.emit.tools import emit\n"
        "from tests.bench.emitted_load import steps\n"
        f"for tool in {TOOLS}: emit(tool, steps(), Path('there'))"
    )
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    root = str(Path(__file__).parents[2])

    subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, **ascii_only, "PYTHONPATH": root},
        check=True,
        timeout=120,
    )

    assert contents(tmp_path / "there") == contents(tmp_path / "here")
    assert "×".encode() in contents(tmp_path / "here")["load-k6.js"]


@pytest.mark.parametrize("tool", ["vegeta", "wrk2"])
def test_scripts_to_run_are_shell(tool: Tool, tmp_path: Path) -> None:
    path = emit(tool, steps(), tmp_path)

    subprocess.run(["sh", "-n", path], check=True, timeout=30)
    assert path.stat().st_mode & 0o100


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_folder_that_cannot_be_made_is_told(
    place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    words = ["bench", "load", URL, "--customers=1000", "--offers=1000", "--emit=k6"]

    code = almanac.main([*words, f"--emit-dir={tmp_path / place}"])

    assert code == NotWritable.exit_code == 2
    told = capsys.readouterr().err
    assert told.startswith(f"error: {tmp_path / place}: no files can be written there")
    assert "hint: give another --emit-dir" in told


@pytest.mark.parametrize("tool", ["k6", "vegeta"])
def test_phases_shorter_than_a_millisecond_are_refused(tool: Tool, tmp_path: Path) -> None:
    plan = replayed(np.array([0, 1_000_000]), 1e6)

    with pytest.raises(NotForTool, match="shorter than the millisecond"):
        emit(tool, load_of(plan), tmp_path)
    assert not list(tmp_path.iterdir())


def test_lengths_in_milliseconds_add_up(tmp_path: Path) -> None:
    thirds = tuple(replace(constant(9, 1)[0], seconds=1 / 3) for _ in range(3))

    assert load_of(scheduled(thirds, "even", 0)).lengths_ms() == [333, 334, 333]


def test_emitted_bodies_are_requests() -> None:
    assert {msgspec.json.decode(body, type=Request).k for body in steps().sent()} == {3}
