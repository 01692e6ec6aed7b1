"""A node's settings against its folder: wrong ones are refused before anything starts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edge.errors import SettingsRefused
from edge.node.checked import checked_node
from edge.settings import Settings
from index.shipping.key_files import write_key
from index.shipping.names import root_key
from index.shipping.signing import SigningKey
from index.shipping.store_errors import BadAddress
from index.shipping.trust_errors import BadKeyFile, KeyNotFound, NoRoot, NotAnEnvelope
from tests.edge.node.world import World


def without(world: World, *, brand: str | None = None, **flags: Any) -> Settings:
    return world.settings(brand=brand, **flags)


def test_the_brand_is_known_once_something_is_served(world: World, new_world: World) -> None:
    assert checked_node(without(world)).brand == "toy"
    with pytest.raises(SettingsRefused, match="--brand is missing"):
        checked_node(without(new_world))


def test_the_first_root_is_given_once(new_world: World, tmp_path: Path) -> None:
    root = new_world.address / root_key(1)
    folder = tmp_path / "fresh"

    with pytest.raises(NoRoot):
        checked_node(new_world.settings(state_dir=folder))
    stranger = new_world.settings(state_dir=folder, root=new_world.top / "secret")
    with pytest.raises(NotAnEnvelope, match="secret: is no signed envelope") as caught:
        checked_node(stranger)
    assert "1.root.json" in str(caught.value.hint)
    with pytest.raises(SettingsRefused, match="cannot be read"):
        checked_node(new_world.settings(state_dir=folder, root=tmp_path / "none"))
    for given in (root, None):
        assert checked_node(new_world.settings(state_dir=folder, root=given)).brand == "toy"


def test_a_folder_belongs_to_one_brand_and_a_node_has_a_name(world: World) -> None:
    with pytest.raises(SettingsRefused, match="of brand toy, not of other"):
        checked_node(world.settings(brand="other"))
    # As a host may be called, which nobody typed.
    with pytest.raises(SettingsRefused, match="'-' can't be a node's name"):
        checked_node(replace(world.settings(), node_id="-"))


def test_the_key_of_heartbeats_is_there_and_nobody_else_s(world: World, tmp_path: Path) -> None:
    with pytest.raises(KeyNotFound):
        checked_node(world.settings(node_key=tmp_path / "none.pem"))
    path = tmp_path / "node.pem"
    write_key(path, SigningKey.generate())
    path.chmod(0o644)
    with pytest.raises(BadKeyFile, match="others than its owner"):
        checked_node(world.settings(node_key=path))
    path.chmod(0o600)
    assert checked_node(world.settings(node_key=path)).node_key == path


def test_addresses_are_checked(world: World) -> None:
    for flags in ({"store": "ftp://host/path"}, {"mirrors": "s3://b?x=1"}):
        with pytest.raises(BadAddress):
            checked_node(world.settings(**flags))


def test_what_nobody_vouched_for_is_not_begun_with_by_a_node_that_asks_for_trust(
    new_world: World,
) -> None:
    new_world.start("a")
    with new_world.node(insecure=True) as node:
        node.until(lambda: new_world.standing.is_confirmed)

    assert checked_node(new_world.settings(insecure=True)).insecure
    with pytest.raises(SettingsRefused, match="nobody vouched for"):
        checked_node(new_world.settings())
