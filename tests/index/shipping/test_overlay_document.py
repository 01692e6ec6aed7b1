"""Overlays as documents: who may say so, how a node remembers, and the operator's commands."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from almanac import main
from index.overlay import Overlay
from index.shipping import overlay_changes as changes
from index.shipping.channel_changes import Stamp
from index.shipping.documents import OVERLAY
from index.shipping.names import overlay_key
from index.shipping.overlay_document import seal_overlay
from index.shipping.overlay_store import read_overlay_in_force, write_overlay
from index.shipping.store import open_store
from index.shipping.store_errors import Overtaken
from index.shipping.trust import TrustStore
from index.shipping.trust_errors import (
    ChannelRefused,
    Equivocation,
    Expired,
    NewerRoot,
    NotAnEnvelope,
    StaleChannel,
    TooLarge,
    TrustError,
    WrongChannel,
    WrongRole,
)
from tests.index.shipping.repository import BRAND, CHANNEL, DAY, NOW, Repository

PLACE = (BRAND, CHANNEL)
HOUR = timedelta(hours=1)


def stamp(now: datetime = NOW, root_version: int = 1) -> Stamp:
    return Stamp(now=now, expires_at=now + DAY, root_version=root_version)


def killed(before: Overlay | None, *offers: str, **more: Any) -> Overlay:
    place = more.pop("place", PLACE)
    until = more.pop("until", None)
    return changes.kill(before, offers, reason="why", until=until, stamp=stamp(**more), place=place)


def accept(
    node: TrustStore, data: bytes, *, channel: str = CHANNEL, now: datetime = NOW
) -> tuple[Overlay, bytes]:
    return node.accept_overlay(data, brand=BRAND, channel=channel, now=now)


def test_a_node_follows_rising_sequences_and_remembers(
    node: TrustStore, repository: Repository
) -> None:
    keys = repository.keys["overlay"]
    first = killed(None, "a")
    second = killed(first, "b")
    assert accept(node, seal_overlay(first, keys))[0] == first
    found, payload = accept(node, seal_overlay(second, keys))
    assert (found.sequence, set(found.kills)) == (2, {"a", "b"})
    assert node.last_overlay(BRAND, CHANNEL) == (second, payload)
    assert TrustStore(node.folder).last_overlay(BRAND, CHANNEL) == (second, payload)
    assert node.last_overlay(BRAND, "other") is None
    with pytest.raises(StaleChannel):
        accept(node, seal_overlay(first, keys))
    with pytest.raises(Equivocation):
        accept(node, seal_overlay(killed(first, "c"), keys))
    assert accept(node, seal_overlay(second, keys))[0] == second


def test_channels_and_overlays_have_floors_of_their_own(
    node: TrustStore, repository: Repository
) -> None:
    far = killed(None, "a")
    for _ in range(9):
        far = changes.renew(far, stamp=stamp())
    accept(node, seal_overlay(far, repository.keys["overlay"]))
    repository.update(node)
    assert node.last_channel(BRAND, CHANNEL) is not None
    assert node.last_overlay(BRAND, CHANNEL) is not None


def test_what_an_overlay_key_did_not_sign_is_refused(
    node: TrustStore, repository: Repository
) -> None:
    overlay = killed(None, "a")
    for role in ("release", "builder", "node"):
        with pytest.raises(WrongRole):
            accept(node, seal_overlay(overlay, repository.keys[role]))
    with pytest.raises(TrustError):
        accept(node, seal_overlay(overlay, []))
    ours = seal_overlay(overlay, repository.keys["overlay"])
    with pytest.raises(WrongChannel):
        accept(node, ours, channel="other")
    with pytest.raises(NotAnEnvelope):
        node.accept_channel(ours, brand=BRAND, channel=CHANNEL, now=NOW)
    for cut in (0, 1, len(ours) // 2, len(ours) - 1):
        with pytest.raises(NotAnEnvelope):
            accept(node, ours[:cut])
    with pytest.raises(TooLarge):
        accept(node, ours + b" " * OVERLAY.max_bytes)
    assert node.last_overlay(BRAND, CHANNEL) is None


def test_a_stale_overlay_is_taken_but_none_under_an_ended_root(
    node: TrustStore, repository: Repository
) -> None:
    ours = seal_overlay(killed(None, "a"), repository.keys["overlay"])
    assert accept(node, ours, now=NOW + 3 * DAY)[0].sequence == 1
    root = node.root()
    assert root is not None
    with pytest.raises(Expired):
        accept(node, ours, now=root.expires_at)


def test_a_replaced_key_takes_its_floor_along(node: TrustStore, repository: Repository) -> None:
    high = killed(None, "a")
    for _ in range(5):
        high = changes.renew(high, stamp=stamp())
    accept(node, seal_overlay(high, repository.keys["overlay"]))
    repository.rotate("overlay")
    honest = killed(None, "b", root_version=2)
    data = seal_overlay(honest, repository.keys["overlay"])
    with pytest.raises(NewerRoot):
        accept(node, data)
    node.walk_roots(repository.read_root)
    assert node.last_overlay(BRAND, CHANNEL) is None
    assert accept(node, data)[0] == honest


def test_changes_add_replace_and_take_back() -> None:
    one = killed(None, "a", "b", until=NOW + HOUR)
    two = changes.stock_out(
        one, ["a"], reason="sold", until=None, stamp=stamp(now=NOW + 2 * HOUR), place=PLACE
    )
    assert (two.sequence, set(two.kills), set(two.stock_outs)) == (2, set(), {"a"})
    three = changes.price(
        two, {"a": 1.5, "c": 0}, reason="cut", until=None, stamp=stamp(), place=PLACE
    )
    assert {name: entry.price for name, entry in three.prices.items()} == {"a": 1.5, "c": 0.0}
    four = changes.clear(three, ["a"], stamp=stamp())
    assert (set(four.stock_outs), set(four.prices)) == (set(), {"c"})
    assert not changes.clear(four, [], stamp=stamp()).prices


@pytest.mark.parametrize(
    "change",
    [
        lambda: killed(None),
        lambda: killed(None, ""),
        lambda: killed(None, "a", until=NOW),
        lambda: killed(None, "a", place=("a/b", "stable")),
        lambda: killed(None, "Gr\udcfc\udcdfe"),
        lambda: changes.kill(None, ["a"], reason=" ", until=None, stamp=stamp(), place=PLACE),
        lambda: changes.price(
            None, {"a": float("nan")}, reason="x", until=None, stamp=stamp(), place=PLACE
        ),
        lambda: changes.price(None, {"a": -1}, reason="x", until=None, stamp=stamp(), place=PLACE),
        lambda: changes.clear(killed(None, "a"), ["b"], stamp=stamp()),
        lambda: changes.renew(killed(None, "a", root_version=2), stamp=stamp()),
    ],
)
def test_a_change_that_makes_no_sense_is_refused(change: Callable[[], Overlay]) -> None:
    with pytest.raises(ChannelRefused):
        change()


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys") / "toy"
    assert main(["keys", "init", str(folder)]) == 0
    return folder


@pytest.fixture(params=["folder", "s3"])
def address(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "folder":
        return str(tmp_path / "store")
    settings: Mapping[str, str] = request.getfixturevalue("s3")
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    return f"s3://tests/{uuid4().hex}"


def test_operators_kill_price_and_clear(
    address: str, keys: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*words: str) -> tuple[int, Any]:
        capsys.readouterr()
        where = ["--store", address, "--brand", "toy", "--keys", str(keys), "--json"]
        code = main(["overlay", *words, *where])
        told = capsys.readouterr()
        return code, json.loads(told.out) if code == 0 else told.err

    why = ("--reason", "why")
    assert run("show")[0] == 4
    assert run("clear")[0] == 2
    assert run("kill", "a", "b", *why, "--dry-run")[1]["changed"] is False
    assert open_store(address).head(overlay_key("toy", "stable")) is None
    assert run("kill", "a", "b", *why)[1]["overlay"]["sequence"] == 1
    assert run("kill", *why)[0] == 2
    assert run("stock-out", "c", *why, "--for", "2h")[0] == 0
    for no_time in ("2 hours", "9999999d", "99999999999d"):
        assert run("stock-out", "c", *why, "--for", no_time)[0] == 2
    assert run("stock-out", "c", *why, "--for", "2h", "--until", "2099-01-01")[0] == 2
    assert run("price", "a=x=1.99", "c=2", *why, "--until", "2099-01-01")[0] == 0
    assert run("price", "a", *why)[0] == 2
    for twice in ("2", "nan"):
        assert "'c' is given two prices: 1 and" in run("price", "c=1", f"c={twice}", *why)[1]
    assert "error: -1 is no price for 'c'" in run("price", "a=1", "c=-1", *why)[1]
    _, told = run("show")
    assert (told["sequence"], told["signed_under"], told["stale"]) == (3, 1, False)
    assert list(told["kills"]) == ["a", "b"]
    assert {name: entry["price"] for name, entry in told["prices"].items()} == {
        "a=x": 1.99,
        "c": 2.0,
    }
    assert told["prices"]["c"]["until"] == "2099-01-01T00:00:00Z"
    assert list(run("clear", "c")[1]["overlay"]["prices"]) == ["a=x"]
    assert run("clear")[1]["overlay"]["kills"] == {}
    assert run("renew")[1]["overlay"]["sequence"] == 6


def test_of_two_who_change_it_at_once_one_finds_out(tmp_path: Path, repository: Repository) -> None:
    store, signers = open_store(tmp_path / "store"), repository.keys["overlay"]
    write_overlay(store, None, killed(None, "a"), signers)
    before = read_overlay_in_force(store, BRAND, CHANNEL, None)
    assert before is not None
    write_overlay(store, before, killed(before.overlay, "b"), signers)
    with pytest.raises(Overtaken):
        write_overlay(store, before, killed(before.overlay, "c"), signers)
    with pytest.raises(Overtaken):
        write_overlay(store, None, killed(None, "c"), signers)


def test_after_a_key_was_replaced_it_is_renewed_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(tmp_path / "keys")
    where = ["--store", str(tmp_path / "store"), "--brand", "toy", "--keys", folder]
    assert main(["keys", "init", folder]) == 0
    assert main(["overlay", "kill", "a", "--reason", "why", *where]) == 0
    assert main(["keys", "rotate", folder, "--role", "overlay"]) == 0
    assert main(["overlay", "clear", *where]) == 2
    assert "`almanac overlay renew`" in capsys.readouterr().err
    assert main(["overlay", "renew", *where]) == 0
    assert main(["overlay", "clear", *where]) == 0
    assert "signed under root 2" in capsys.readouterr().out
