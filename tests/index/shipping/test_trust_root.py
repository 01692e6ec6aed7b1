"""How a node walks from root to root, and what it takes for granted at its installation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from index.shipping.channel import seal_channel
from index.shipping.channel_changes import renew
from index.shipping.documents import ROOT
from index.shipping.root import encode_root
from index.shipping.signing import SigningKey, seal
from index.shipping.trust import TrustStore
from index.shipping.trust_errors import (
    BrokenRootChain,
    Expired,
    NewerRoot,
    NoRoot,
    NotADocument,
    NotAnEnvelope,
    StaleChannel,
    TooLarge,
    UnknownKey,
    WrongChannel,
)
from tests.index.shipping.repository import CHANNEL as STABLE
from tests.index.shipping.repository import (
    DAY,
    NOW,
    Repository,
    epoch_of,
)

ROOT_FOLDER = Path(__file__).parents[3]


def test_a_node_walks_the_chain_one_by_one(repository: Repository, node: TrustStore) -> None:
    for role in ("release", "root", "builder"):
        repository.rotate(role)
    taken = node.walk_roots(repository.read_root)

    assert taken == 3
    assert node.root() == repository.newest
    assert repository.asked == [f"trust/{version}.root.json" for version in (2, 3, 4, 5)]
    assert TrustStore(node.folder).root() == repository.newest


def test_a_gap_in_the_chain_is_refused(repository: Repository, node: TrustStore) -> None:
    repository.rotate("release")
    third = repository.rotate("release")

    with pytest.raises(BrokenRootChain, match="root 3 does not follow root 1"):
        node.accept_root(third)
    assert node.root() == repository.root(1)


def test_an_older_or_equal_root_is_refused(repository: Repository, node: TrustStore) -> None:
    second = repository.rotate("release")
    node.accept_root(second)

    for data in (second, repository.roots[1]):
        with pytest.raises(BrokenRootChain, match="does not follow root 2"):
            node.accept_root(data)


@pytest.mark.parametrize("whose", ["old", "new"])
def test_a_root_signed_by_one_side_only_is_refused(
    repository: Repository, node: TrustStore, whose: str
) -> None:
    old = repository.keys["root"]
    repository.rotate("root")
    signers = {"old": old, "new": repository.keys["root"]}[whose]
    missing = {"old": "the new root itself", "new": "the root in use"}[whose]
    data = seal(encode_root(repository.newest), ROOT.payload_type, signers)

    with pytest.raises(BrokenRootChain, match=f"not vouched for by {missing}"):
        node.accept_root(data)
    assert node.root() == repository.root(1)


def test_a_root_needs_the_threshold_of_both_sides(tmp_path: Path) -> None:
    repository = Repository(n_keys={"root": 3}, thresholds={"root": 2})
    node = repository.node(tmp_path)
    a, b, _ = repository.keys["root"]
    repository.rotate("root")
    _, _, new = repository.keys["root"]
    payload = encode_root(repository.newest)

    for signers in ([a, new], [b], [new]):
        with pytest.raises(BrokenRootChain):
            node.accept_root(seal(payload, ROOT.payload_type, signers))
    # a and b are two of the old root, b and the new key two of the new one.
    assert node.accept_root(seal(payload, ROOT.payload_type, [a, b, new])).version == 2


@pytest.mark.parametrize("data", [b"", b"a" * (ROOT.max_bytes + 1)])
def test_what_is_no_root_is_refused(repository: Repository, node: TrustStore, data: bytes) -> None:
    with pytest.raises((NotAnEnvelope, TooLarge)):
        node.accept_root(data)


Parts = dict[str, Any]


def swapped_keys(parts: Parts) -> None:
    first, second, *_ = parts["keys"]
    keys = parts["keys"]
    keys[first], keys[second] = keys[second], keys[first]


def shared_key(parts: Parts) -> None:
    parts["roles"]["release"] = parts["roles"]["builder"]


def same_key_twice(parts: Parts) -> None:
    parts["roles"]["release"]["key_ids"] *= 2


def unused_key(parts: Parts) -> None:
    key = SigningKey.generate()
    parts["keys"][key.key_id] = key.public.hex()


@pytest.mark.parametrize(
    ("bend", "told"),
    [
        (swapped_keys, "has the id of another key"),
        (shared_key, "names one key twice"),
        (same_key_twice, "names one key twice"),
        (unused_key, "do not name the same ids"),
        (lambda parts: parts["roles"].pop("node"), "names nobody for node"),
        (lambda parts: parts["roles"]["release"].update(threshold=2), "asks for 2 signatures"),
        (lambda parts: parts["roles"]["release"].update(threshold=0), "threshold"),
        (lambda parts: parts["roles"]["release"].update(key_ids=[]), "key_ids"),
        (lambda parts: parts["roles"].update(king=parts["roles"]["node"]), "king"),
        (lambda parts: parts.update(expires_at=parts["issued_at"]), "ends before it begins"),
        (lambda parts: parts.update(format="almanac-root/2"), "this software reads"),
        (lambda parts: parts.update(surprise=1), "surprise"),
    ],
)
def test_a_root_that_contradicts_itself_is_refused(
    repository: Repository, node: TrustStore, bend: Callable[[Parts], None], told: str
) -> None:
    parts = msgspec.json.decode(encode_root(repository.make_root(2)))
    bend(parts)
    data = seal(msgspec.json.encode(parts), ROOT.payload_type, repository.keys["root"])

    with pytest.raises(NotADocument, match=told):
        node.accept_root(data)


def test_an_expired_root_stops_updates_until_there_is_a_next_one(
    repository: Repository, node: TrustStore
) -> None:
    repository.update(node)
    repository.now = NOW + 400 * DAY
    repository.publish(repository.change(renew))
    with pytest.raises(Expired, match="root 1 ended"):
        repository.update(node)
    assert epoch_of(node) == 1
    repository.rotate("builder")

    assert repository.update(node).channel.epoch == 2


def test_an_expired_root_in_the_middle_of_the_chain_is_walked_through(
    repository: Repository, node: TrustStore
) -> None:
    for _ in range(3):
        repository.now += 300 * DAY
        repository.rotate("builder")
    repository.publish(repository.change(renew))

    assert repository.update(node).channel.root_version == 4


def test_a_channel_of_a_newer_root_asks_for_roots_first(
    repository: Repository, node: TrustStore
) -> None:
    repository.rotate("release")
    repository.publish(repository.change(renew))
    with pytest.raises(NewerRoot, match="under root 2, this node knows root 1") as caught:
        repository.accept(node)

    assert caught.value.exit_code == 75
    assert repository.update(node).channel.epoch == 2


def test_a_newer_root_is_asked_for_even_when_the_old_keys_still_sign(
    repository: Repository, node: TrustStore
) -> None:
    repository.rotate("builder")
    repository.publish(repository.change(renew))

    with pytest.raises(NewerRoot):
        repository.accept(node)
    assert epoch_of(node) == 0


def test_a_made_up_root_version_opens_no_door(repository: Repository, node: TrustStore) -> None:
    """A stranger's document that claims a newer root makes a node look for roots, nothing more."""
    forged = msgspec.structs.replace(repository.channel, root_version=9, epoch=99)
    data = seal_channel(forged, [SigningKey.generate()])

    with pytest.raises(NewerRoot):
        repository.accept(node, data)
    assert node.walk_roots(repository.read_root) == 0
    assert repository.update(node).channel.epoch == 1


