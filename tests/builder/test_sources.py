"""Files are found, told apart by their bytes, and read row by row, whatever state they are in."""

from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from builder.columns import TableColumns, check_renames, choose, context_columns
from builder.duck import connect
from builder.engine import run_task
from builder.errors import InputNotFound, InputUnreadable, MissingColumns, UsageError
from builder.events import EVENTS
from builder.sources import Column, SourceFile, expand, inspected, inspections, open_rows
from tests.builder.files import FORMATS, csv_text, packed, write_rows

MEMORY_BYTES = 2**29
TABLE = TableColumns(table="things", required=("ts", "item_id"), optional=("note",))


def look(path: Path, folder: Path) -> SourceFile:
    """What is found out about one file."""
    [task] = inspections([path], EVENTS.known)
    run_task("inspect", task, folder / "inspected", MEMORY_BYTES)
    [file] = inspected([folder / "inspected"])
    return file


Read = tuple[list[tuple[object, ...]], list[tuple[object, ...]]]


def read(path: Path, folder: Path) -> Read:
    """Every row (number first), and every piece that is no row (row, lines, reason)."""
    file = look(path, folder)
    wanted = {f"c{i}": column for i, column in enumerate(file.columns)}
    with connect(MEMORY_BYTES, folder) as connection:
        rows = open_rows(connection, file, wanted, folder / "scratch")
        return (
            connection.execute(f"FROM {rows.rows} ORDER BY row").fetchall(),
            connection.execute(
                f"SELECT row, n_lines, reason FROM {rows.damage} ORDER BY row"
            ).fetchall(),
        )


def read_csv(content: bytes, folder: Path) -> Read:
    path = folder / "file.csv"
    path.write_bytes(content)
    return read(path, folder)


def test_patterns_stand_for_files_in_order_and_each_once(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("b.csv", "a.csv", "c[1].csv")]
    for path in paths:
        path.write_text("x\n")
    b, a, c = paths
    assert expand([b, tmp_path / "*.csv", a]) == [b, a, c]
    assert expand([c]) == [c]


@pytest.mark.parametrize("name", ["missing.csv", "*.parquet", "."])
def test_what_stands_for_no_file_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputNotFound) as caught:
        expand([tmp_path / name])
    assert str(tmp_path / name) in str(caught.value)
    assert caught.value.exit_code == 4


@pytest.mark.parametrize("kind", FORMATS)
def test_format_and_columns_are_read_from_the_bytes(tmp_path: Path, kind: str) -> None:
    path = write_rows(tmp_path / f"file.{kind}", [{"ts": "1", "item_id": "a"}])
    misnamed = path.rename(tmp_path / "file.dat")
    file = look(misnamed, tmp_path)
    assert file.format == kind.partition(".")[0]
    assert {column.name for column in file.columns} == {"ts", "item_id"}


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiter_is_the_one_that_gives_known_names(tmp_path: Path, delimiter: str) -> None:
    rows = [{"ts": "1", "item_id": "a;b,c|d\te", "note, with; all|": "x"}]
    path = tmp_path / "file.csv"
    path.write_text(csv_text(rows, delimiter))
    file = look(path, tmp_path)
    assert file.delimiter == delimiter
    assert [column.name for column in file.columns] == list(rows[0])


