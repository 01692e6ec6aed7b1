"""A store with a signed channel and real snapshots, and one node's folder beside it.

world.announce("b")            what an operator does, by the rules of `index.shipping`
with world.node() as node:     a real sync process; the test is its supervisor
node.until(lambda: node.serving == world.ids["b"])
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from edge.node.folder import NodeFolder
from edge.node.standing import NodeState, Standing
from edge.settings import Settings, settings_from
from index.manifest import Manifest, encode_manifest, read_manifest
from index.request import Request
from index.shipping import channel_changes as changes
from index.shipping.channel import Channel, Target, seal_channel
from index.shipping.channel_store import read_channel, write_channel
from index.shipping.documents import ROLES, Role
from index.shipping.names import channel_key, manifest_key, root_key
from index.shipping.publish import publish, ready_snapshot
from index.shipping.published import files_of
from index.shipping.put import put_object
from index.shipping.root import make_root, seal_root
from index.shipping.signed_manifest import seal_manifest, target_of
from index.shipping.signing import SigningKey
from index.shipping.store import Store, open_store
from index.shipping.trust import TrustStore
from tests.edge.node.supervisor import Supervisor
from tests.toys import SECRET, toy_contexts, toy_customer_key, toy_model, write_toy

BRAND, CHANNEL = "toy", "stable"
DAY = timedelta(days=1)
NOW = datetime.now(UTC).replace(microsecond=0)
N_SHOPS = 100
"""More values of a feature than a worker brings in by itself before it is asked."""
GOLDEN = [
    (toy_customer_key(name) if name else None, Request(at=NOW, k=k))
    for name in ("ann", "bob", None)
    for k in (1, 5)
]


def write_snapshot(path: Path, number: int) -> Manifest:
    """A snapshot of the toy brand; each number has other contexts and another model."""
    known = toy_contexts()
    rows = {f"shop-{place}": len(known) + place for place in range(N_SHOPS)}
    contexts = {
        row: {offer: lift + number for offer, lift in lifts.items()}
        for row, lifts in (known | {row: {19: 4.0} for row in rows.values()}).items()
    }
    features = tuple(
        replace(one, rows={**one.rows, **rows}) if one.name == "store" else one
        for one in toy_model().features
    )
    model = toy_model(repeat={"*": 0.1 + number / 10}, features=features, n_contexts=len(contexts))
    return write_toy(
        path,
        model=model,
        contexts=contexts,
        golden=GOLDEN,
        reports={"report.json": b'{"number": %d}' % number},
    )


@dataclass
class World:
    """One store, one channel, one node.

    Attributes:
        top: below it lie `store/`, `snapshots/` and `node/`.
        keys: by role.
        targets: of the published snapshots, by their letter.
        n_roots: how many roots there are.
    """

    top: Path
    keys: dict[Role, list[SigningKey]] = field(default_factory=dict)
    targets: dict[str, Target] = field(default_factory=dict)
    n_roots: int = 0

    @classmethod
    def begun(cls, top: Path, letters: str) -> World:
        """A world with roots and published snapshots, and nothing announced."""
        world = cls(top, {role: [SigningKey.generate()] for role in ROLES})
        world.add_root()
        for number, letter in enumerate(letters):
            write_snapshot(world.built(letter), number)
            readied = ready_snapshot(world.built(letter), world.keys["builder"])
            publish(world.store, readied)
            world.targets[letter] = readied.target
        return world

    def copied(self, top: Path) -> World:
        """The same in another place, to be changed at will."""
        shutil.copytree(self.top, top, symlinks=True, copy_function=shutil.copyfile)
        return World(top, dict(self.keys), dict(self.targets), self.n_roots)

    @property
    def ids(self) -> dict[str, str]:
        return {letter: target.snapshot_id for letter, target in self.targets.items()}

    @property
    def address(self) -> Path:
        return self.top / "store"

    @property
    def store(self) -> Store:
        return open_store(self.address)

    @property
    def folder(self) -> NodeFolder:
        return NodeFolder(self.top / "node")

    @property
    def standing(self) -> Standing:
        return NodeState(self.top / "node").read()

    def built(self, letter: str) -> Path:
        return self.top / "snapshots" / letter

    def add_root(self, *signers: SigningKey) -> None:
        """The next root, signed by the root keys and by who signed the one before."""
        self.n_roots += 1
        root = make_root(
            {role: [key.public for key in keys] for role, keys in self.keys.items()},
            thresholds={},
            version=self.n_roots,
            issued_at=NOW,
            expires_at=NOW + 365 * DAY,
        )
        self.store.create(root_key(self.n_roots), seal_root(root, [*self.keys["root"], *signers]))

    def rotate(self, role: Role) -> SigningKey:
        """Replace a role's key by a next root; gives the old key."""
        (old,) = self.keys[role]
        self.keys = {**self.keys, role: [SigningKey.generate()]}
        self.add_root()
        return old

    def trusting(self) -> None:
        """Let the node know the first root."""
        root = self.store.read(root_key(1), limit=1 << 20).data
        TrustStore(self.folder.trust, root=root)

    def publish_as(self, letter: str, manifest: Manifest) -> None:
        """Publish what no honest builder would: a manifest of our making, rightly signed."""
        data = encode_manifest(manifest)
        self.targets[letter] = target_of(data)
        for entry in files_of(manifest):
            put_object(self.store, self.built(letter) / entry.name, entry.sha256)
        key = manifest_key(BRAND, manifest.snapshot_id)
        self.store.create(key, seal_manifest(data, self.keys["builder"]))

    def bent(self, letter: str, number: int, **altered: Any) -> Manifest:
        """A new snapshot whose manifest says something else than was written."""
        write_snapshot(self.built(letter), number)
        manifest = read_manifest(self.built(letter))
        return msgspec.structs.replace(manifest, **altered)

    def change(
        self,
        how: Callable[..., Channel],
        *words: Any,
        lasts: timedelta = 30 * DAY,
        issued: datetime = NOW,
        **named: Any,
    ) -> None:
        """Change the channel as an operator would."""
        stamp = changes.Stamp(now=issued, expires_at=issued + lasts, root_version=self.n_roots)
        before = read_channel(self.store, BRAND, CHANNEL, None)
        words = words if before is None else (before.channel, *words)
        after = how(*words, stamp=stamp, **named)
        write_channel(self.store, before, after, self.keys["release"])

    def force(self, channel: Channel, keys: Sequence[SigningKey]) -> None:
        """Put a document in place as whoever can write to the store might."""
        self.store.delete(channel_key(BRAND, CHANNEL))
        self.store.create(channel_key(BRAND, CHANNEL), seal_channel(channel, keys))

    @property
    def channel(self) -> Channel:
        """The document in force, whoever signed it."""
        found = read_channel(self.store, BRAND, CHANNEL, None)
        assert found is not None
        return found.channel

    def start(self, letter: str) -> None:
        """Announce for the first time, and call it good."""
        self.change(changes.start_channel, BRAND, CHANNEL, self.targets[letter], percent=100)
        self.change(changes.confirm)

    def announce(self, letter: str, percent: int = 100, **named: Any) -> None:
        self.change(changes.announce, self.targets[letter], percent=percent, **named)

    def flags(self) -> dict[str, object]:
        """How this node is started: at once, and sure of a snapshot as soon as it serves it."""
        secret_file = self.top / "secret"
        secret_file.write_bytes(SECRET)
        return {
            "store": str(self.address),
            "brand": BRAND,
            "state_dir": self.folder.top,
            "node_id": "node-7",
            "poll_s": 0.05,
            "spread_s": 0,
            "watch_s": 0,
            "secret_file": secret_file,
        }

    def settings(self, **flags: Any) -> Settings:
        usual = self.flags() | {"workers": 1, "log_format": "json"}
        return settings_from(usual | flags, {})

    def node(self, **flags: Any) -> Supervisor:
        """The node's sync process, not started yet."""
        return Supervisor(self.settings(**flags))
