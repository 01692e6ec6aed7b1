"""Commands that change or tell what the nodes of a channel serve."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from getpass import getuser
from typing import Annotated, Any, Final

from cyclopts import Parameter, Token
from cyclopts.validators import Number

from index.errors import SnapshotError
from index.json_text import json_text
from index.layout import STORE_NAME
from index.shipping import channel_changes as changes
from index.shipping.channel import EVERY_NODE, Channel, Pin
from index.shipping.channel_changes import Stamp
from index.shipping.channel_flags import (
    USUAL,
    Manner,
    Place,
    in_utc,
    keys_to_change,
    newest,
    stamped,
    vouched,
)
from index.shipping.channel_store import (
    InForce,
    history,
    read_channel,
    require_channel,
    write_channel,
)
from index.shipping.channel_told import (
    as_lines,
    as_object,
    change,
    history_lines,
    moment_text,
)
from index.shipping.collection import wait_for_collection
from index.shipping.documents import CHANNEL, moment_now
from index.shipping.fleet_told import fleet_lines, fleet_object
from index.shipping.gc_cli import say_waiting
from index.shipping.heartbeat_store import hear_fleet
from index.shipping.names import manifest_key
from index.shipping.published import read_published
from index.shipping.root import Root
from index.shipping.root_store import publish_roots
from index.shipping.signers import NOBODY, Signers
from index.shipping.signing import SigningKey
from index.shipping.store import Store, open_store
from index.shipping.store_errors import StoreError
from index.shipping.trust_errors import ChannelRefused

_FIRST_RING: Final = 10
_WATCH_S: Final = 2.0
_CLEAR: Final = "\x1b[H\x1b[2J"


def _percent(_: Any, tokens: Sequence[Token]) -> int:
    given = tokens[0].value
    try:
        return int(given.removesuffix("%"))
    except ValueError as problem:
        raise ValueError(f"{given!r} is no whole number of percent, such as 10%") from problem


Ring = Annotated[int, Parameter(converter=_percent, validator=Number(gte=0, lte=100))]


def announce(
    snapshot_id: str,
    place: Place,
    signers: Signers = NOBODY,
    *,
    ring: Ring | None = None,
    manner: Manner = USUAL,
) -> None:
    """Let a share of a channel's nodes serve a published snapshot.

    The others stay with the last good one. Ends with exit code 4 when the snapshot or one of its
    files is not in the store, 3 when its manifest is not what a builder key signed, 2 when it was
    revoked, and 6 when somebody else changed the channel meanwhile.

        almanac announce 20171201T0500Z-c752b9f839e7 --brand shop --ring 10%

    Args:
        snapshot_id: a published snapshot.
        place: see there.
        signers: see there.
        ring: share of the nodes that begin, in percent; 10 by default, but all in a channel's
            first announcement, when there is nothing else to serve.
        manner: see there.
    """
    store, roots = open_store(place.store), signers.chain()
    target = read_published(store, place.brand, snapshot_id, newest(roots)).target
    before = read_channel(store, place.brand, place.channel, roots)
    keys = keys_to_change(CHANNEL, before, signers, roots)
    stamp = stamped(roots, manner)
    if before is None:
        percent = 100 if ring is None else ring
        after = changes.start_channel(
            place.brand, place.channel, target, percent=percent, stamp=stamp
        )
    else:
        percent = _FIRST_RING if ring is None else ring
        after = changes.announce(before.channel, target, percent=percent, stamp=stamp)
    _carry_out(store, before, after, signers, keys, manner)
    _require_kept(store, place, snapshot_id, roots, manner)


def promote(
    place: Place,
    signers: Signers = NOBODY,
    *,
    ring: Ring,
    manner: Manner = USUAL,
) -> None:
    """Let more nodes serve the channel's target.

        almanac promote --brand shop --ring 50%

    Args:
        place: see there.
        signers: see there.
        ring: share of the nodes, in percent; more than now.
        manner: see there.
    """
    _change(place, signers, manner, lambda now, stamp: changes.promote(now, ring, stamp=stamp))


def pause(
    place: Place,
    signers: Signers = NOBODY,
    *,
    reason: str,
    manner: Manner = USUAL,
) -> None:
    """Keep a rollout where it is until it is resumed or rolled back.

    Args:
        place: see there.
        signers: see there.
        reason: why; everybody who looks at the channel reads it.
        manner: see there.
    """
    _change(place, signers, manner, lambda now, stamp: changes.pause(now, reason, stamp=stamp))


def resume(
    place: Place,
    signers: Signers = NOBODY,
    *,
    manner: Manner = USUAL,
) -> None:
    """Let a paused rollout go on.

    Args:
        place: see there.
        signers: see there.
        manner: see there.
    """
    _change(place, signers, manner, lambda now, stamp: changes.resume(now, stamp=stamp))


def pin(
    snapshot_id: str,
    place: Place,
    signers: Signers = NOBODY,
    *,
    node: str | None = None,
    every: Annotated[bool, Parameter(name="--all", negative=())] = False,
    until: datetime,
    reason: str,
    owner: str | None = None,
    manner: Manner = USUAL,
) -> None:
    """Let one node, or all, serve one snapshot until a given moment, whatever the rollout says.

    Args:
        snapshot_id: a published snapshot that is not revoked.
        place: see there.
        signers: see there.
        node: id of the node.
        every: all nodes.
        until: end of the pin, such as 2027-01-31T12:00:00; UTC unless it has an offset.
        reason: why.
        owner: who answers for it; who runs this command by default.
        manner: see there.
    """
    who = _who(node, every=every)
    store, roots = open_store(place.store), signers.chain()
    target = read_published(store, place.brand, snapshot_id, newest(roots)).target
    wish = Pin(
        node=who,
        target=target,
        owner=owner or _user(),
        reason=reason,
        until=in_utc(until),
    )
    _change(place, signers, manner, lambda now, stamp: changes.pin(now, wish, stamp=stamp))
    _require_kept(store, place, snapshot_id, roots, manner)


def unpin(
    place: Place,
    signers: Signers = NOBODY,
    *,
    node: str | None = None,
    every: Annotated[bool, Parameter(name="--all", negative=())] = False,
    manner: Manner = USUAL,
) -> None:
    """End a pin before its time; the node comes back through the rings.

    Args:
        place: see there.
        signers: see there.
        node: id of the node.
        every: the pin of all nodes.
        manner: see there.
    """
    who = _who(node, every=every)
    _change(place, signers, manner, lambda now, stamp: changes.unpin(now, who, stamp=stamp))


def rollback(
    place: Place,
    signers: Signers = NOBODY,
    *,
    reason: str,
    manner: Manner = USUAL,
) -> None:
    """Go back to the last good snapshot on every node at once.

    Never simply to the one before: after two bad nights that one is bad, too. Ends with exit code 2
    when no good one is known. A note says when the store has not all of it: then only nodes that
    have it already go back.

        almanac rollback --brand shop --reason "empty lists"

    Args:
        place: see there.
        signers: see there.
        reason: why.
        manner: see there.
    """
    after = _change(
        place, signers, manner, lambda now, stamp: changes.rollback(now, reason, stamp=stamp)
    )
    if after.target is not None:
        _note_missing(place, after.target.snapshot_id, signers.chain())


def revoke(
    snapshot_id: str,
    place: Place,
    signers: Signers = NOBODY,
    *,
    reason: str,
    manner: Manner = USUAL,
) -> None:
    """Forbid a snapshot for good; if it is the target, go back to the last good one at once.

    An id that is not in the store is forbidden as well, and a note says so: it may be mistyped.

    Args:
        snapshot_id: which; it need not be in the store any more.
        place: see there.
        signers: see there.
        reason: why.
        manner: see there.
    """
    if open_store(place.store).head(manifest_key(place.brand, snapshot_id)) is None:
        print(
            f"note: {snapshot_id} of {place.brand} is not in the store: is it the one you mean?",
            file=sys.stderr,
        )
    _change(
        place,
        signers,
        manner,
        lambda now, stamp: changes.revoke(now, snapshot_id, reason, stamp=stamp),
    )


def confirm(
    place: Place,
    signers: Signers = NOBODY,
    *,
    manner: Manner = USUAL,
) -> None:
    """Call the target good, when every node has it: what later rollbacks go back to.

    Args:
        place: see there.
        signers: see there.
        manner: see there.
    """
    _change(place, signers, manner, lambda now, stamp: changes.confirm(now, stamp=stamp))


def renew(
    place: Place,
    signers: Signers = NOBODY,
    *,
    manner: Manner = USUAL,
) -> None:
    """Say the same again with a later end, and under the newest root.

    After a release key was replaced the channel is still signed by the old one; then no other
    change is made before this one. If that key was stolen, look at `almanac status` first: it may
    have signed something that you would not.

    Args:
        place: see there.
        signers: see there.
        manner: see there.
    """
    _change(
        place,
        signers,
        manner,
        lambda now, stamp: changes.renew(now, stamp=stamp),
        takes_replaced=True,
    )


def status(
    place: Place,
    signers: Signers = NOBODY,
    *,
    json: Annotated[bool, Parameter(negative=())] = False,
    watch: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Tell what a channel says, and what its nodes say of themselves.

    Ends with exit code 4 when it was never announced to, and 3 when nobody trusted signed it.

    Args:
        place: see there.
        signers: see there.
        json: print one JSON object instead of lines.
        watch: tell it anew every two seconds until interrupted, also through times without a store.
    """
    store, roots = open_store(place.store), signers.chain()
    print(_status(store, place, roots, as_json=json), flush=True)
    while watch:
        time.sleep(_WATCH_S)
        try:
            text = _status(store, place, roots, as_json=json)
        except StoreError as problem:
            # Whoever watches wants to see the store come back, too.
            print(f"{moment_text(moment_now())} {problem}", file=sys.stderr)
            continue
        # Whole screens for people, one object after another for programs.
        print(f"{_CLEAR}{text}" if sys.stdout.isatty() else text, flush=True)