def test_a_rotated_key_is_no_longer_accepted(repository: Repository, node: TrustStore) -> None:
    stolen = repository.keys["release"]
    repository.rotate("release")
    node.walk_roots(repository.read_root)

    with pytest.raises(UnknownKey):
        repository.accept(node, seal_channel(repository.change(renew), stolen))


def test_fast_forward_is_cured_by_rotating_the_release_key(
    repository: Repository, node: TrustStore
) -> None:
    """Case 11."""
    honest = repository.channel
    stolen = repository.keys["release"]
    far = msgspec.structs.replace(honest, epoch=(1 << 53) - 1)
    repository.accept(node, seal_channel(far, stolen))
    repository.publish(repository.change(renew))
    with pytest.raises(StaleChannel):
        repository.update(node)
    repository.rotate("release")
    repository.publish(repository.change(renew))

    assert repository.update(node).channel.epoch == 3
    assert epoch_of(TrustStore(node.folder)) == 3


@pytest.mark.parametrize("role", ["root", "builder", "overlay", "node"])
def test_no_other_rotation_forgets_the_floor(
    repository: Repository, node: TrustStore, role: str
) -> None:
    old = repository.channel
    repository.publish(repository.change(renew))
    repository.update(node)
    repository.rotate(role)  # type: ignore[arg-type]
    node.walk_roots(repository.read_root)

    with pytest.raises(StaleChannel):
        repository.accept(node, seal_channel(old, repository.keys["release"]))


