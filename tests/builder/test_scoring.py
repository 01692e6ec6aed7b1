"""Customer records on their way from partitions to tables."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.scoring import RunFacts, read_runs, run_facts

RECORDS = st.dictionaries(st.binary(min_size=16, max_size=16), st.binary(max_size=300), max_size=20)


def write_run(path: Path, records: list[tuple[bytes, bytes]]) -> Path:
    """A run as scoring tasks write them."""
    parts = [struct.pack("<16sI", key, len(record)) + record for key, record in records]
    path.write_bytes(b"".join(parts))
    return path


@given(runs=st.lists(RECORDS, max_size=4))
def test_runs_read_back_in_order_and_are_counted(
    runs: list[dict[bytes, bytes]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("runs")
    paths = [write_run(folder / str(place), sorted(run.items())) for place, run in enumerate(runs)]
    expected = [record for run in runs for record in sorted(run.items())]

    assert list(read_runs(paths)) == expected
    n_bytes = sum(len(key) + len(record) for key, record in expected)
    assert run_facts(paths) == RunFacts(n_records=len(expected), n_bytes=n_bytes)
