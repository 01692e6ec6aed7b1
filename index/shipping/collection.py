"""One collector of garbage at a time, whom publishers can see at work.

A collection is a document that is there while somebody deletes. Who puts something in use (a
manifest, a channel's target) looks for it *afterwards*: when there is none, whoever begins later
sees the new use; when there is one, it may have looked too early, so the user waits for its end and
makes sure that everything is still there. A collector that died holds nobody up for long: it
promised to delete nothing after `BOUND_S`, and who waits counts that on a clock of his own.
"""

from __future__ import annotations

import secrets
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final

from index.json_text import json_text
from index.shipping.probe import probe_conditional
from index.shipping.store import Store
from index.shipping.store_errors import NotInStore, Overtaken

BOUND_S: Final = 600.0
"""Seconds from its beginning in which a collection may delete."""
_SLACK_S: Final = 60.0
_FOLDER: Final = "collection"
_KEY: Final = f"{_FOLDER}/now.json"
_MAX_BYTES: Final = 4096


class Collection:
    """A collection that has begun.

    Args:
        now: when it began, UTC, by the store's clock.
        ends: moment on the monotonic clock after which nothing may be deleted.
    """

    def __init__(self, now: datetime, ends: float) -> None:
        self.now = now
        self._ends = ends

    @property
    def may_delete(self) -> bool:
        """Whether there is time left; a request under way is given `BOUND_S / 10` to end."""
        return time.monotonic() < self._ends


@contextmanager
def collecting(store: Store, *, bound_s: float = BOUND_S) -> Iterator[Collection]:
    """Be the one who deletes; what was in use before this is seen by whoever looks inside.

    Raises:
        Overtaken: another collection is under way.
        NoConditions: the store ignores conditions, so two could delete at once.
        StoreError: whatever the store has against it.
    """
    probe_conditional(store)
    # Before the document can be seen: who waits for its end must never wait too short.
    ends = time.monotonic() + 0.9 * bound_s
    now, dead = _now(store), _dead(store, bound_s)
    told = {"by": socket.gethostname(), "began_at": now.isoformat(), "token": secrets.token_hex(8)}
    token = store.replace(_KEY, json_text(told).encode(), expected=dead)
    try:
        yield Collection(now, ends)
    finally:
        if _token(store) == token:
            store.delete(_KEY)


def wait_for_collection(
    store: Store,
    *,
    bound_s: float = BOUND_S,
    on_wait: Callable[[], None] = lambda: None,
    pause_s: float = 1.0,
) -> bool:
    """Wait for the end of the collection that is under way now, if one is.

    Call it after the new use can be seen, and check what is used afterwards.

    Args:
        store: where.
        bound_s: what collectors promised.
        on_wait: told once, when there is something to wait for.
        pause_s: seconds between two looks.

    Returns:
        Whether there was one.

    Raises:
        StoreError: whatever the store has against it.
    """
    first = _token(store)
    if first is None:
        return False
    on_wait()
    until = time.monotonic() + bound_s + _SLACK_S
    # Another one that began meanwhile has seen the new use.
    while _token(store) == first and time.monotonic() < until:
        time.sleep(pause_s)
    return True


def _dead(store: Store, bound_s: float) -> str | None:
    """Token of a collection whose time is over; None when there is none.

    Raises:
        Overtaken: one is under way.
    """
    found = _token(store)
    if found is None:
        return None
    if (_now(store) - _written_at(store, _KEY)).total_seconds() <= bound_s + _SLACK_S:
        raise Overtaken(
            "another collection is under way",
            where=f"{store.name}/{_KEY}",
            hint=f"wait for its end; if it died, it counts until {bound_s:.0f} s after its"
            " beginning",
        )
    return found


def _now(store: Store) -> datetime:
    """The moment by the store's own clock, which is the one that ages are told by."""
    key = f"{_FOLDER}/clock-{secrets.token_hex(8)}"
    store.create(key, b"")
    try:
        return _written_at(store, key)
    finally:
        store.delete(key)


def _written_at(store: Store, key: str) -> datetime:
    """When a document was written; long ago when it is gone."""
    found = [listed.modified_at for listed in store.list(_FOLDER) if listed.key == key]
    return found[0] if found else datetime.fromtimestamp(0, UTC)


def _token(store: Store) -> str | None:
    try:
        return store.read(_KEY, limit=_MAX_BYTES).token
    except NotInStore:
        return None
