"""The scorecard as a page: every line with its command, and others beside it."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from bench.scorecard.beside import NoScorecard, beside_table
from bench.scorecard.cli import scorecard
from bench.scorecard.lines import (
    FAILED,
    NOT_MEASURED,
    PASSED,
    Bar,
    Bars,
    Course,
    Line,
    Table,
    Verdict,
)
from bench.scorecard.page import render
from builder.errors import InputNotFound


class _Page(HTMLParser):
    """What a page holds: addresses of what it would load, and the commands in it."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loads += [value or "" for name, value in attrs if name in {"src", "href", "data"}]


@pytest.fixture
def told() -> dict[str, Any]:
    machine = {"cpu": "c", "cores": 2, "memory_gib": 1, "kernel": "k", "python": "3", "sums": "s"}
    machine |= {"is_real_time": True}
    return {
        "verdict": "fail",
        "made_at": "today",
        "rate": "1× is 5.",
        "service": {"name": "<shop>", "about": "About"},
        "stood_still": {"cores": 2, "seconds": 2.0, "per_second": 9.5, "longest_ms": 3.97},
        "machine": machine | {"load_at_start": 0.1, "commit": None, "command": "almanac scorecard"},
        "beside": [],
        "runs": {},
        "lines": [],
    }


VERDICTS: list[tuple[str, Verdict]] = [
    ("peak", PASSED),
    ("peak", FAILED),
    ("cold", NOT_MEASURED),
    ("trial", PASSED),
]
LINES = [
    Line(
        part=part,
        title=f"Title {number} & more",
        verdict=verdict,
        sentence=f"Sentence {number}.",
        command=f"almanac scorecard --only {part} --number {number}",
        evidence=(
            Table(caption="Table", header=["a", "b"], rows=[["x", f"cell {number}"]]),
            Bars(title="Bars", rows=[Bar(label="l", value=1.0, text="1", low=0.5, high=2.0)]),
            Course(
                title="Course",
                seconds=[0.25, 0.75],
                lines={
                    "median": [1.0, None],
                    "99th percentile": [None, 2.0],
                    "longest": [9.0, 9.0],
                },
                rates=[4.0, 8.0],
                marks=[(0.0, "<begin>")],
                limit_ms=1.0,
            ),
        ),
    )
    for number, (part, verdict) in enumerate(VERDICTS)
]


def test_a_page_has_every_line_with_its_command_and_loads_nothing(told: dict[str, Any]) -> None:
    page = render(told, LINES)

    found = _Page()
    found.feed(page)
    assert [address for address in found.loads if not address.startswith("#")] == []
    assert re.findall(r"https?://|url\(|@import|<script|<link", page) == []
    assert found.tags.count("article") == len(LINES)
    assert found.tags.count("svg") == 2 * len(LINES)
    for number, line in enumerate(LINES):
        assert f"<code>{line.command}</code>" in page
        assert page.count(f"Sentence {number}.") == 2
        assert f"cell {number}" in page
    assert "&lt;shop&gt;" in page
    assert "9.5 times a second, 4.0 ms at most (2 cores, 2 s)" in page
    assert "real-time" in page
    assert "<begin>" not in page
    assert "A promise was not kept: 2 pass, 1 fail, 1 not measured." in page
    assert page.count('class="badge') == 2 * len(LINES)


def test_others_stand_beside_ours_at_each_load() -> None:
    phase = {"asked_per_s": 5.0, "latency": {"p50_us": 500.0, "p99_us": None}, "errors": {"503": 2}}
    run = {"verdict": {"is_trusted": True}, "phases": {"1×": phase}}
    quality = {"figures": {"at_rest": 0.25}}
    ours = {"service": {"name": "a"}, "runs": {"step": run}, "lines": [quality]}
    late = {**run, "verdict": {"is_trusted": False}}
    empty = {**run, "distrust": "None of 9 answers that were read holds an offer."}
    others = [
        {"service": {"name": name}, "runs": {"step": theirs}, "lines": [{"figures": {}}]}
        for name, theirs in (("b", late), ("c", empty))
    ]

    table = beside_table(ours, others)

    assert list(table.header) == ["load", "a", "b", "c"]
    assert [list(row) for row in table.rows] == [
        ["NDCG@10 at rest", "0.2500", "–", "–"],
        ["NDCG@10 at peak", "–", "–", "–"],
        ["step, 1×", "5/s: 0.50 / – ms, 2 errors", "not measured", "not measured"],
    ]


def test_what_is_no_scorecard_can_not_stand_beside(tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    path.write_text('{"format": "something"}')

    with pytest.raises(NoScorecard):
        scorecard(events=["x"], beside=[path], out=tmp_path / "out")
    with pytest.raises(InputNotFound, match=r"--beside .*absent\.json: No such file"):
        scorecard(events=["x"], beside=[tmp_path / "absent.json"], out=tmp_path / "out")
