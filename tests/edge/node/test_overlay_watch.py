"""The overlay as a node follows it, from a real store, with and without one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from edge.node.overlay_watch import OverlayWatch
from index.overlay import Overlay, read_overlay
from index.shipping import overlay_changes as changes
from index.shipping.local_store import LocalStore
from index.shipping.names import overlay_key
from index.shipping.overlay_document import seal_overlay
from index.shipping.store import Blob, Store, open_store
from index.shipping.store_errors import Unreachable
from index.shipping.trust import TrustStore
from tests.index.shipping.repository import BRAND, CHANNEL, DAY, NOW, Repository

SECOND = timedelta(seconds=1)


@pytest.fixture
def repository() -> Repository:
    return Repository()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path / "store")


@pytest.fixture
def trust(repository: Repository, tmp_path: Path) -> TrustStore:
    return repository.node(tmp_path / "state")


@pytest.fixture
def watch(store: Store, trust: TrustStore) -> OverlayWatch:
    return OverlayWatch([store], trust, brand=BRAND, channel=CHANNEL)


@pytest.fixture
def put(store: Store, repository: Repository) -> Callable[..., Overlay]:
    def put(before: Overlay | None, *offers: str, role: str = "overlay", **more: object) -> Overlay:
        until = more.get("until")
        after = changes.kill(
            before,
            offers,
            reason="why",
            until=until,  # type: ignore[arg-type]
            stamp=repository.stamp,
            place=(BRAND, CHANNEL),
        )
        key = overlay_key(BRAND, CHANNEL)
        token = store.read(key, limit=1 << 20).token if store.head(key) is not None else None
        data = seal_overlay(after, repository.keys[role])  # type: ignore[index]
        store.replace(key, data, expected=token)
        return after

    return put


def test_each_overlay_is_handed_on_once(watch: OverlayWatch, put: Callable[..., Overlay]) -> None:
    assert watch.poll(NOW) is None
    assert watch.failure is None
    first = put(None, "a")
    payload = watch.poll(NOW)
    assert payload is not None
    assert read_overlay(payload) == first == watch.overlay
    assert watch.poll(NOW + SECOND) is None
    put(first, "b")
    payload = watch.poll(NOW + SECOND)
    assert payload is not None
    assert set(read_overlay(payload).kills) == {"a", "b"}


def test_it_comes_again_when_an_entry_ends(
    watch: OverlayWatch, put: Callable[..., Overlay]
) -> None:
    put(None, "a", until=NOW + 10 * SECOND)
    polls = [watch.poll(NOW + at * SECOND) is not None for at in range(13)]

    assert [at for at, handed in enumerate(polls) if handed] == [0, 10]


def test_what_was_accepted_holds_without_a_store_and_after_a_restart(
    watch: OverlayWatch, put: Callable[..., Overlay], trust: TrustStore, tmp_path: Path
) -> None:
    overlay = put(None, "a")
    assert watch.poll(NOW) is not None
    gone = open_store(tmp_path / "nothing")
    again = OverlayWatch([gone], trust, brand=BRAND, channel=CHANNEL)
    payload = again.poll(NOW + 3 * DAY)
    assert payload is not None
    assert read_overlay(payload) == overlay
    assert not again.is_stale(NOW)
    assert again.is_stale(overlay.expires_at)


def test_a_mirror_is_asked_where_the_store_does_not_answer(
    store: Store, trust: TrustStore, put: Callable[..., Overlay], tmp_path: Path
) -> None:
    """And is asked first from then on; a store that answers that it has none has answered."""

    class Away(LocalStore):
        asked = 0

        def read(self, key: str, *, limit: int) -> Blob:
            Away.asked += 1
            raise Unreachable("no route", where=key)

    overlay = put(None, "a")
    watch = OverlayWatch([Away(tmp_path), store], trust, brand=BRAND, channel=CHANNEL)
    for _ in range(3):
        watch.poll(NOW)
        assert (watch.overlay, watch.failure) == (overlay, None)
    assert Away.asked == 1

    empty = OverlayWatch([open_store(tmp_path / "empty"), store], trust, brand="x", channel=CHANNEL)
    assert empty.poll(NOW) is None
    assert empty.failure is None
    nobody = OverlayWatch([Away(tmp_path)], trust, brand=BRAND, channel=CHANNEL)
    nobody.poll(NOW)
    assert "no route" in (nobody.failure or "")


def test_a_bad_one_is_told_and_changes_nothing(
    watch: OverlayWatch, put: Callable[..., Overlay], store: Store
) -> None:
    first = put(None, "a")
    assert watch.poll(NOW) is not None
    put(first, "b", role="release")
    assert watch.poll(NOW) is None
    assert watch.overlay == first
    assert "may not sign for overlay" in (watch.failure or "")
    store.delete(overlay_key(BRAND, CHANNEL))
    assert [watch.poll(NOW), watch.failure] == [None, None]
    assert watch.overlay == first, "a store that lost it takes nothing back"


def test_newer_roots_are_fetched_when_it_was_made_under_one(
    store: Store, trust: TrustStore, repository: Repository, put: Callable[..., Overlay]
) -> None:
    watch = OverlayWatch(
        [store],
        trust,
        brand=BRAND,
        channel=CHANNEL,
        fetch_roots=lambda _: trust.walk_roots(repository.read_root),
    )
    put(None, "a")
    assert watch.poll(NOW) is not None
    repository.rotate("overlay")
    renewed = put(watch.overlay, "b")
    assert watch.poll(NOW) is not None
    assert watch.overlay == renewed
