"""Commands for one node, given its folder; the node may be running or not."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
from cyclopts import Parameter

from edge.errors import NoNode
from edge.node.folder import NodeFolder
from edge.node.standing import NodeState, Standing, Swap
from edge.settings import STATE_DIR
from index.json_text import json_text
from index.shipping.plain_words import plain


def show(
    *,
    state_dir: Path = STATE_DIR,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Tell what a node serves, what it would go back to, what it refuses and what happened last.

    Ends with exit code 4 when no node keeps its folder there.

        almanac node show

    Args:
        state_dir: the node's folder.
        json: print one JSON object instead of lines.
    """
    standing = _state(state_dir).read()
    if json:
        print(json_text(msgspec.to_builtins(standing)))
        return
    for line in _lines(standing):
        print(plain(line))


def forget(
    snapshot_id: str,
    *,
    state_dir: Path = STATE_DIR,
    reason: str = "by hand",
    dry_run: Annotated[bool, Parameter(negative=())] = False,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Let a node serve a snapshot again that it has quarantined.

    A running node tries it at its next look, if its channel still wants it. Ends with exit code 4
    when the node does not refuse it.

        almanac node forget 20171201T0500Z-c752b9f839e7 --reason "the disk was replaced"

    Args:
        snapshot_id: which snapshot.
        state_dir: the node's folder.
        reason: why; it is kept in the node's history.
        dry_run: check that it is refused, without changing it.
        json: print one JSON object instead of a line.
    """
    state = _state(state_dir)
    if dry_run:
        is_refused = snapshot_id in state.read().quarantined
    else:
        is_refused = state.forget(snapshot_id, reason)
    if not is_refused:
        raise NoNode(
            f"{snapshot_id} is not refused by the node of {state_dir}",
            hint="`almanac node show` tells what is",
        )
    if json:
        print(json_text({"changed": not dry_run, "forgotten": snapshot_id}))
    else:
        print(f"{'would be forgotten' if dry_run else 'forgotten'}: {snapshot_id}")


def _state(state_dir: Path) -> NodeState:
    if not NodeFolder(state_dir).state.is_dir():
        raise NoNode(
            f"no node keeps its folder at {state_dir}",
            hint="give the folder that `almanac serve --store` was given: --state-dir",
        )
    return NodeState(state_dir)


def _lines(standing: Standing) -> list[str]:
    confirmed = "confirmed" if standing.is_confirmed else "not confirmed yet"
    return [
        f"active    {standing.active or 'none'}{f' ({confirmed})' if standing.active else ''}",
        f"last good {standing.last_good or 'none'}",
        *(f"refused   {name}: {reason}" for name, reason in standing.quarantined.items()),
        *(_told(swap) for swap in reversed(standing.history)),
    ]


def _told(swap: Swap) -> str:
    moment = f"{swap.at:%Y-%m-%d %H:%M:%S}Z"
    return f"  {moment}  {swap.what} {swap.snapshot_id}{': ' if swap.reason else ''}{swap.reason}"
