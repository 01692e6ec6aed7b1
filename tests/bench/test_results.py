"""What is kept of a run, and what is printed of it."""

from __future__ import annotations

from datetime import datetime, tzinfo
from pathlib import Path

import numpy as np
import orjson
import pytest

from bench import results
from bench.results import tell_run


@pytest.mark.parametrize(("json", "printed"), [(False, "a table\n"), (True, '{"b":1,"a":2}\n')])
def test_a_run_is_kept_whole_whichever_way_it_is_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], *, json: bool, printed: str
) -> None:
    samples = {"edge": np.array([3, 4])}
    tell_run("http", {"b": 1, "a": 2}, "a table", samples=samples, out_dir=tmp_path, json=json)

    (run_dir,) = tmp_path.glob("http-*")
    told = capsys.readouterr()
    assert (told.out, told.err) == (printed, f"kept in {run_dir}\n")
    assert orjson.loads((run_dir / "summary.json").read_bytes()) == {"a": 2, "b": 1}
    with np.load(run_dir / "samples.npz") as kept:
        assert {name: kept[name].tolist() for name in kept} == {"edge": [3, 4]}


def test_a_run_without_samples_keeps_an_empty_file_of_them(tmp_path: Path) -> None:
    tell_run("churn", {}, "", out_dir=tmp_path, json=False)

    (run_dir,) = tmp_path.iterdir()
    with np.load(run_dir / "samples.npz") as kept:
        assert not kept.files


def test_runs_that_end_in_the_same_second_are_kept_beside_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stopped:
        @staticmethod
        def now(zone: tzinfo) -> datetime:
            return datetime(2026, 11, 1, tzinfo=zone)

    monkeypatch.setattr(results, "datetime", Stopped)
    for number in range(3):
        tell_run("http", {"run": number}, "", out_dir=tmp_path, json=False)

    kept = {
        path.name: orjson.loads((path / "summary.json").read_bytes())["run"]
        for path in tmp_path.iterdir()
    }
    assert kept == {
        "http-20261101T000000Z": 0,
        "http-20261101T000000Z-2": 1,
        "http-20261101T000000Z-3": 2,
    }
