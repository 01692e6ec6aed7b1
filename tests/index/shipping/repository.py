"""A small true repository in memory: it signs by the same rules, and can be made to attack.

Honest steps are methods (`publish`, `rotate`); an attack takes what they made and bends it. What
was asked for is kept in `asked`.

    repository = Repository()
    repository.publish(repository.change(promote, 50))
    repository.rotate("release")
    node = repository.node(tmp_path)
    repository.update(node)
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from index.shipping.channel import Channel, Target, seal_channel
from index.shipping.channel_changes import Stamp, start_channel
from index.shipping.documents import ROLES, Role
from index.shipping.root import Root, first_root, make_root, seal_root
from index.shipping.signed_manifest import seal_manifest, target_of
from index.shipping.signing import SigningKey
from index.shipping.trust import Accepted, TrustStore

NOW = datetime(2026, 3, 1, 4, tzinfo=UTC)
DAY = timedelta(days=1)
BRAND, CHANNEL = "toy", "stable"


def manifest_bytes(snapshot_id: str, brand: str = BRAND) -> bytes:
    """Enough of a manifest to be signed and pointed at."""
    manifest = {"format": "almanac-snapshot", "snapshot_id": snapshot_id, "brand": brand}
    return json.dumps(manifest, indent=1).encode()


def target(snapshot_id: str) -> Target:
    return target_of(manifest_bytes(snapshot_id))


class Repository:
    """Keys of every role, a chain of roots, one channel and the manifests it points at."""

    def __init__(
        self,
        *,
        n_keys: Mapping[Role, int] | None = None,
        thresholds: Mapping[Role, int] | None = None,
    ) -> None:
        n_keys = n_keys or {}
        self.thresholds: Mapping[Role, int] = thresholds or {}
        self.now = NOW
        self.keys: dict[Role, list[SigningKey]] = {
            role: [SigningKey.generate() for _ in range(n_keys.get(role, 1))] for role in ROLES
        }
        self.asked: list[str] = []
        self.roots: dict[int, bytes] = {1: seal_root(self.make_root(1), self.keys["root"])}
        self.manifests = {name: self.sealed_manifest(name) for name in ("monday", "tuesday")}
        self.channel: Channel = start_channel(
            BRAND, CHANNEL, target("monday"), percent=100, stamp=self.stamp
        )
        self.served: bytes = b""
        self.publish(self.channel)

    @property
    def newest(self) -> Root:
        return self.root(max(self.roots))

    @property
    def stamp(self) -> Stamp:
        return Stamp(now=self.now, expires_at=self.now + 7 * DAY, root_version=max(self.roots))

    def root(self, version: int) -> Root:
        return first_root(self.roots[version])

    def make_root(self, version: int, **changes: Any) -> Root:
        roles = {role: [key.public for key in keys] for role, keys in self.keys.items()}
        parts: dict[str, Any] = {
            "thresholds": self.thresholds,
            "version": version,
            "issued_at": self.now,
            "expires_at": self.now + 365 * DAY,
        }
        return make_root(roles, **(parts | changes))

    def sealed_manifest(self, snapshot_id: str, brand: str = BRAND) -> bytes:
        return seal_manifest(manifest_bytes(snapshot_id, brand), self.keys["builder"])

    def change(self, how: Callable[..., Channel], *words: Any, **named: Any) -> Channel:
        """The channel's next document; nothing is published yet."""
        return how(self.channel, *words, stamp=self.stamp, **named)

    def publish(self, channel: Channel, keys: Sequence[SigningKey] | None = None) -> bytes:
        self.channel = channel
        self.served = seal_channel(channel, self.keys["release"] if keys is None else keys)
        return self.served

    def rotate(self, role: Role, *, add: bool = False) -> bytes:
        """Replace the role's first key, or add one, by a next root that old and new vouch for."""
        old_root_keys = self.keys["root"]
        kept = self.keys[role] if add else self.keys[role][1:]
        self.keys = {**self.keys, role: [*kept, SigningKey.generate()]}
        version = max(self.roots) + 1
        signers = {key.key_id: key for key in (*old_root_keys, *self.keys["root"])}
        self.roots[version] = seal_root(self.make_root(version), list(signers.values()))
        return self.roots[version]

    def read_root(self, version: int) -> bytes | None:
        self.asked.append(f"trust/{version}.root.json")
        return self.roots.get(version)

    def node(self, folder: Path) -> TrustStore:
        return TrustStore(folder, root=self.roots[1])

    def update(self, node: TrustStore) -> Accepted:
        """What a node does at each poll."""
        node.walk_roots(self.read_root)
        return self.accept(node)

    def accept(self, node: TrustStore, data: bytes | None = None) -> Accepted:
        return node.accept_channel(
            self.served if data is None else data, brand=BRAND, channel=CHANNEL, now=self.now
        )


def epoch_of(node: TrustStore) -> int:
    """The node's floor; 0 when it has none."""
    last = node.last_channel(BRAND, CHANNEL)
    return last.epoch if last else 0


def flip(data: bytes, bit: int) -> bytes:
    """The same bytes but for one bit."""
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)
