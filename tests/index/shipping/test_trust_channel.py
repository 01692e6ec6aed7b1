"""What a node accepts as a channel, from a repository that is honest and from one that attacks."""

from __future__ import annotations

import random
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from index.shipping.channel import Channel, encode_channel, seal_channel
from index.shipping.channel_changes import announce, renew, start_channel
from index.shipping.documents import CHANNEL, ROOT
from index.shipping.signing import SigningKey, seal
from index.shipping.trust import TrustStore
from index.shipping.trust_errors import (
    BadSignature,
    Equivocation,
    Expired,
    NotADocument,
    NotAnEnvelope,
    StaleChannel,
    TooFewSignatures,
    TooLarge,
    TrustError,
    UnknownKey,
    WrongChannel,
    WrongRole,
)
from tests.index.shipping.repository import (
    BRAND,
    DAY,
    NOW,
    Repository,
    epoch_of,
    flip,
    manifest_bytes,
    target,
)
from tests.index.shipping.repository import CHANNEL as STABLE

ROOT_FOLDER = Path(__file__).parents[3]


def test_a_channel_is_accepted_and_remembered(repository: Repository, node: TrustStore) -> None:
    first, again = repository.update(node), repository.update(node)

    assert (first.channel, first.trust, first.ahead) == (
        repository.channel,
        "signed",
        timedelta(0),
    )
    assert (first.is_new, again.is_new) == (True, False)
    assert node.last_channel(BRAND, STABLE) == repository.channel


def test_a_restarted_node_needs_no_root_and_knows_its_floor(
    repository: Repository, node: TrustStore
) -> None:
    old = repository.served
    repository.publish(repository.change(renew))
    repository.update(node)
    woken = TrustStore(node.folder)

    assert epoch_of(woken) == 2
    with pytest.raises(StaleChannel):
        repository.accept(woken, old)


def test_each_channel_has_a_floor_of_its_own(repository: Repository, node: TrustStore) -> None:
    for _ in range(3):
        repository.publish(repository.change(renew))
    repository.update(node)
    other = start_channel(BRAND, "canary", target("monday"), percent=1, stamp=repository.stamp)
    data = seal_channel(other, repository.keys["release"])
    accepted = node.accept_channel(data, brand=BRAND, channel="canary", now=NOW)

    assert (accepted.channel.epoch, epoch_of(node)) == (1, 4)


def test_the_target_s_manifest_comes_out_byte_for_byte(
    repository: Repository, node: TrustStore
) -> None:
    wanted = repository.update(node).channel.target
    assert wanted is not None

    assert manifest_bytes("monday") == node.open_manifest(
        repository.manifests["monday"], brand=BRAND, target=wanted
    )


def test_rollback_to_an_older_epoch_is_refused(repository: Repository, node: TrustStore) -> None:
    old = repository.served
    repository.publish(repository.change(announce, target("tuesday"), percent=10))
    repository.update(node)

    with pytest.raises(StaleChannel, match="epoch 1, epoch 2 was accepted"):
        repository.accept(node, old)
    assert epoch_of(node) == 2


def test_two_documents_of_one_epoch_are_refused(repository: Repository, node: TrustStore) -> None:
    repository.update(node)
    twin = msgspec.structs.replace(repository.channel, target=target("tuesday"))

    with pytest.raises(Equivocation, match="epoch 1"):
        repository.accept(node, seal_channel(twin, repository.keys["release"]))
    assert repository.accept(node).is_new is False


def test_the_same_contents_signed_by_another_key_are_the_same_document(tmp_path: Path) -> None:
    repository = Repository(n_keys={"release": 2})
    node = repository.node(tmp_path)
    repository.update(node)
    first, second = repository.keys["release"]

    for keys in ([first], [second]):
        again = repository.accept(node, seal_channel(repository.channel, keys))
        assert again.is_new is False


@pytest.mark.parametrize("after", [timedelta(0), timedelta(seconds=1), 3650 * DAY])
def test_a_frozen_channel_expires_and_the_floor_stays(
    repository: Repository, node: TrustStore, after: timedelta
) -> None:
    repository.update(node)
    repository.now = repository.channel.expires_at + after

    with pytest.raises(Expired):
        repository.accept(node)
    assert epoch_of(node) == 1


def test_an_unseen_expired_channel_moves_no_floor(repository: Repository, node: TrustStore) -> None:
    repository.now += 8 * DAY

    with pytest.raises(Expired, match="epoch 1 of the channel ended"):
        repository.accept(node)
    assert epoch_of(node) == 0


def test_a_moment_before_its_end_a_channel_is_accepted(
    repository: Repository, node: TrustStore
) -> None:
    repository.now = repository.channel.expires_at - timedelta(microseconds=1)

    assert repository.update(node).is_new is True


