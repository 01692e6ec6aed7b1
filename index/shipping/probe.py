"""Does a store keep its word? Asked before anything that two writers might change is kept in it.

Some gateways accept a conditional write and ignore the condition; a channel kept there would lose
changes without a trace.
"""

from __future__ import annotations

import secrets
from contextlib import suppress

from index.shipping.store import Store
from index.shipping.store_errors import AlreadyThere, NoConditions, Overtaken, StoreError

_LIMIT = 16


def probe_conditional(store: Store) -> None:
    """Write, overwrite and swap a probe blob, and remove it again.

    Raises:
        NoConditions: the store let through what it should have refused.
        ReadOnlyStore: it can't be written to.
    """
    key = f"probes/{secrets.token_hex(8)}"
    store.create(key, b"first")
    try:
        _require_conditions(store, key)
    except StoreError:
        with suppress(StoreError):  # what was found matters more than a probe that stays
            store.delete(key)
        raise
    store.delete(key)


def _require_conditions(store: Store, key: str) -> None:
    if not _refuses_second(store, key):
        raise _no_conditions(store, "overwrites what was to be created only once")
    first = store.read(key, limit=_LIMIT).token
    store.replace(key, b"second", expected=first)
    if not _refuses_swap(store, key, expected=first):
        raise _no_conditions(store, "replaces what has changed since it was read")
    if not _refuses_swap(store, key, expected=None):
        raise _no_conditions(store, "replaces what should not have been there")
    if store.read(key, limit=_LIMIT).data != b"second":
        raise _no_conditions(store, "refuses a write and carries it out nevertheless")


def _refuses_second(store: Store, key: str) -> bool:
    try:
        store.create(key, b"other")
    except AlreadyThere:
        return True
    return False


def _refuses_swap(store: Store, key: str, *, expected: str | None) -> bool:
    try:
        store.replace(key, b"stale", expected=expected)
    except Overtaken:
        return True
    return False


def _no_conditions(store: Store, what: str) -> NoConditions:
    return NoConditions(
        what,
        where=store.name,
        hint="use a store that honours If-None-Match and If-Match, or a local folder;"
        " some gateways in front of other storage ignore both",
    )
