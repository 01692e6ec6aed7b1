"""A whole night over the real command line: what was planted comes out, whole or not at all."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from almanac import main
from index.decide import decide
from index.generation import Generation
from index.layout import customer_key
from index.request import CartLine, Request
from index.snapshot import open_snapshot
from index.verify import verify_snapshot
from tests.builder.planted_shop import (
    AS_OF,
    N_CUSTOMERS,
    SECRET_TEXT,
    UMBRELLAS,
    BuiltShop,
    Planted,
    build_shop,
    build_words,
    command,
    customer_id,
    environment,
    favourites,
    item_id,
    order_lines,
)

SECRET = SECRET_TEXT.encode()
AS_OF_AT = datetime.fromisoformat(AS_OF).replace(tzinfo=ZoneInfo("Europe/Vienna"))
KILLED_AFTER = ("import", "write weighing", "measure")


@pytest.fixture(scope="session")
def generation(rehearsed: BuiltShop) -> Iterator[Generation]:
    """The planted shop's tables, opened."""
    with open_snapshot(rehearsed.path, SECRET) as opened:
        yield opened


def test_a_built_snapshot_passes_the_deep_check(rehearsed: BuiltShop, shipped: BuiltShop) -> None:
    for built in (rehearsed, shipped):
        assert main(["verify", "--deep", str(built.path)]) == 0
        assert len(list(verify_snapshot(built.path, deep=True))) > 0


def test_nothing_but_the_snapshot_is_left(rehearsed: BuiltShop, shipped: BuiltShop) -> None:
    for built in (rehearsed, shipped):
        assert list(built.path.parent.iterdir()) == [built.path]
        assert {"report.json", "report.html"} < {path.name for path in built.path.iterdir()}


def test_nothing_is_left_to_complain_of(rehearsed: BuiltShop, shipped: BuiltShop) -> None:
    """Locks between processes that outlive them are told of by Python, below the last stage."""
    for built in (rehearsed, shipped):
        assert "leaked" not in built.stderr


def test_json_is_the_report_that_ships(rehearsed: BuiltShop, shipped: BuiltShop) -> None:
    assert rehearsed.told["report"]["measured_on"] == "rehearsal snapshot"
    assert shipped.told["report"]["measured_on"] == "shipped snapshot"
    for built in (rehearsed, shipped):
        with open_snapshot(built.path, SECRET) as opened:
            assert built.told["model_id"] == opened.model_id
            assert built.told["snapshot_id"] == opened.snapshot_id
            assert built.told["counts"] == opened.manifest.counts


def test_no_customer_can_be_read_from_any_byte(rehearsed: BuiltShop, shipped: BuiltShop) -> None:
    # `planted-mail` also catches the test customer that only the configuration names.
    words = ["person.", "@planted", "planted-mail", "visitor-", "-cookie", SECRET_TEXT, "o-00001"]
    needles = [word.encode(code) for word in words for code in ("utf-8", "utf-16-le", "utf-16-be")]
    for built in (rehearsed, shipped):
        files = sorted(built.path.iterdir())
        content = {path.name: path.read_bytes() for path in files}
        found = [(n, name) for n in needles for name, bytes_ in content.items() if n in bytes_]
        assert len(files) == 9
        assert found == []


def test_a_known_customers_favourites_come_first(generation: Generation) -> None:
    orders = orders_of(until=None)
    regulars = [number for number in range(N_CUSTOMERS) if len(orders[customer_id(number)]) >= 5]
    wanted = {number: {item_id(item) for item in favourites(number)} for number in regulars}

    first = {
        number: decide(generation, Request(customer_id=customer_id(number))).offers[0].offer_id
        for number in regulars
    }
    assert len(regulars) > N_CUSTOMERS // 2
    assert [number for number in regulars if first[number] not in wanted[number]] == []


def test_the_partner_of_an_item_in_a_strangers_cart_comes_first(generation: Generation) -> None:
    first = {
        item: decide(generation, Request(cart=[CartLine(item_id=item)])).offers[0].offer_id
        for item in map(item_id, range(40, 50))
    }
    assert first == {item_id(item): item_id(item + 10) for item in range(40, 50)}


def test_what_a_context_lifts_is_told(generation: Generation) -> None:
    lifts = {
        weather: {
            offer.offer_id: reason.value
            for offer in decide(
                generation, Request(k=60, context={"weather": weather}, explain=True)
            ).offers
            for reason in offer.reasons or ()
            if reason.signal == "context:weather"
        }
        for weather in ("rain", "sun")
    }
    umbrellas = {item_id(item) for item in UMBRELLAS}

    assert {offer for offer, lift in lifts["rain"].items() if lift > 0.5} == umbrellas
    assert all(lifts["sun"][offer] < -0.5 for offer in umbrellas)