def test_a_clock_years_behind_is_reported_and_stops_nothing(
    repository: Repository, node: TrustStore
) -> None:
    repository.now = NOW - 3650 * DAY

    assert repository.update(node).ahead == 3650 * DAY


def test_a_clock_years_ahead_stops_updates_and_forgets_nothing(
    repository: Repository, node: TrustStore
) -> None:
    repository.update(node)
    repository.now = NOW + 3650 * DAY
    with pytest.raises(Expired, match="root 1 ended"):
        repository.update(node)
    repository.now = NOW

    assert repository.update(node).is_new is False


@pytest.mark.parametrize(
    ("brand", "channel"), [("toy", "canary"), ("other", "stable"), ("other", "canary")]
)
def test_a_document_under_another_name_is_refused(
    repository: Repository, node: TrustStore, brand: str, channel: str
) -> None:
    with pytest.raises(WrongChannel, match=f"toy/stable, wanted {brand}/{channel}"):
        node.accept_channel(repository.served, brand=brand, channel=channel, now=NOW)
    assert node.last_channel(brand, channel) is None


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"a" * (CHANNEL.max_bytes + 1), id="endless letters"),
        pytest.param(b"[" * (CHANNEL.max_bytes + 1), id="endless brackets"),
    ],
)
def test_endless_data_is_refused_unread(
    repository: Repository, node: TrustStore, data: bytes
) -> None:
    with pytest.raises(TooLarge, match="at most 65536"):
        repository.accept(node, data)


def test_a_publisher_can_not_sign_what_no_node_would_read(repository: Repository) -> None:
    long = msgspec.structs.replace(
        repository.channel,
        rollout=msgspec.structs.replace(repository.channel.rollout, reason="x" * 70_000),
    )
    with pytest.raises(TooLarge):
        seal_channel(long, repository.keys["release"])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"{}",
        b"[" * 60_000,
        b"\xff\xfe",
        b'{"payload":"","payloadType":"","signatures":[{}]}',
        b'{"payload":1,"payloadType":"","signatures":[]}',
        b'{"payload":"","payloadType":7,"signatures":[]}',
        b'{"payload":"","payloadType":"","signatures":7}',
        b'{"payload":"","payloadType":"","signatures":[{"keyid":3,"sig":""}]}',
        b'{"payload":"!","payloadType":"","signatures":[]}',
        b'{"payload":"","payloadType":"","signatures":[{"keyid":"","sig":"\xc3\xa9"}]}',
    ],
)
def test_what_is_no_envelope_is_refused(
    repository: Repository, node: TrustStore, data: bytes
) -> None:
    with pytest.raises(NotAnEnvelope):
        repository.accept(node, data)


def test_a_document_of_another_kind_is_no_channel(repository: Repository, node: TrustStore) -> None:
    payload = encode_channel(repository.channel)
    disguised = seal(payload, ROOT.payload_type, repository.keys["release"])

    for data in (disguised, repository.roots[1], repository.manifests["monday"]):
        with pytest.raises(NotAnEnvelope, match="wanted a channel"):
            repository.accept(node, data)


def test_an_unknown_key_is_refused(repository: Repository, node: TrustStore) -> None:
    data = seal_channel(repository.channel, [SigningKey.generate()])

    with pytest.raises(UnknownKey):
        repository.accept(node, data)


def test_no_signature_is_refused(repository: Repository, node: TrustStore) -> None:
    with pytest.raises(UnknownKey, match="signed by nobody"):
        repository.accept(node, seal_channel(repository.channel, []))


@pytest.mark.parametrize("role", ["root", "builder", "overlay", "node"])
def test_a_key_of_another_role_is_refused(
    repository: Repository, node: TrustStore, role: str
) -> None:
    data = seal_channel(repository.channel, repository.keys[role])  # type: ignore[index]

    with pytest.raises(WrongRole, match="may not sign for release"):
        repository.accept(node, data)


def test_a_signature_moved_to_other_contents_is_refused(
    repository: Repository, node: TrustStore
) -> None:
    honest = msgspec.json.decode(repository.served)
    forged = msgspec.structs.replace(repository.channel, epoch=99)
    bent = msgspec.json.decode(seal_channel(forged, []))
    data = msgspec.json.encode(bent | {"signatures": honest["signatures"]})

    with pytest.raises(BadSignature):
        repository.accept(node, data)


def test_a_key_can_not_sign_under_another_key_s_id(
    repository: Repository, node: TrustStore
) -> None:
    own = msgspec.json.decode(seal_channel(repository.channel, [SigningKey.generate()]))
    own["signatures"][0]["keyid"] = repository.keys["release"][0].key_id

    with pytest.raises(BadSignature):
        repository.accept(node, msgspec.json.encode(own))


