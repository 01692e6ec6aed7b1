"""A snapshot measured on later events: the build's own figures again, and what it had not seen."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from almanac import main
from builder.errors import DataGate, UsageError
from builder.evaluation import evaluate, settings_for
from builder.evaluation_html import render_evaluation
from builder.evaluation_report import Evaluation, Seen, notes
from builder.evaluation_text import evaluation_text
from builder.intake import Inputs
from builder.report import Figures, Report
from index.errors import WrongSecret
from index.manifest import read_manifest
from tests.builder.files import in_threads, write_rows
from tests.builder.planted_shop import (
    AS_OF,
    SECRET_TEXT,
    BuiltShop,
    Planted,
    almanac,
    order_lines,
)

SECRET = SECRET_TEXT.encode()
SEEN = Seen(
    as_of=datetime(2025, 6, 1, tzinfo=UTC),
    holdout=0.2,
    n_orders_learned=900,
    n_orders_before=900,
    n_orders_after=300,
    n_customers_after=200,
    n_customers_known=150,
    n_lines_after=1000,
    n_lines_unknown=0,
)


def evaluate_here(
    snapshot: Path, work_dir: Path, *events: Path, secret: bytes = SECRET, **more: Any
) -> Evaluation:
    """Evaluate in this process; the command line's own tests start others."""
    manifest = read_manifest(snapshot)
    with in_threads(work_dir) as engine:
        return evaluate(
            engine,
            snapshot,
            Inputs(events=events),
            settings_for(manifest, "Europe/Vienna", None, more),
            secret,
            ablate=False,
            command="almanac evaluate",
            memory_bytes=2**30,
        )