def _status(store: Store, place: Place, roots: Sequence[Root] | None, *, as_json: bool) -> str:
    found = require_channel(store, place.brand, place.channel, roots)
    fleet, unheard, now = None, None, datetime.now(UTC)
    try:
        nodes = hear_fleet(store, place.brand, place.channel, roots, now)
        fleet = fleet_object(nodes, found.channel, now)
    except StoreError as problem:
        # Also where a store can be read but not listed: what the channel says is still told.
        unheard = str(problem)
    if as_json:
        told = as_object(found.channel, moment_now())
        more = {"signed_under": found.signed_under, "fleet": fleet, "fleet_problem": unheard}
        return json_text({**told, **more})
    by = vouched(found.signed_under, roots)
    lines = [*as_lines(found.channel, moment_now(), vouched=by)]
    lines += [f"  nodes     not known: {unheard}"] if fleet is None else fleet_lines(fleet)
    return "\n".join(lines)


def told_history(
    place: Place,
    signers: Signers = NOBODY,
    *,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Tell every change a channel went through, the newest first.

    Args:
        place: see there.
        signers: see there.
        json: print one JSON list of all its documents instead of lines.
    """
    store, roots = open_store(place.store), signers.chain()
    found = history(store, place.brand, place.channel, roots)
    if json:
        now = moment_now()
        print(json_text([as_object(channel, now) for channel in found]))
        return
    for line in history_lines(found):
        print(line)


def _require_kept(
    store: Store, place: Place, snapshot_id: str, roots: Sequence[Root] | None, manner: Manner
) -> None:
    """Make sure that a collection which began earlier did not delete what is wanted now.

    Raises:
        NotInStore: it did; nodes keep what they serve.
    """
    if not manner.dry_run and wait_for_collection(store, on_wait=say_waiting):
        read_published(store, place.brand, snapshot_id, newest(roots))


def _note_missing(place: Place, snapshot_id: str, roots: Sequence[Root] | None) -> None:
    try:
        read_published(open_store(place.store), place.brand, snapshot_id, newest(roots))
    except (StoreError, SnapshotError) as problem:
        print(
            f"note: nodes that have no {snapshot_id} can't fetch it: {problem}"
            + (f" ({problem.hint})" if problem.hint else ""),
            file=sys.stderr,
        )


def _who(node: str | None, *, every: bool) -> str:
    if (node is None) != every:
        raise ChannelRefused("say either --node ID or --all")
    if node is None:
        return EVERY_NODE
    if not re.fullmatch(STORE_NAME, node):
        raise ChannelRefused(
            f"{node!r} can't be a node's name",
            hint="up to 100 letters, digits, '.', '_' and '-'; for all nodes there is --all",
        )
    return node


def _user() -> str:
    """Who runs this command; as a number where it has no name, as in most containers."""
    try:
        return getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def _change(
    place: Place,
    signers: Signers,
    manner: Manner,
    make: Callable[[Channel, Stamp], Channel],
    *,
    takes_replaced: bool = False,
) -> Channel:
    store, roots = open_store(place.store), signers.chain()
    before = require_channel(store, place.brand, place.channel, roots)
    keys = keys_to_change(CHANNEL, before, signers, roots, takes_replaced=takes_replaced)
    after = make(before.channel, stamped(roots, manner))
    _carry_out(store, before, after, signers, keys, manner)
    return after


def _carry_out(  # noqa: PLR0917  # a change, and who makes it how
    store: Store,
    before: InForce | None,
    after: Channel,
    signers: Signers,
    keys: Sequence[SigningKey],
    manner: Manner,
) -> None:
    if not manner.dry_run:
        publish_roots(store, signers.envelopes())
        after = write_channel(store, before, after, keys)
    what = change(before.channel if before else None, after)
    if manner.json:
        told = as_object(after, moment_now())
        print(json_text({"changed": not manner.dry_run, "change": what, "channel": told}))
        return
    print(f"{'would be' if manner.dry_run else 'done'}: {what}")
    _tell(after, after.root_version, signers.chain())


def _tell(channel: Channel, signed_under: int | None, roots: Sequence[Root] | None) -> None:
    for line in as_lines(channel, moment_now(), vouched=vouched(signed_under, roots)):
        print(line)
