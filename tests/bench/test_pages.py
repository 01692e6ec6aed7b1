"""Documents that are written by runs: markers are there, and writing twice is writing once."""

from __future__ import annotations

from pathlib import Path

import pytest

import almanac
from bench.pages import BEGIN, END, RUNS, NotThere, newest, rewritten, write_pages

ROOT = Path(almanac.__file__).parent


@pytest.mark.parametrize("name", ["README.md", "docs/capacity.md"])
def test_a_document_keeps_its_markers_and_a_second_writing_changes_nothing(name: str) -> None:
    document = (ROOT / name).read_text()

    once = rewritten(document, "| a |\n|---|\n")

    assert document.count(BEGIN) == document.count(END) == 1
    assert rewritten(once, "| a |\n|---|\n") == once
    assert once.partition(BEGIN)[0] == document.partition(BEGIN)[0]
    assert once.partition(END)[2] == document.partition(END)[2]


@pytest.mark.parametrize(
    "document",
    ["nothing", BEGIN, f"{END} {BEGIN}", f"{BEGIN}{END}{BEGIN}{END}", f"{BEGIN}{END}{END}"],
)
def test_without_one_pair_of_markers_nothing_is_written(document: str) -> None:
    with pytest.raises(NotThere, match="no single pair"):
        rewritten(document, "block")


def test_the_newest_run_of_a_benchmark_is_not_that_of_its_namesake(tmp_path: Path) -> None:
    for folder, text in {
        "http-20260102T000000Z": '{"which": "old"}',
        "http-20260103T000000Z": '{"which": "new"}',
        "http-profile-20260104T000000Z": '{"which": "other"}',
    }.items():
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "summary.json").write_text(text)

    assert newest(tmp_path, "http") == {"which": "new"}
    with pytest.raises(NotThere, match="no run of `almanac bench scale`"):
        newest(tmp_path, "scale")


def test_without_all_runs_no_document_is_touched(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text(f"{BEGIN}\nas it was\n{END}\n")

    with pytest.raises(NotThere, match=f"almanac bench {RUNS[0]}"):
        write_pages(tmp_path, tmp_path / "results")

    assert (tmp_path / "README.md").read_text() == f"{BEGIN}\nas it was\n{END}\n"
