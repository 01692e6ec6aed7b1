"""An open snapshot: shared by threads, closed under them, and damaged while it is read."""

from __future__ import annotations

import mmap
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from index.answer import answer
from index.arrays import Scores
from index.decide import decide
from index.eligibility import parse_rules
from index.errors import Corrupt
from index.generation import Generation
from index.kept import Kept
from index.records import OFFER_AVAILABLE, OFFER_HAS_RULES, OFFER_HAS_WINDOW, pack_offer
from index.request import CartLine, Decision, Request
from index.snapshot import open_snapshot
from index.tables import Table, TableTransaction
from index.verify import check_golden
from tests.index.asking import NOW
from tests.toys import (
    AS_OF_US,
    N_OFFERS,
    SECRET,
    item_id,
    toy_item,
    toy_model,
    toy_offer,
    write_toy,
)

Shop = Callable[..., Generation]


def requests(n: int) -> list[Request]:
    """Requests of every tier, each different from its neighbours."""
    return [
        Request(
            customer_id=("ann", "bob", "eve", None)[number % 4],
            context={"device": ("mobile", "desktop", "fridge")[number % 3], "store": number % 9},
            cart=[CartLine(item_id=item_id(number % N_OFFERS))] if number % 5 else [],
            viewed=[item_id(number * 7 % N_OFFERS)],
            explain=number % 2 == 0,
            request_id=f"r{number}",
        )
        for number in range(n)
    ]


def test_threads_decide_as_one_does(toy: Generation) -> None:
    asked = requests(400)
    alone = [decide(toy, request) for request in asked]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda request: decide(toy, request), asked * 3))

    assert together == alone * 3


def test_threads_that_ask_for_other_minutes_do_not_forget_the_same_one(toy: Generation) -> None:
    """What a minute comes to is kept for all of them, and the oldest is forgotten."""
    usual = sys.getswitchinterval()

    def ask(thread: int) -> None:
        for minute in range(20_000):
            toy.lookup.hour_row(NOW + timedelta(days=20 * thread, minutes=minute))

    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as pool:
            assert [*pool.map(ask, range(4))] == [None] * 4
    finally:
        sys.setswitchinterval(usual)


def test_threads_that_come_and_go_leave_nothing_behind(toy: Generation) -> None:
    """A reader belongs to a decision, not to a thread: one is enough for one at a time."""
    first = toy.enter()
    toy.leave(first)
    seen = set()
    for _ in range(20):

        def visit() -> None:
            reader = toy.enter()
            seen.add(id(reader))
            toy.leave(reader)

        thread = threading.Thread(target=visit)
        thread.start()
        thread.join()

    assert seen == {id(first)}


def test_what_is_inside_when_closing_is_finished(toy_dir: Path) -> None:
    """Case 28."""
    generation = open_snapshot(toy_dir, SECRET)
    reader = generation.enter()
    generation.close()

    assert not generation.is_closed
    assert reader.customer(generation.key_of("ann") or b"") is not None
    with pytest.raises(RuntimeError, match="was closed"):
        generation.enter()
    generation.leave(reader)
    assert generation.is_closed


def test_closing_twice_is_closing_once(toy_dir: Path) -> None:
    generation = open_snapshot(toy_dir, SECRET)
    generation.close()
    generation.close()

    assert generation.is_closed
    with pytest.raises(RuntimeError, match="was closed"):
        decide(generation, Request())


