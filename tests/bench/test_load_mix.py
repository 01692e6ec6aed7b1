"""Orders of events files, and the requests that are made of them."""

from __future__ import annotations

import gzip
import re
from math import inf, nan
from pathlib import Path

import msgspec
import numpy as np
import pytest

from bench.load.mix import COLD, KINDS, KNOWN, THIN, Mix, WrongShares, mix_of_orders, synthetic_mix
from bench.load.orders import read_orders
from bench.synthetic import Shape
from builder.config import load
from builder.errors import DataGate, InputNotFound, MissingColumns
from index.layout import THIN_BELOW_ORDERS
from index.request import Request

# Anna orders four times, Bo twice, Cleo once, and somebody without a name; Bo's cup comes in two
# lines, Cleo returns a pot, and one line has no item. These last two lines are bad to a build.
EVENTS = """\
when,customer_id,order_id,item_id,quantity,device,ctx_store
2026-11-01T10:00:00Z,anna,a1,cup,1,mobile,north
2026-11-02T10:00:00Z,anna,a2,pot,1,mobile,north
2026-11-03T10:00:00Z,anna,a3,tea,1,mobile,north
2026-11-03T12:00:00Z,bo,b1,tea,1,,
2026-11-10T08:00:00Z,,g1,tea,1,tablet,
2026-11-10T09:00:00Z,bo,b2,cup,1,,south
2026-11-10T09:00:05Z,bo,b2,pot,1,desktop,south
2026-11-10T09:00:09Z,bo,b2,cup,2,desktop,south
2026-11-11T09:00:00Z,cleo,c0,pot,-1,desktop,south
2026-11-11T09:00:00Z,cleo,c1,tea,1,desktop,south
2026-11-12T09:00:00Z,anna,a4,,1,mobile,north
2026-11-12T09:00:00Z,anna,a4,tea,1,mobile,north
"""
CONFIG = load(None, {"input.map": {"when": "ts"}, "input.max_bad": 0.2})
SINCE_US = 1_793_923_200_000_000  # 2026-11-06


@pytest.fixture
def events(tmp_path: Path) -> Path:
    path = tmp_path / "events.csv.gz"
    path.write_bytes(gzip.compress(EVENTS.encode()))
    return path


def test_orders_of_a_stretch_are_read_and_earlier_ones_tell_who_is_known(events: Path) -> None:
    orders = read_orders([events], CONFIG, since_us=SINCE_US)

    assert orders.customer_ids == [None, "bo", "cleo", "anna"]
    assert orders.carts == [["tea"], ["cup", "pot"], ["tea"], ["tea"]]
    assert orders.contexts == [
        {"device": "tablet"},
        {"store": "south"},
        {"device": "desktop", "store": "south"},
        {"device": "mobile", "store": "north"},
    ]
    assert orders.earlier.tolist() == [0, 1, 0, 3]
    assert (orders.ts_us[1] - orders.ts_us[0]) == 3_600_000_000


def test_a_stretch_ends_before_its_end(events: Path) -> None:
    whole = read_orders([events], CONFIG)
    until_us = int(whole.ts_us[4])

    assert len(whole.ts_us) == 8
    assert read_orders([events], CONFIG, until_us=until_us).customer_ids == ["anna"] * 3 + ["bo"]