def test_every_json_key_is_seen_wherever_it_first_stands(tmp_path: Path) -> None:
    path = tmp_path / "file.jsonl"
    lines = [json.dumps({"ts": i}) for i in range(5000)] + ['{"ctx_late/~x": 1}']
    path.write_text("\n".join(lines))
    assert [column.name for column in look(path, tmp_path).columns] == ["ctx_late/~x", "ts"]
    rows, _ = read(path, tmp_path)
    assert rows[-1] == (5001, "1", None)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is empty"),
        (b" \n\n", "is empty"),
        ("ts,item_id\n".encode("utf-16"), "not text in UTF-8"),
        (b'[{"ts": 1}]', "one JSON array"),
        (b"{broken\n{more\n", "no line holds a JSON object"),
        (b"PAR1 and then nothing", "cannot be read as Parquet"),
        (gzip.compress(b"ts,item_id\n1,2\n" * 9, mtime=0)[:-9], "cannot be read to its end"),
        (zstandard.compress(b"ts,item_id\n1,2\n" * 9)[:-3], "cannot be read to its end"),
        (b"\x1f\x8bnot gzip at all", "cannot be read to its end"),
        (b",,\n1,2,3\n", "no CSV header"),
        (b"ts,item_id\r1,2\r", "carriage return alone"),
        (b"\xef\xbb\xbfsep=;\r\nts;item_id\r\n1;2\r\n", "its first line is sep=;, a word to Excel"),
    ],
)
def test_unreadable_files_are_refused_by_name(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "file.dat"
    path.write_bytes(content)
    with pytest.raises(InputUnreadable, match=problem) as caught:
        look(path, tmp_path)
    assert caught.value.path == path
    assert caught.value.exit_code == 5


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("note", ["b", "b\nb"])
def test_names_that_look_like_patterns_are_names(tmp_path: Path, kind: str, note: str) -> None:
    folder = tmp_path / "it's a [1]*?"
    folder.mkdir()
    path = write_rows(folder / f"e[1]*?.{kind}", [{"note": note, "ts": "1"}])
    rows, damage = read(path, folder)
    assert (sorted(map(str, rows[0])), damage) == (sorted(["1", "1", note]), [])


def test_frames_of_a_compressed_file_are_all_read(tmp_path: Path) -> None:
    path = tmp_path / "file.csv.zst"
    path.write_bytes(zstandard.compress(b"ts,item_id\n1,a\n") + zstandard.compress(b"2,b\n"))
    assert read(path, tmp_path)[0] == [(1, "1", "a"), (2, "2", "b")]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("last", ["", "end"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_line_ends_and_byte_order_mark_do_not_matter(
    tmp_path: Path, end: str, last: str, mark: str
) -> None:
    text = mark + end.join(["ts,item_id", '1,"a"', '2,"b, ""c"""', "3,é"]) + (end if last else "")
    rows, damage = read_csv(text.encode(), tmp_path)
    assert rows == [(1, "1", "a"), (2, "2", 'b, "c"'), (3, "3", "é")]
    assert damage == []


def test_values_over_several_lines_and_blank_lines_keep_their_numbers(tmp_path: Path) -> None:
    rows, damage = read_csv(b'ts,item_id\n1,"a\nb"\n\n2,c\n', tmp_path)
    assert rows == [(1, "1", "a\nb"), (2, "2", "c")]
    assert damage == []


def test_each_piece_of_damage_is_named_and_the_rest_is_read(tmp_path: Path) -> None:
    content = b'ts,item_id\n1,a\n2\n3,b,c\n4,"un\xff"\n5,"x"y\n6,d\n7,e,\n8,f\r9,g\n10,h\n'
    rows, damage = read_csv(content, tmp_path)
    assert [row[1] for row in rows] == ["1", "6", "7", "10"]
    assert damage == [
        (2, 1, "wrong_columns"),
        (3, 1, "wrong_columns"),
        (4, 1, "not_utf8"),
        (5, 1, "broken_csv"),
        (8, 1, "broken_csv"),
    ]


def test_quote_that_is_never_closed_counts_every_line_it_took(tmp_path: Path) -> None:
    lines = [f"{i},a{i}" for i in range(1, 40_001)]
    lines[9] = '10,"never closed'
    rows, damage = read_csv("\n".join(["ts,item_id", *lines, ""]).encode(), tmp_path)
    assert [(row, reason) for row, _, reason in damage] == [(10, "broken_csv")]
    assert len(rows) + sum(n for _, n, _ in damage if isinstance(n, int)) == 40_000
    assert len(rows) > 20_000
    assert all(number == int(str(ts)) for number, ts, _ in rows)


def test_lines_that_are_no_objects_are_named(tmp_path: Path) -> None:
    path = tmp_path / "file.jsonl"
    path.write_bytes(
        b'{"ts": 1}\n\n[1]\n{"ts": \n"x"\n{"ts": "\xff"}\n  \n{"ts": "\\ud800"}\n{"ts": 2}'
    )
    rows, damage = read(path, tmp_path)
    assert rows == [(1, "1"), (9, "2")]
    assert damage == [
        (3, 1, "not_json"),
        (4, 1, "not_json"),
        (5, 1, "not_json"),
        (6, 1, "not_utf8"),
        (8, 1, "not_json"),
    ]


def test_json_values_become_text_as_they_stand(tmp_path: Path) -> None:
    path = tmp_path / "file.jsonl"
    path.write_text('{"a": 12345678901234567890123, "b": true, "c": [1, {"x": 2}], "d": null}\n')
    assert read(path, tmp_path)[0] == [(1, "12345678901234567890123", "true", '[1,{"x":2}]', None)]


def test_many_rows_keep_their_numbers(tmp_path: Path) -> None:
    path = tmp_path / "file.csv"
    path.write_text("ts,item_id\n" + "".join(f"{i},{'x' * 300}\n" for i in range(1, 200_001)))
    file = look(path, tmp_path)
    with connect(MEMORY_BYTES, tmp_path) as connection:
        rows = open_rows(connection, file, {"ts": Column(name="ts")}, tmp_path / "scratch")
        found = connection.execute(
            f"SELECT count(*), count(*) FILTER (row <> ts::BIGINT) FROM {rows.rows}"
        ).fetchall()
    assert found == [(200_000, 0)]


FIELD = st.text(st.sampled_from('ab,"; é\n\r\x00'), max_size=4)
RECORDS = st.lists(st.tuples(FIELD, FIELD, st.text("xyz", min_size=1)), min_size=1, max_size=6)


@given(records=RECORDS, end=st.sampled_from(["\n", "\r\n"]))
def test_csv_is_read_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, records: list[tuple[str, ...]], end: str
) -> None:
    has_return = any("\r" in value for record in records for value in record)
    stream = io.StringIO(newline="")
    # Not every Python quotes a lone carriage return by itself.
    writer = csv.writer(
        stream, lineterminator=end, quoting=csv.QUOTE_ALL if has_return else csv.QUOTE_MINIMAL
    )
    writer.writerows([("ts", "item_id", "note"), *records])
    rows, damage = read_csv(stream.getvalue().encode(), tmp_path_factory.mktemp("csv"))
    expected = [(i + 1, *record) for i, record in enumerate(records)]
    assert [tuple(value or "" for value in row) for row in rows] == expected
    assert damage == []


def test_columns_are_matched_by_rename_then_by_name(tmp_path: Path) -> None:
    rows = [{"Item-ID": "1", "when": "2", "Note": "3", "other": "4", "ts": "5"}]
    file = look(write_rows(tmp_path / "file.csv", rows), tmp_path)
    chosen = choose(file, TABLE, {"WHEN": "ts"})
    assert [(ours, column.name) for ours, column in chosen.wanted] == [
        ("ts", "when"),
        ("item_id", "Item-ID"),
        ("note", "Note"),
    ]
    assert chosen.unknown == ("other", "ts")


def test_missing_columns_are_named_with_a_likely_remedy(tmp_path: Path) -> None:
    rows = [{"event_time": "1", "sku": "2"}]
    file = look(write_rows(tmp_path / "file.csv", rows), tmp_path)
    with pytest.raises(MissingColumns) as caught:
        choose(file, EVENTS, {})
    error = caught.value
    assert error.seen == ("event_time", "sku")
    assert error.missing[:2] == ("ts", "item_id")
    assert "one of customer_id, anonymous_id, order_id, session_id" in str(error)
    assert error.hint is not None
    assert "--map event_time=ts sku=item_id;" in error.hint


def test_all_likely_remedies_are_named_at_once(tmp_path: Path) -> None:
    rows = [{"userId": "1", "movieId": "2", "rating": "3", "timestamp": "4"}]
    with pytest.raises(MissingColumns) as caught:
        choose(look(write_rows(tmp_path / "file.csv", rows), tmp_path), EVENTS, {})
    assert caught.value.hint is not None
    assert "--map timestamp=ts movieId=item_id userId=customer_id;" in caught.value.hint


def test_pairs_without_times_are_told_what_to_add(tmp_path: Path) -> None:
    """None of their columns is a time, so none is proposed for one."""
    rows = [{"customer_id": "1", "item_id": "2"}]
    with pytest.raises(MissingColumns, match="lacks ts;") as caught:
        choose(look(write_rows(tmp_path / "file.csv", rows), tmp_path), EVENTS, {})
    assert caught.value.hint is not None
    assert "--map COLUMN=ts" in caught.value.hint
    assert "add a column ts with the same date in every row" in caught.value.hint


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "file.csv"
    path.write_text("ts,item_id,ITEM ID\n1,2,3\n")
    with pytest.raises(UsageError, match="2 columns are item_id: item_id, ITEM ID"):
        choose(look(path, tmp_path), TABLE, {})


@pytest.mark.parametrize(
    ("renames", "problem", "hint"),
    [
        ({"wen": "ts"}, "no file has a column wen", "did you mean when?"),
        ({"when": "item"}, "item is not one of our columns", "did you mean item_id?"),
    ],
)
def test_renaming_in_vain_is_refused(
    tmp_path: Path, renames: dict[str, str], problem: str, hint: str
) -> None:
    file = look(write_rows(tmp_path / "file.csv", [{"when": "1", "sku": "2"}]), tmp_path)
    with pytest.raises(UsageError, match=problem) as caught:
        check_renames(renames, [TABLE], [file])
    assert caught.value.hint == hint


def test_a_renaming_for_a_file_that_is_not_read_now_is_left_alone(tmp_path: Path) -> None:
    file = look(write_rows(tmp_path / "file.csv", [{"when": "1", "sku": "2"}]), tmp_path)
    catalogue = TableColumns(table="catalogue", required=("item_id",), optional=("title",))
    theirs = {"name": "title", "article": "item_id", "when": "ts"}

    check_renames(theirs, [TABLE], [file], [catalogue])

    for in_vain in ({"wen": "ts"}, {"when": "titel"}):
        with pytest.raises(UsageError):
            check_renames(in_vain, [TABLE], [file], [catalogue])


def test_a_renaming_of_an_earlier_build_may_have_become_needless(tmp_path: Path) -> None:
    file = look(write_rows(tmp_path / "file.csv", [{"when": "1", "item_id": "2"}]), tmp_path)
    renames = {"when": "ts", "sku": "item_id"}

    check_renames(renames, [TABLE], [file], inherited=renames)
    with pytest.raises(UsageError, match="no file has a column sku"):
        check_renames(renames, [TABLE], [file], inherited={"sku": "title"})


def test_context_columns_are_a_handful_and_none_is_derived(tmp_path: Path) -> None:
    def columns(*names: str) -> tuple[str, ...]:
        row = dict.fromkeys(("ts", "item_id", "order_id", *names), "x")
        folder = tmp_path / names[0]
        folder.mkdir()
        path = write_rows(folder / "file.csv", [row])
        return context_columns([choose(look(path, folder), EVENTS, {})])

    assert columns("ctx_store", "CTX_Weather") == ("ctx_store", "ctx_weather")
    with pytest.raises(UsageError, match="the feature category is derived"):
        columns("ctx_category")
    with pytest.raises(UsageError, match="101 context columns"):
        columns(*(f"ctx_{i}" for i in range(101)))


@pytest.mark.parametrize("kind", ["csv.gz", "csv.zst", "jsonl.gz", "jsonl.zst"])
def test_damage_inside_compressed_files_is_named_too(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"file.{kind}"
    content = b"ts,item_id\n1,\xff\n2,b\n" if "csv" in kind else b'{"a": "\xff"}\n{"a": "b"}\n'
    path.write_bytes(packed(path, content))
    rows, damage = read(path, tmp_path)
    assert (len(rows), [reason for _, _, reason in damage]) == (1, ["not_utf8"])
