"""Killed at any moment: the next one goes on, and nobody ever sees half a thing."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from index.shipping.chunks import chunk_list_key, object_key
from index.shipping.fetch import fetch_object
from index.shipping.put import put_object
from index.shipping.store import Store
from tests.index.shipping.origins import Watched, digest
from tests.index.shipping.processes import killed, started

N_ROUNDS = 20
CHUNK = 1 << 10
DATA = random.Random(3).randbytes(400 * CHUNK + 17)
SHA = digest(DATA)

PUT = """
import sys
from pathlib import Path
from index.shipping.put import put_object
from index.shipping.store import open_store

store = open_store(sys.argv[1])
print("ready", flush=True)
put_object(store, Path(sys.argv[2]), sys.argv[3], chunk_bytes=1 << 10)
"""

FETCH = """
import sys
from pathlib import Path
from index.shipping.fetch import fetch_object
from index.shipping.store import open_store

store = open_store(sys.argv[1])
print("ready", flush=True)
fetch_object(store, sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]), reserve_bytes=0)
"""


def test_a_put_killed_at_any_moment_is_done_again(
    store: Store, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Case 8."""
    environ = {} if store.name.startswith("file:") else request.getfixturevalue("s3")
    source, moments, n_cut = tmp_path / "source", random.Random(4), 0
    source.write_bytes(DATA)
    for _ in range(N_ROUNDS):
        putter = started(PUT, store.name, source, SHA, environ=environ)
        time.sleep(moments.uniform(0, 0.03))
        killed(putter)

        found = {listed.key: listed.size for listed in store.list()}
        assert found.keys() <= {object_key(SHA), chunk_list_key(SHA)}
        if object_key(SHA) in found:
            assert store.read(object_key(SHA), limit=len(DATA)).data == DATA
            assert chunk_list_key(SHA) in found
        n_cut += object_key(SHA) not in found
        put_object(store, source, SHA, chunk_bytes=CHUNK)
        assert store.read(object_key(SHA), limit=len(DATA)).data == DATA
        for key in (object_key(SHA), chunk_list_key(SHA)):
            store.delete(key)

    assert n_cut > 0, "no round was killed before its end"


def test_a_fetch_killed_at_any_moment_goes_on(tmp_path: Path) -> None:
    source, moments = tmp_path / "source", random.Random(5)
    source.write_bytes(DATA)
    origin = Watched(tmp_path / "store")
    put_object(origin, source, SHA, chunk_bytes=CHUNK)
    n_resumed = n_rounds_cut = 0
    for turn in range(N_ROUNDS):
        folder = tmp_path / f"objects-{turn}"
        fetcher = started(FETCH, origin.name, SHA, len(DATA), folder)
        time.sleep(moments.uniform(0, 0.05))
        killed(fetcher)

        there = folder / SHA
        if there.exists():
            assert there.read_bytes() == DATA
            continue
        n_rounds_cut += 1
        progress = fetch_object(origin, SHA, len(DATA), folder, reserve_bytes=0).progress
        assert there.read_bytes() == DATA
        assert progress.bytes_kept + progress.bytes_received == len(DATA)
        assert progress.bytes_kept % CHUNK in {0, len(DATA) % CHUNK}
        n_resumed += progress.bytes_kept > 0

    assert n_rounds_cut > 0, "no round was killed before its end"
    assert n_resumed > 0, "no round had anything to go on from"
