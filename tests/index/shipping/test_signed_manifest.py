"""Only the manifest the channel points at, signed by the builder, is opened."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from index.shipping.channel_changes import announce, promote
from index.shipping.documents import MANIFEST
from index.shipping.signed_manifest import open_manifest, seal_manifest
from index.shipping.signing import SigningKey, seal
from index.shipping.trust import TrustStore
from index.shipping.trust_errors import (
    TooLarge,
    TrustError,
    WrongManifest,
    WrongRole,
)
from tests.index.shipping.repository import (
    BRAND,
    Repository,
    flip,
    manifest_bytes,
    target,
)

ROOT_FOLDER = Path(__file__).parents[3]


def test_the_manifest_of_another_snapshot_is_refused(
    repository: Repository, node: TrustStore
) -> None:
    with pytest.raises(WrongManifest, match="snapshot of the manifest is tuesday"):
        node.open_manifest(repository.manifests["tuesday"], brand=BRAND, target=target("monday"))


def test_the_manifest_of_another_brand_is_refused(repository: Repository, node: TrustStore) -> None:
    foreign = repository.sealed_manifest("monday", brand="other")

    with pytest.raises(WrongManifest, match="brand of the manifest is other"):
        node.open_manifest(foreign, brand=BRAND, target=target("monday"))


def test_another_build_under_the_same_id_is_refused(
    repository: Repository, node: TrustStore
) -> None:
    same_id = manifest_bytes("monday") + b" "
    longer = seal(same_id, MANIFEST.payload_type, repository.keys["builder"])
    same_size = manifest_bytes("monday").replace(b"\n ", b" \n", 1)
    other = seal(same_size, MANIFEST.payload_type, repository.keys["builder"])

    with pytest.raises(WrongManifest, match="size"):
        node.open_manifest(longer, brand=BRAND, target=target("monday"))
    with pytest.raises(WrongManifest, match="sha256"):
        node.open_manifest(other, brand=BRAND, target=target("monday"))


def test_a_stolen_release_key_can_not_sign_a_manifest(
    repository: Repository, node: TrustStore
) -> None:
    data = seal(manifest_bytes("monday"), MANIFEST.payload_type, repository.keys["release"])

    with pytest.raises(WrongRole, match="may not sign for builder"):
        node.open_manifest(data, brand=BRAND, target=target("monday"))
    assert open_manifest(data, None, brand=BRAND, target=target("monday"))


def test_an_endless_manifest_is_refused_unread(repository: Repository, node: TrustStore) -> None:
    with pytest.raises(TooLarge):
        node.open_manifest(b"a" * (MANIFEST.max_bytes + 1), brand=BRAND, target=target("monday"))


def test_a_manifest_of_16_mib_still_fits_its_envelope(repository: Repository) -> None:
    full = manifest_bytes("monday").ljust(16 << 20)
    data = seal(full, MANIFEST.payload_type, [SigningKey.generate() for _ in range(16)])

    assert len(data) <= MANIFEST.max_bytes


def test_mutated_manifests_are_never_accepted(repository: Repository, node: TrustStore) -> None:
    genuine = repository.manifests["monday"]
    rng = random.Random(3)
    for _ in range(300):
        with pytest.raises(TrustError):
            node.open_manifest(
                flip(genuine, rng.randrange(len(genuine) * 8)),
                brand=BRAND,
                target=target("monday"),
            )


def test_promotions_travel(repository: Repository, node: TrustStore) -> None:
    repository.publish(repository.change(announce, target("tuesday"), percent=1))
    repository.update(node)
    repository.publish(repository.change(promote, 50))

    assert repository.update(node).channel.rollout.percent == 50


@pytest.mark.parametrize("brand", ["", "a shop", "../toy", "toy\n", ".toy", "x" * 101])
def test_a_brand_that_can_be_no_name_in_a_store_is_not_signed(
    repository: Repository, brand: str
) -> None:
    with pytest.raises(WrongManifest, match="brand") as caught:
        repository.sealed_manifest("monday", brand=brand)
    assert "letters, digits" in (caught.value.hint or "")


def test_what_is_no_manifest_is_not_signed(repository: Repository) -> None:
    for payload in (b"", b"{}", manifest_bytes("monday").replace(b"almanac-", b"another-")):
        with pytest.raises(WrongManifest, match="these bytes are no"):
            seal_manifest(payload, repository.keys["builder"])