def test_a_rehearsal_ships_what_it_knows_of_everyone(generation: Generation) -> None:
    orders = orders_of(until=None)

    assert {name for name in orders if is_known(generation, name)} == set(orders)


def test_held_out_customers_and_later_orders_are_not_in_measured_tables(
    shipped: BuiltShop,
) -> None:
    seen = set(orders_of(until=AS_OF_AT))
    held_out = {name for name in seen if bucket(name) < 2000}
    with open_snapshot(shipped.path, SECRET) as opened:
        known = {name for name in orders_of(until=None) if is_known(opened, name)}
        assert opened.manifest.data["until_us"] == AS_OF_AT.timestamp() * 1e6

    assert len(held_out) > N_CUSTOMERS // 10
    assert known == seen - held_out


def test_counts_are_of_what_was_learned_from(shipped: BuiltShop, rehearsed: BuiltShop) -> None:
    lines = order_lines()
    everything = {line["order_id"] for line in lines}
    before = {line["order_id"] for line in lines if moment(line) < AS_OF_AT}

    assert rehearsed.told["counts"]["orders"] == len(everything)
    # A fifth of the customers, and of the guests' orders, is kept out.
    assert 0.7 * len(before) < shipped.told["counts"]["orders"] < 0.9 * len(before)


def test_segments_are_set_against_all_known_customers(shipped: BuiltShop) -> None:
    """Everybody has two favourites, which no segment can tell."""
    before, ever = orders_of(until=AS_OF_AT), orders_of(until=None)
    n_before = [
        len(orders)
        for name, orders in before.items()
        if bucket(name) >= 2000 and len(ever[name]) > len(orders)
    ]
    gap = shipped.told["report"]["segment_gap"]

    assert gap["overall"]["n_examples"] == len(n_before)
    assert sum(one["n_examples"] for one in gap["bins"]) == len(n_before)
    assert all(one["ndcg"]["difference"]["low"] > 0.0 for one in gap["bins"])


def test_killed_again_and_again_it_ends_with_the_same_tables(
    planted: Planted, shipped: BuiltShop, tmp_path: Path
) -> None:
    """Also: other workers, another order of the files, another folder."""
    other = Planted(events=planted.events[::-1], items=planted.items, config=planted.config)
    out = tmp_path / "again"
    more = ("--workers=2", f"--as-of={AS_OF}")
    for stage in KILLED_AFTER:
        kill_after(stage, build_words(other, out, *more))
        assert not out.exists()
    again = build_shop(other, out, *more)

    assert "from an earlier run" in again.stderr
    assert again.told["model_id"] == shipped.told["model_id"]
    assert digests(again.path) == digests(shipped.path)
    assert list(tmp_path.iterdir()) == [out]


def kill_after(stage: str, words: list[str | Path]) -> None:
    """Kill a build and its workers when it says that a stage is done."""
    process = subprocess.Popen(
        command(words),
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stderr is not None
    with process.stderr:
        said = list(itertools.takewhile(lambda line: not line.startswith(stage), process.stderr))
        os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "".join(said)


def digests(path: Path) -> dict[str, str]:
    """Digest of every file that is not a report."""
    with open_snapshot(path, SECRET) as opened:
        return {entry.name: entry.sha256 for entry in opened.manifest.files}


def is_known(opened: Generation, name: str) -> bool:
    """Whether the tables have a record of a customer or visitor."""
    return decide(opened, Request(customer_id=name)).tier in {"individual", "thin"}


def bucket(name: str) -> int:
    """Which of the 10,000 parts that are kept out from below a customer falls into."""
    return int.from_bytes(customer_key(SECRET, name)[8:], "big") % 10_000


def moment(line: dict[str, str]) -> datetime:
    """When a line was bought."""
    return datetime.fromisoformat(line["ts"])


def orders_of(until: datetime | None) -> dict[str, set[str]]:
    """Orders of every customer and visitor before a moment."""
    orders: dict[str, set[str]] = {}
    for line in order_lines():
        visitor = f"anon:{line['anonymous_id']}" if line["anonymous_id"] else ""
        name = line["customer_id"] or visitor
        if name and (until is None or moment(line) < until):
            orders.setdefault(name, set()).add(line["order_id"])
    return orders
