"""From an operator's commands to a node, over a real S3 server."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from uuid import uuid4

import pytest

from almanac import main
from edge.node.checked import checked_node
from edge.node.standing import NodeState
from edge.settings import settings_from
from index.manifest import read_manifest
from index.verify import verify_snapshot
from tests.edge.node.supervisor import Supervisor
from tests.edge.node.world import write_snapshot
from tests.toys import SECRET


def test_a_node_follows_what_operators_do(
    s3: Mapping[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3.items():
        monkeypatch.setenv(name, value)
    store, keys, node_folder = f"s3://tests/{uuid4().hex}", tmp_path / "keys", tmp_path / "node"
    secret_file = tmp_path / "secret"
    secret_file.write_bytes(SECRET)

    def run(*words: object) -> None:
        assert main([*map(str, words), f"--store={store}", f"--keys={keys}"]) == 0

    assert main(["keys", "init", str(keys)]) == 0
    ids = []
    for number in range(2):
        write_snapshot(tmp_path / str(number), number)
        ids.append(read_manifest(tmp_path / str(number)).snapshot_id)
        run("publish", tmp_path / str(number))
    flags = {
        "store": store,
        "brand": "toy",
        "state_dir": node_folder,
        "root": keys / "trust" / "1.root.json",
        "secret_file": secret_file,
        "poll_s": 0.2,
        "watch_s": 0,
        "spread_s": 0,
        "workers": 1,
    }
    settings = checked_node(settings_from(flags, {}))
    state = NodeState(node_folder)
    run("announce", ids[0], "--brand=toy")
    with Supervisor(settings, method="spawn") as node:  # for its environment
        node.until(lambda: state.read().last_good == ids[0])
        run("confirm", "--brand=toy")
        run("announce", ids[1], "--brand=toy", "--ring=100%")
        node.until(lambda: state.read().last_good == ids[1])
        run("rollback", "--brand=toy", "--reason=a test")
        node.until(lambda: state.read().last_good == ids[0])
        run("revoke", ids[1], "--brand=toy", "--reason=a test")
        node.until(lambda: node.state.epoch == 5)

    assert node.offers == [ids[0], ids[1], ids[0]]
    assert node.state.failure is None
    assert list(verify_snapshot(node_folder / "snapshots" / ids[0]))
