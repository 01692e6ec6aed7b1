"""`almanac rollout`: widens a channel's ring while nodes do well, and goes back when they don't."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number

from index.json_text import json_text
from index.shipping import channel_changes as changes
from index.shipping.channel import Channel
from index.shipping.channel_flags import Manner, Place, keys_to_change, stamped
from index.shipping.channel_store import require_channel, write_channel
from index.shipping.documents import CHANNEL
from index.shipping.heartbeat_store import hear_fleet
from index.shipping.node_reports import reports_of
from index.shipping.plain_words import plain
from index.shipping.rollout import (
    RINGS,
    Act,
    Confirm,
    GoBack,
    Nothing,
    Pacing,
    Pause,
    Promote,
    Wait,
    Watch,
)
from index.shipping.root import Root
from index.shipping.root_store import publish_roots
from index.shipping.signers import NOBODY, Signers
from index.shipping.store import open_store
from index.shipping.store_errors import Overtaken, StoreError
from index.shipping.trust_errors import ChannelRefused, RolledBack, Undecided

_DAYS = 30


def rollout(
    place: Place,
    signers: Signers = NOBODY,
    *,
    rings: str = ",".join(map(str, RINGS)),
    bake_s: Annotated[float, Parameter(validator=Number(gte=0))] = 600.0,
    patience_s: Annotated[float, Parameter(validator=Number(gte=0))] = 1800.0,
    every_s: Annotated[float, Parameter(validator=Number(gt=0))] = 10.0,
    dry_run: Annotated[bool, Parameter(negative=())] = False,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Roll out a channel's target by itself, ring by ring, from what the nodes say.

    Nodes on the target are compared with those on the last good one in the same minute: failed
    requests, empty answers, tiers, p99, scores, workers that died. Harm ruled out after the bake:
    on to the next ring, and at 100 % it is called good. Harm shown, or a node that refuses it:
    revoked, so that every node goes back to the last good one, and exit code 7. Not known: paused,
    and exit code 75.

        almanac rollout --brand shop --rings 1,10,50,100 --bake-s 600

    Args:
        place: see there.
        signers: see there.
        rings: shares of the nodes in percent, rising, the last 100.
        bake_s: seconds that a ring is watched at least; the nodes tell of the last minute.
        patience_s: seconds more, if it can't be told by then.
        every_s: seconds between two looks.
        dry_run: end with the first change that would be made, and how it would end then, without
            making it.
        json: print one JSON object for each change instead of lines.
    """
    pacing = Pacing(rings=_rings(rings), bake_s=bake_s, patience_s=patience_s)
    store, watch, before = open_store(place.store), Watch(pacing), ""
    while True:
        roots = signers.chain()
        try:
            found = require_channel(store, place.brand, place.channel, roots)
            # Now, and not when harm is shown an hour later.
            keys = keys_to_change(CHANNEL, found, signers, roots)
            heard = hear_fleet(store, place.brand, place.channel, roots, datetime.now(UTC))
            nodes = reports_of(heard, unsigned=roots is None)
            act = watch.look(time.monotonic(), found.channel, nodes)
            after = _changed(found.channel, act, roots)
            if after is not None and not dry_run:
                publish_roots(store, signers.envelopes())
                write_channel(store, found, after, keys)
        except Overtaken:
            continue  # somebody changed the channel meanwhile: look again
        except StoreError as problem:
            told = f"the store can't be read: {problem}"
            before = _say("waiting", told, before, as_json=json)
        else:
            would = "would be " if dry_run and _changes_something(act) else ""
            before = _say(f"{would}{_WORDS[type(act)]}", act.told, before, as_json=json)
            if _is_over(act, dry_run=dry_run) or would:
                return
        time.sleep(every_s)


_WORDS = {
    Wait: "waiting",
    Promote: "promoted",
    Confirm: "confirmed",
    GoBack: "revoked",
    Pause: "paused",
    Nothing: "nothing to do",
}


def _changed(channel: Channel, act: Act, roots: Sequence[Root] | None) -> Channel | None:
    stamp = stamped(roots, Manner(days=_DAYS))
    match act:
        case Promote(percent=percent):
            return changes.promote(channel, percent, stamp=stamp)
        case Confirm():
            return changes.confirm(channel, stamp=stamp)
        case Pause(told=told):
            return changes.pause(channel, told[:500], stamp=stamp)
        case GoBack(told=told) if channel.target is not None:
            return changes.revoke(channel, channel.target.snapshot_id, told[:500], stamp=stamp)
    return None


def _changes_something(act: Act) -> bool:
    return not isinstance(act, Wait | Nothing)


def _is_over(act: Act, *, dry_run: bool) -> bool:
    """Whether there is nothing more to watch.

    Raises:
        RolledBack: harm was shown. Undecided: a person has to look.
    """
    look = "look at `almanac status`"
    match act:
        case GoBack(told=told):
            hint = f"the nodes go back by themselves; {look}"
            raise RolledBack(plain(told), hint=look if dry_run else hint)
        case Pause(told=told):
            hint = f"{look}; then resume, promote or revoke"
            raise Undecided(plain(told), hint=look if dry_run else hint)
    return isinstance(act, Confirm | Nothing)


def _say(word: str, told: str, before: str, *, as_json: bool) -> str:
    line = plain(f"{word}: {told}")
    if line != before:
        moment = datetime.now(UTC).isoformat(timespec="seconds")
        entry: dict[str, Any] = {"at": moment, "act": word, "told": told}
        print(json_text(entry) if as_json else f"{moment}  {line}", flush=True)
    return line


def _rings(words: str) -> tuple[int, ...]:
    try:
        found = tuple(int(word.strip().removesuffix("%")) for word in words.split(","))
    except ValueError:
        found = ()
    if not found or found[-1] != 100 or list(found) != sorted(set(found)) or found[0] < 1:
        raise ChannelRefused(
            f"--rings {words!r} are no rising shares that end with 100",
            hint="for instance 1,10,50,100",
        )
    return found