def test_a_threshold_counts_keys_not_signatures(tmp_path: Path) -> None:
    repository = Repository(n_keys={"release": 3}, thresholds={"release": 2})
    node = repository.node(tmp_path)
    first, second, _ = repository.keys["release"]
    one = seal_channel(repository.channel, [first])
    doubled = msgspec.json.decode(one)
    doubled["signatures"] *= 2

    with pytest.raises(TooFewSignatures, match="has 1 good signatures"):
        repository.accept(node, one)
    with pytest.raises(NotAnEnvelope):
        repository.accept(node, msgspec.json.encode(doubled))
    with pytest.raises(TooFewSignatures):
        repository.accept(
            node, seal_channel(repository.channel, [first, *repository.keys["builder"]])
        )
    assert repository.accept(node, seal_channel(repository.channel, [first, second])).is_new


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"format": "almanac-channel/2"}, id="newer format"),
        pytest.param({"surprise": 1}, id="unknown member"),
        pytest.param({"epoch": 0}, id="epoch zero"),
        pytest.param({"epoch": "7"}, id="epoch as text"),
        pytest.param({"brand": "../../etc"}, id="brand that climbs"),
        pytest.param({"channel": "stable\n"}, id="name with a newline"),
        pytest.param({"expires_at": "2026-03-09T00:00:00"}, id="no time zone"),
        pytest.param({"expires_at": "2020-01-01T00:00:00Z"}, id="ends before it begins"),
        pytest.param({"rollout": {"percent": 101, "salt": ""}}, id="more than all"),
    ],
)
def test_signed_nonsense_is_refused(
    repository: Repository, node: TrustStore, change: dict[str, object]
) -> None:
    document = msgspec.json.decode(encode_channel(repository.channel)) | change
    data = seal(msgspec.json.encode(document), CHANNEL.payload_type, repository.keys["release"])

    with pytest.raises(NotADocument):
        repository.accept(node, data)


def test_mutated_documents_are_never_accepted_and_always_named(
    repository: Repository, node: TrustStore
) -> None:
    """600 flipped bits, 300 cuts and 300 swapped, doubled or lost pieces of a genuine document."""
    repository.publish(repository.change(promote_from_ten))
    genuine = repository.served
    rng = random.Random(7)
    mutants = {flip(genuine, rng.randrange(len(genuine) * 8)) for _ in range(600)}
    mutants |= {genuine[: rng.randrange(len(genuine))] for _ in range(300)}
    for _ in range(100):
        a, b = sorted(rng.sample(range(len(genuine)), 2))
        mutants |= {
            genuine[:a] + genuine[b:],
            genuine[:b] + genuine[a:],
            genuine[:a] + genuine[a:b][::-1] + genuine[b:],
        }
    mutants.discard(genuine)
    refused = 0
    for mutant in mutants:
        with pytest.raises(TrustError) as caught:
            repository.accept(node, mutant)
        assert type(caught.value) is not TrustError
        refused += 1

    assert refused == len(mutants) > 1000
    assert epoch_of(node) == 0
    assert repository.accept(node).is_new


def promote_from_ten(channel: Channel, **named: object) -> Channel:
    """An announcement to a tenth of the nodes."""
    return announce(channel, target("tuesday"), percent=10, **named)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "bend",
    [
        pytest.param(lambda data: data + b"\n", id="newline at the end"),
        pytest.param(lambda data: data.replace(b":", b": ", 1), id="blank"),
        pytest.param(lambda data: data.replace(b"{", b'{"x":1,', 1), id="unsigned member"),
        pytest.param(
            lambda data: data.replace(b'{"keyid"', b'{"note":"ok","keyid"', 1),
            id="unsigned member of a signature",
        ),
        pytest.param(
            lambda data: data.replace(b'","payloadType"', b'==","payloadType"', 1), id="padding"
        ),
    ],
)
def test_the_same_envelope_in_another_form_is_refused(
    repository: Repository, node: TrustStore, bend: object
) -> None:
    with pytest.raises(NotAnEnvelope):
        repository.accept(node, bend(repository.served))  # type: ignore[operator]


def test_signatures_in_another_order_are_refused(tmp_path: Path) -> None:
    repository = Repository(n_keys={"release": 2}, thresholds={"release": 2})
    node = repository.node(tmp_path)
    envelope = msgspec.json.decode(repository.served)
    envelope["signatures"].reverse()

    with pytest.raises(NotAnEnvelope, match="not in the one form"):
        repository.accept(node, msgspec.json.encode(envelope))
    assert repository.accept(node).is_new