@pytest.fixture(scope="module")
def told(
    shipped: BuiltShop, planted: Planted, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """What the command line says of the shipped snapshot on the very events it was built from."""
    folder = tmp_path_factory.mktemp("evaluated")
    done = almanac(
        "evaluate",
        shipped.path,
        "--events",
        *planted.events,
        "--items",
        planted.items,
        "--config",
        planted.config,
        "--ablate",
        "--json",
        "--workers=1",
        "--html",
        folder / "evaluation.html",
        "--out",
        folder / "evaluation.json",
    )
    assert done.returncode == 0, done.stderr
    assert "planted: evaluation" in (folder / "evaluation.html").read_text()
    assert (folder / "evaluation.json").read_text() == done.stdout
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def test_the_figures_are_those_of_the_builds_report(
    told: dict[str, Any], shipped: BuiltShop
) -> None:
    report = orjson.loads((shipped.path / "report.json").read_bytes())

    for part in ("evaluation", "tier_shares", "calibration", "baseline_settings", "segment_gap"):
        assert told[part] == report[part]
    assert [one["slice_name"] for one in told["evaluation"] if one["n_examples"]] == [
        "warm",
        "thin",
        "cold_without_cart",
        "warm",
        "thin",
        "cold_with_cart",
    ]


def test_it_says_what_the_snapshot_had_seen(told: dict[str, Any], shipped: BuiltShop) -> None:
    seen = told["seen"]
    days = [line["ts"][:10] for line in order_lines()]

    assert seen["as_of"].startswith((AS_OF, "2025-05-31T22"))
    assert seen["holdout"] == 0.2
    assert seen["n_orders_before"] == seen["n_orders_learned"]
    assert seen["n_orders_learned"] == shipped.told["counts"]["orders"]
    assert seen["n_lines_after"] == pytest.approx(sum(day >= AS_OF for day in days), rel=0.05)
    assert seen["n_lines_unknown"] == 0
    assert 0 < seen["n_customers_known"] < seen["n_customers_after"]


def test_favourites_are_missed_without_what_customers_themselves_bought(
    told: dict[str, Any],
) -> None:
    lost = {
        (one["question"], one["slice_name"]): {s["signal"]: s["ndcg"] for s in one["signals"]}
        for one in told["ablation"]
    }

    for place in (("next_order", "warm"), ("next_order", "thin")):
        assert lost[place]["personal"]["low"] > 0.2
        others = [found["low"] for signal, found in lost[place].items() if signal != "personal"]
        assert max(others) < 0.02
    # Nobody's own orders are known of a stranger.
    assert "personal" not in lost["next_order", "cold_without_cart"]


def test_later_events_alone_stand_beside_the_snapshots_own_popularity(
    shipped: BuiltShop, tmp_path: Path
) -> None:
    later = [line for line in order_lines() if line["ts"][:10] > AS_OF]
    unknown = [{**line, "item_id": "new-" + line["item_id"]} for line in later[:50]]
    path = write_rows(tmp_path / "later.csv", [*later, *unknown])
    found = evaluate_here(shipped.path, tmp_path / "work", path)
    warm = next(one for one in found.evaluation if one.slice_name == "warm")

    assert [method.method for method in warm.methods] == ["almanac", "default"]
    assert found.seen.n_orders_before == 0
    assert found.seen.n_lines_unknown == 50
    assert warm.methods[0].ndcg.mean.value > warm.methods[1].ndcg.mean.value
    assert found.segment_gap is None
    assert found.baseline_settings == {}
    for words in (evaluation_text(found), render_evaluation(found)):
        assert "only default stands beside ours" in words
        assert f"{warm.methods[0].ndcg.mean.value:.4f}" in words
        assert "Post-purchase" in words


def test_the_builds_catalogue_need_not_be_there_for_its_renamings(
    shipped: BuiltShop, tmp_path: Path
) -> None:
    """A build keeps all its renamings in the manifest, and here only the events are read."""
    choices: dict[str, Any] = {"input.map": {"name of it": "title", "article": "item_id"}}
    path = write_rows(tmp_path / "later.csv", order_lines())

    found = evaluate_here(shipped.path, tmp_path / "work", path, **choices)

    assert found.seen.n_lines_unknown == 0


def test_events_that_the_tables_have_seen_are_refused(shipped: BuiltShop, tmp_path: Path) -> None:
    # The moment is midnight of the shop's clock, two hours before that of UTC.
    seen = [line for line in order_lines() if line["ts"] < AS_OF and line["ts"][11:13] < "22"]
    path = write_rows(tmp_path / "old.csv", seen)

    with pytest.raises(DataGate, match="have seen what came before"):
        evaluate_here(shipped.path, tmp_path / "work", path)


def test_a_renaming_of_the_build_that_is_not_needed_now_is_left_out(
    shipped: BuiltShop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = {"map": {"basket_id": "order_id"}}
    monkeypatch.setattr("builder.evaluation._told_input", lambda _: told)
    seen = [line for line in order_lines() if line["ts"] < AS_OF and line["ts"][11:13] < "22"]
    path = write_rows(tmp_path / "old.csv", seen)

    with pytest.raises(DataGate, match="have seen what came before"):
        evaluate_here(shipped.path, tmp_path / "work", path)
    choices: dict[str, Any] = {"input.map": {"basket_nr": "order_id"}}
    with pytest.raises(UsageError, match="no file has a column basket_nr"):
        evaluate_here(shipped.path, tmp_path / "work", path, **choices)


def test_events_of_another_shop_are_refused(shipped: BuiltShop, tmp_path: Path) -> None:
    rows = [{**line, "item_id": f"other-{line['item_id']}"} for line in order_lines()]
    path = write_rows(tmp_path / "other.csv", rows)

    with pytest.raises(DataGate, match="knows none of the items"):
        evaluate_here(shipped.path, tmp_path / "work", path)


def test_a_configuration_of_another_brand_is_refused(shipped: BuiltShop, tmp_path: Path) -> None:
    path = tmp_path / "almanac.toml"
    path.write_text('[brand]\nname = "corner"\n')

    with pytest.raises(UsageError, match="of brand planted, the configuration of corner"):
        settings_for(read_manifest(shipped.path), "Europe/Vienna", path, {})


def test_another_brands_secret_is_refused_before_anything_is_read(
    shipped: BuiltShop, tmp_path: Path
) -> None:
    with pytest.raises(WrongSecret):
        evaluate_here(
            shipped.path, tmp_path / "work", tmp_path / "missing.csv", secret=b"another secret 16b"
        )


def test_events_are_read_as_the_build_read_its_own(shipped: BuiltShop) -> None:
    manifest = read_manifest(shipped.path)
    manifest.build["input"]["zero_quantity"] = "drop"
    manifest.build["input"]["a setting of tomorrow"] = True

    chosen = settings_for(manifest, "Europe/Vienna", None, {"input.max_bad": 0.5})

    assert chosen.input.zero_quantity == "drop"
    assert chosen.input.max_bad == 0.5
    assert chosen.brand.timezone == "Europe/Vienna"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        pytest.param(("nowhere", "--events", "x.csv"), 4, "nowhere", id="no snapshot"),
        pytest.param((".", "--events", "x.csv"), 3, "manifest", id="not a snapshot"),
        pytest.param(("SNAPSHOT", "--events", "x.csv"), 4, "x.csv", id="no events"),
        pytest.param(("SNAPSHOT", "--events", "empty.csv"), 5, "empty", id="an empty file"),
        pytest.param(
            ("SNAPSHOT", "--events", "x.csv", "--html", "no/where.html"),
            2,
            "no/where",
            id="no folder",
        ),
    ],
)
def test_what_cannot_be_evaluated_says_why(
    shipped: BuiltShop,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    code: int,
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ALMANAC_SECRET", SECRET_TEXT)
    (tmp_path / "empty.csv").touch()
    given = [str(shipped.path) if word == "SNAPSHOT" else word for word in words]

    assert main(["evaluate", *given]) == code
    assert said in capfd.readouterr().err


@pytest.mark.parametrize("flag", ["--out", "--html"])
def test_a_full_disk_leaves_no_figures(
    shipped: BuiltShop,
    report: Report,
    small_disk: Callable[[int], Path],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    flag: str,
) -> None:
    found = Evaluation(
        **{field.name: getattr(report, field.name) for field in fields(Figures)},
        brand="planted",
        snapshot_id="today",
        seen=SEEN,
        min_orders=1,
        shop=report.shop,
        imports=report.imports,
        notes=(),
        command="almanac evaluate",
    )
    monkeypatch.setattr("builder.evaluate_cli.run_evaluation", lambda *_, **__: found)
    monkeypatch.setenv("ALMANAC_SECRET", SECRET_TEXT)
    disk = small_disk(4)

    assert main(["evaluate", str(shipped.path), "--events=x.csv", flag, str(disk / "told")]) == 75
    assert "hint: make room" in capfd.readouterr().err
    assert list(disk.iterdir()) == []


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        (SEEN, "20% of all customers were kept out"),
        (replace(SEEN, holdout=None), "does not say whether customers were kept out"),
        (replace(SEEN, holdout=0.0), "nobody was kept out"),
        (SEEN, "from the same 900 orders as the snapshot"),
        (replace(SEEN, n_orders_before=100), "do not know the same past"),
        (replace(SEEN, n_orders_before=0), "only default stands beside ours"),
        (replace(SEEN, n_lines_unknown=25), "25 of 1,000 lines (2.5%)"),
        (SEEN, "150 of the 200 customers"),
    ],
)
def test_notes_say_what_was_known(seen: Seen, said: str) -> None:
    assert any(said in note for note in notes(seen, min_orders=1))