def test_nobody_waits_for_files_to_be_let_go_of(
    toy_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel may take half a second for it, and who enters may be the loop that answers."""
    generation = open_snapshot(toy_dir, SECRET)
    begun, may_end = threading.Event(), threading.Event()
    close = generation.contexts.close

    def close_slowly() -> None:
        begun.set()
        assert may_end.wait(60)
        close()

    monkeypatch.setattr(generation.contexts, "close", close_slowly)
    with ThreadPoolExecutor(2) as pool:
        closing = pool.submit(generation.close)
        assert begun.wait(60)
        entering = pool.submit(generation.enter)
        try:
            with pytest.raises(RuntimeError, match="was closed"):
                entering.result(10)
        finally:
            may_end.set()
        closing.result()
    assert generation.is_closed


def test_closing_while_others_decide_is_safe(toy_dir: Path) -> None:
    """Case 29."""
    asked = requests(50)
    for _ in range(20):
        generation = open_snapshot(toy_dir, SECRET)
        started = threading.Barrier(5)

        def work(generation: Generation, started: threading.Barrier) -> int:
            started.wait()
            done = 0
            try:
                while True:
                    decide(generation, asked[done % len(asked)])
                    done += 1
            except RuntimeError:
                return done

        with ThreadPoolExecutor(4) as pool:
            working = [pool.submit(work, generation, started) for _ in range(4)]
            started.wait()
            generation.close()
            answered = [future.result() for future in working]
        assert len(answered) == 4
        assert generation.is_closed
        assert generation.damaged == 0


def test_closing_waits_for_those_who_warm_up(
    toy_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generation = open_snapshot(toy_dir, SECRET)
    whole = TableTransaction.records
    touched: list[bool] = []

    def touch(_: Table) -> None:
        generation.close()
        touched.append(generation.is_closed)

    monkeypatch.setattr(Table, "touch", touch)
    generation.touch()
    assert touched == [False] * 4
    assert generation.is_closed

    generation = open_snapshot(toy_dir, SECRET)

    def records(table: TableTransaction) -> Iterator[tuple[bytes, bytes]]:
        generation.close()
        yield from whole(table)

    monkeypatch.setattr(TableTransaction, "records", records)
    assert len(generation.some_customers(9)) == 2
    assert generation.is_closed
    with pytest.raises(RuntimeError, match="was closed"):
        generation.some_customers(9)


def test_a_decision_outlives_its_snapshot(toy_dir: Path) -> None:
    """Case 28."""
    with open_snapshot(toy_dir, SECRET) as generation:
        decision = decide(generation, requests(1)[0])
        before = repr(decision)

    assert repr(decision) == before


def test_two_generations_may_be_open_and_swapped(toy_dir: Path, tmp_path: Path) -> None:
    write_toy(tmp_path / "next", model=toy_model(brand="next"))
    with open_snapshot(toy_dir, SECRET) as old:
        with open_snapshot(tmp_path / "next", SECRET) as new:
            assert decide(old, Request()).offers == decide(new, Request()).offers
        assert decide(old, Request(customer_id="ann")).tier == "individual"


# Damage while running -----------------------------------------------------------------------------


def hole(path: Path, mark: bytes) -> None:
    """Zero the page that holds some bytes, as a bad disk does under a mapping."""
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        page = mapped.find(mark) // 4096 * 4096
        mapped[page : page + 4096] = bytes(4096)


def marks(decision: Decision) -> list[str]:
    return [offer.offer_id for offer in decision.offers]


@pytest.mark.parametrize(
    ("name", "request_", "mark"),
    [
        ("customers.lmdb", Request(customer_id="ann"), b"ALMT"),
        ("items.lmdb", Request(cart=[CartLine(item_id=item_id(1))]), b"ALMT"),
        ("items.lmdb", Request(exclude=[item_id(1)]), b"ALMT"),
        ("contexts.lmdb", Request(context={"device": "mobile"}), b"ALMT"),
        ("offers.lmdb", Request(), b"item-007"),
    ],
)
def test_a_hole_gives_the_safe_answer_and_is_counted(
    toy_copy: Path, name: str, request_: Request, mark: bytes
) -> None:
    """Case 26."""
    with open_snapshot(toy_copy, SECRET) as generation:
        hole(toy_copy / name, mark)
        decision = decide(generation, request_)
        again = decide(generation, request_)

        away = {1} if request_.cart or request_.exclude else set()
        expected = [item_id(row) for row in range(N_OFFERS) if row not in away][:10]
        assert (decision.tier, again.tier) == ("safe", "safe")
        assert marks(decision) == expected
        assert generation.damaged == 2
        assert check_golden(generation)


def test_what_the_hole_does_not_touch_is_answered_as_before(toy_copy: Path) -> None:
    with open_snapshot(toy_copy, SECRET) as generation:
        before = decide(generation, Request(context={"device": "mobile"}))
        hole(toy_copy / "customers.lmdb", b"ALMT")

        assert decide(generation, Request(customer_id="ann")).tier == "safe"
        assert decide(generation, Request(context={"device": "mobile"})) == before
        assert generation.damaged == 1


def test_the_safe_answer_shows_nothing_that_must_not_be_shown(tmp_path: Path) -> None:
    rules = parse_rules('{"country": "us"}')
    offers = {
        0: toy_offer(0)._replace(flags=0),
        1: toy_offer(1)._replace(flags=OFFER_AVAILABLE | OFFER_HAS_WINDOW, expires_us=AS_OF_US),
        2: toy_offer(2)._replace(flags=OFFER_AVAILABLE | OFFER_HAS_RULES, rules=rules),
    }
    write_toy(tmp_path / "shop", offers=offers)
    cart = [CartLine(item_id=item_id(3))]
    asked = Request(cart=cart, exclude=[item_id(4)], declined=[item_id(5)], k=3)
    with open_snapshot(tmp_path / "shop", SECRET) as generation:
        path = tmp_path / "shop" / "items.lmdb"
        path.chmod(0o644)
        hole(path, b"ALMT")
        decision = decide(generation, asked)

    assert decision.tier == "safe"
    assert marks(decision) == [item_id(6), item_id(7), item_id(8)]
    assert [offer.rank for offer in decision.offers] == [1, 2, 3]


def test_garbled_rules_give_the_safe_answer(shop: Shop) -> None:
    flags = OFFER_AVAILABLE | OFFER_HAS_RULES
    for rules in (b"\xc1", b"\x01", b"\x91\xc0", b"\x91\x91\x01"):
        generation = shop(offers={30: toy_offer(30)._replace(flags=flags, rules=rules)})

        assert decide(generation, Request(customer_id="ann")).tier == "safe", rules
        assert generation.damaged == 1


def test_garbled_rules_of_one_of_the_best_offers_keep_no_other_from_being_shown(shop: Shop) -> None:
    flags = OFFER_AVAILABLE | OFFER_HAS_RULES
    generation = shop(offers={1: toy_offer(1)._replace(flags=flags, rules=b"\xc1")})

    decision = decide(generation, Request(k=3))
    assert marks(decision) == [item_id(0), item_id(2), item_id(3)]
    assert (decision.tier, generation.damaged) == ("safe", 1)


def test_a_garbled_row_number_gives_the_safe_answer(toy_copy: Path) -> None:
    """Item 2 names category row 4; a flipped bit makes it one that no vocabulary knows."""
    path = toy_copy / "items.lmdb"
    old = (1000).to_bytes(4, "little") + (4).to_bytes(4, "little")
    data = path.read_bytes()
    assert data.count(old) == 1
    path.write_bytes(data.replace(old, old[:4] + (0xFF04).to_bytes(4, "little")))
    with open_snapshot(toy_copy, SECRET) as generation:
        decision = decide(generation, Request(cart=[CartLine(item_id=item_id(2))]))

        assert decision.tier == "safe"
        assert generation.damaged == 1


@pytest.mark.parametrize("asked", [{}, {"exclude": ["nothing"]}, {"explain": True}])
@pytest.mark.parametrize("values", [None, np.ones(N_OFFERS, dtype=np.float32)])
def test_a_value_above_all_numbers_gives_the_safe_answer(
    shop: Shop, asked: dict[str, Any], values: Scores | None
) -> None:
    """One flipped bit makes 1.0 infinite, which no JSON can say."""
    flipped = np.array([0x3F800000 ^ 1 << 30], dtype="<u4").view("<f4").item()
    lifts = {row: {11: flipped} if row == 1 else {} for row in range(9)}
    generation = shop(model=toy_model(values=values), contexts=lifts)
    answered = answer(generation, Request(context={"device": "mobile"}, **asked))

    assert orjson.loads(answered.body)["tier"] == "safe"
    assert generation.damaged == 1


def rename_offer(snapshot: Path, row: int, said: int) -> None:
    """Let the record of an offer say that it is of another row."""
    path = snapshot / "offers.lmdb"
    old, data = pack_offer(toy_offer(row)), path.read_bytes()
    assert data.count(old) == 1
    path.write_bytes(data.replace(old, said.to_bytes(4, "little") + old[4:]))


@pytest.mark.parametrize("said", [4, N_OFFERS, 0xFFFFFFFF])
def test_a_best_offer_of_another_row_is_refused(toy_copy: Path, said: int) -> None:
    """It is in the safe answer, which looks up its prior by the row it says."""
    rename_offer(toy_copy, 3, said)

    with pytest.raises(Corrupt, match=f"row 3 says {said}"):
        open_snapshot(toy_copy, SECRET)


def test_an_offer_of_another_row_gives_the_safe_answer(toy_copy: Path) -> None:
    rename_offer(toy_copy, 30, 31)
    with open_snapshot(toy_copy, SECRET) as generation:
        asked = Request(customer_id="ann", exclude=["nothing"])

        assert decide(generation, asked).tier == "safe"
        assert generation.damaged == 1


@pytest.mark.parametrize("dim", [1, 3, 5])
def test_a_garbled_length_of_a_direction_gives_the_safe_answer(shop: Shop, dim: int) -> None:
    record = toy_item(5, {})._replace(vector=np.ones(dim, dtype=np.float32))
    generation = shop(items={item_id(5): record})

    assert decide(generation, Request(viewed=[item_id(5)])).tier == "safe"
    assert generation.damaged == 1


def test_what_is_kept_is_bounded_and_the_oldest_goes_first() -> None:
    kept: Kept[str, int] = Kept(2)
    for place, name in enumerate("abc"):
        assert kept.keep(name, place) == place

    assert kept == {"b": 1, "c": 2}
