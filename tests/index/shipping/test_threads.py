"""Documents are read by several threads of a process, from the first one on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from index.shipping.channel_store import require_channel
from tests.edge.node.world import BRAND, CHANNEL, World
from tests.index.shipping.processes import ROOT

# All threads read a document for the first time in this process, at the same moment.
READERS = """
import sys, threading
from pathlib import Path
from index.manifest import read_manifest
from index.shipping.channel import decode_channel
from index.shipping.documents import CHANNEL, MANIFEST, unseal_document
from index.shipping.root import first_root
from index.shipping.signed_manifest import target_of

store, snapshot = map(Path, sys.argv[1:])
channel = next(store.glob("channels/*/*.json")).read_bytes()
root = (store / "trust" / "1.root.json").read_bytes()
manifest = next(store.glob("manifests/*/*.json")).read_bytes()
sys.setswitchinterval(1e-6)
barrier = threading.Barrier(6)
read = []

def run():
    barrier.wait()
    read.append(decode_channel(unseal_document(CHANNEL, channel)).brand)
    read.append(first_root(root).version)
    read.append(target_of(unseal_document(MANIFEST, manifest).payload).snapshot_id)
    read.append(read_manifest(snapshot).snapshot_id)

threads = [threading.Thread(target=run) for _ in range(6)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(len(read))
"""


def test_the_first_documents_may_be_read_by_several_threads_at_once(tmp_path: Path) -> None:
    """Types that are looked into by two threads for the first time would end the process."""
    world = World.begun(tmp_path, "a")
    world.start("a")
    assert require_channel(world.store, BRAND, CHANNEL, None).channel.epoch == 2
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-c", READERS, str(world.address), str(world.built("a"))],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "24\n", "")