def test_an_added_release_key_forgets_no_floor_until_an_old_one_goes(
    repository: Repository, node: TrustStore
) -> None:
    repository.publish(repository.change(renew))
    repository.update(node)
    repository.rotate("release", add=True)
    node.walk_roots(repository.read_root)
    kept = epoch_of(node)
    repository.rotate("release")
    node.walk_roots(repository.read_root)

    assert (kept, epoch_of(node)) == (2, 0)


def test_a_walk_ends_after_256_roots(repository: Repository, node: TrustStore) -> None:
    for _ in range(257):
        repository.rotate("node")

    assert node.walk_roots(repository.read_root) == 256
    assert node.walk_roots(repository.read_root) == 1


def test_a_node_without_a_root_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(NoRoot, match="not told whom to trust"):
        TrustStore(tmp_path)


def test_the_first_root_may_be_given_at_every_start(
    repository: Repository, node: TrustStore
) -> None:
    repository.rotate("release")
    node.walk_roots(repository.read_root)

    assert TrustStore(node.folder, root=repository.roots[1]).root() == repository.newest


def test_a_newer_root_of_installation_is_taken(repository: Repository, node: TrustStore) -> None:
    repository.update(node)
    repository.rotate("release")
    third = repository.rotate("root")
    again = TrustStore(node.folder, root=third)

    assert again.root() == repository.newest
    assert epoch_of(again) == 0


def test_another_installation_s_root_is_refused(node: TrustStore) -> None:
    with pytest.raises(BrokenRootChain, match="trusts another root 1"):
        TrustStore(node.folder, root=Repository().roots[1])


def test_an_unsigned_first_root_is_refused(repository: Repository, tmp_path: Path) -> None:
    data = seal(encode_root(repository.newest), ROOT.payload_type, [])

    with pytest.raises(UnknownKey):
        TrustStore(tmp_path, root=data)


def test_insecure_is_said_and_seen(repository: Repository, tmp_path: Path) -> None:
    node = TrustStore(tmp_path, insecure=True)
    accepted = repository.accept(node, seal_channel(repository.channel, []))

    assert (accepted.trust, accepted.is_new, node.root()) == ("insecure", True, None)
    with pytest.raises(NoRoot):
        TrustStore(tmp_path)
    with pytest.raises(NoRoot, match="contradict"):
        TrustStore(tmp_path, root=repository.roots[1], insecure=True)
    with pytest.raises(NoRoot):
        node.accept_root(repository.roots[1])


def test_insecure_still_refuses_old_mixed_and_expired(
    repository: Repository, tmp_path: Path
) -> None:
    node = TrustStore(tmp_path, insecure=True)
    old = seal_channel(repository.channel, [])
    newer = repository.publish(repository.change(renew), keys=[])
    repository.accept(node)

    with pytest.raises(StaleChannel):
        repository.accept(node, old)
    with pytest.raises(WrongChannel):
        node.accept_channel(old, brand="other", channel=STABLE, now=NOW)
    repository.now += 8 * DAY
    with pytest.raises(Expired):
        repository.accept(node, newer)


def test_what_an_insecure_node_saw_is_never_taken_for_signed(
    repository: Repository, tmp_path: Path
) -> None:
    careless = TrustStore(tmp_path, insecure=True)
    far = msgspec.structs.replace(repository.channel, epoch=99)
    repository.accept(careless, seal_channel(far, []))
    careful = repository.node(tmp_path)

    assert epoch_of(careful) == 0
    assert repository.update(careful).channel.epoch == 1