def test_lines_without_an_order_belong_to_a_day_or_a_session(tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    path.write_text(
        "ts,customer_id,session_id,item_id\n"
        "2026-11-01T10:00:00Z,anna,,cup\n"
        "2026-11-01T11:00:00Z,anna,,pot\n"
        "2026-11-02T10:00:00Z,anna,,tea\n"
        "2026-11-02T10:00:00Z,,s1,cup\n"
        "2026-11-03T10:00:00Z,,s1,tea\n"
    )

    orders = read_orders([path], load())

    assert sorted(map(tuple, orders.carts)) == [("cup", "pot"), ("cup", "tea"), ("tea",)]


def test_several_files_are_one_course_of_orders(events: Path, tmp_path: Path) -> None:
    (tmp_path / "later.csv").write_text("when,customer_id,item_id\n2026-11-20,anna,pot\n")

    orders = read_orders([events, tmp_path / "later.csv"], CONFIG, since_us=SINCE_US)

    assert orders.customer_ids[-2:] == ["anna", "anna"]
    assert orders.earlier.tolist()[-2:] == [3, 3]


def test_what_cannot_be_read_is_told_as_a_build_tells_it(events: Path, tmp_path: Path) -> None:
    with pytest.raises(InputNotFound, match="no such file"):
        read_orders([tmp_path / "none.csv"], CONFIG)
    with pytest.raises(InputNotFound, match="no order in this stretch"):
        read_orders([events], CONFIG, since_us=2**60)
    with pytest.raises(MissingColumns):
        read_orders([events], load())


def test_bad_rows_are_told_and_too_many_are_refused_as_a_build_refuses_them(events: Path) -> None:
    told = (
        "events: 2 of 12 rows are bad (16.67%, allowed {}%); most of them (1): the item id is"
        " missing, such as events.csv.gz row 11"
    )

    assert read_orders([events], CONFIG).left_out == told.format("20.00")
    with pytest.raises(DataGate, match=re.escape(told.format("0.10"))):
        read_orders([events], load(None, {"input.map": {"when": "ts"}}))


def test_lines_that_are_no_rows_are_bad_too(tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    path.write_text(
        "ts,customer_id,item_id\n"
        "2026-11-01,anna,cup\n"
        "2026-11-02,bo,cup,and,more\n"
        "2026-11-03,bo,pot\n"
    )

    orders = read_orders([path], load(None, {"input.max_bad": 0.5}))

    assert len(orders.carts) == 2
    assert orders.left_out is not None
    assert orders.left_out.startswith("events: 1 of 3 rows are bad")


def test_files_without_bad_rows_leave_nothing_out(tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    path.write_text("ts,customer_id,item_id\n2026-11-01,anna,cup\n")

    assert read_orders([path], load()).left_out is None


def test_each_order_becomes_a_request_of_its_customer_and_kind(events: Path) -> None:
    mix = mix_of_orders(read_orders([events], CONFIG, since_us=SINCE_US), placement="home", k=3)
    requests = [msgspec.json.decode(body, type=Request) for body in mix.bodies]

    assert [request.customer_id for request in requests] == [None, "bo", "cleo", "anna"]
    assert [line.item_id for line in requests[1].cart] == ["cup", "pot"]
    assert requests[3].context == {"device": "mobile", "store": "north"}
    assert {(request.placement, request.k) for request in requests} == {("home", 3)}
    assert THIN_BELOW_ORDERS == 3
    assert mix.kind.tolist() == [COLD, THIN, COLD, KNOWN]
    assert mix.cart_sizes.tolist() == [1, 2, 1, 1]
    assert mix.facts(np.array([0, 1, 2, 3, 3])) == {
        "requests": {"known": 2, "thin": 1, "cold": 2},
        "cart_items": {"p50": 1, "p90": 2, "max": 2},
    }


def test_the_synthetic_shop_has_the_requests_of_the_closed_loop() -> None:
    mix = synthetic_mix(Shape(n_customers=1000, n_offers=1000), 200)

    assert len(set(mix.bodies)) == 200
    assert set(mix.cart_sizes.tolist()) == {3}
    assert set(mix.kind.tolist()) == {KNOWN, COLD}


def mix_of_kinds(kind: list[int]) -> Mix:
    return Mix(
        bodies=[b"%d" % number for number in range(len(kind))],
        kinds=KINDS,
        kind=np.array(kind, dtype=np.uint8),
        cart_sizes=np.zeros(len(kind), dtype=np.int64),
    )


def test_a_draw_takes_all_bodies_alike_unless_shares_say_otherwise() -> None:
    mix = mix_of_kinds([KNOWN] * 8 + [THIN, COLD])

    alike = mix.draw(10_000, 1)
    shared = mix.draw(10_000, 1, (0.2, 0.0, 0.6))

    # Five standard deviations of a count of 10,000 with a chance of one in ten, or of one in four.
    assert np.bincount(alike, minlength=10) == pytest.approx([1000] * 10, abs=150)
    assert np.bincount(mix.kind[shared], minlength=3) == pytest.approx([2500, 0, 7500], abs=217)
    assert mix.draw(100, 4).tolist() == mix.draw(100, 4).tolist()


def test_a_share_of_customers_that_are_not_there_is_refused() -> None:
    with pytest.raises(WrongShares, match="thin"):
        mix_of_kinds([KNOWN, COLD]).draw(10, 1, (1, 1, 1))


@pytest.mark.parametrize("shares", [(0, 0, 0), (1, -1, 1), (nan, 1, 1), (1, nan, 1), (1, 1, inf)])
def test_shares_that_say_nothing_are_refused(shares: tuple[float, float, float]) -> None:
    with pytest.raises(WrongShares, match="no shares"):
        mix_of_kinds([KNOWN, THIN, COLD]).draw(10, 1, shares)
