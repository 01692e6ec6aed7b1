"""The front door: maps each verb onto a room, and knows nothing but names.

No room is imported before its verb is chosen, so `almanac --help` stays instant, and an edge that
never learns needs nothing of what learning needs.

How a verb ends is decided here and nowhere else. A room reports a failure by raising an exception
that carries an int `exit_code` and, when someone can act, a sentence `hint`. Anything else that
travels this far is a defect, and shows its traceback.
"""

from __future__ import annotations

import difflib
import os
import select
import signal
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from io import TextIOWrapper
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cyclopts import App

__version__ = "0.1.0"

EXIT_CODES = {
    0: "done",
    1: "an unexpected failure",
    2: "wrong use",
    3: "verification failed",
    4: "not found",
    5: "the data did not pass a gate",
    6: "conflict: someone else was first",
    7: "a promised limit was missed",
    75: "could not do it now: try again",
    130: "interrupted",
    141: "nobody reads the output any more",
    143: "ended by SIGTERM",
}
WRONG_USE, INTERRUPTED, READER_GONE, TERMINATED = 2, 130, 141, 143
ROOMS = frozenset({"bench", "builder", "edge", "index"})
FLAGS = frozenset({"--help", "-h", "--version"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Verb:
    """Where a verb lives, what it does in one line, and the extra its room needs."""

    target: str
    help: str
    extra: str | None = None


VERBS = {
    "build": Verb(
        target="builder.cli:build",
        help="Learn from order lines and write a snapshot, with a report on its quality.",
        extra="build",
    ),
    "evaluate": Verb(
        target="builder.evaluate_cli:evaluate",
        help="Measure a snapshot on events later than its tables, beside known methods.",
        extra="build",
    ),
    "demo": Verb(
        target="builder.demo:demo",
        help="Build a snapshot from real public orders, serve it and show an answer.",
        extra="all",
    ),
    "scorecard": Verb(
        target="bench.scorecard.cli:scorecard",
        help="Measure what a buyer asks for on a shop's own events, with a verdict for each line.",
        extra="all",
    ),
    "verify": Verb(
        target="index.cli:verify",
        help="Check that a snapshot is whole, unchanged and of one build.",
    ),
    "decide": Verb(
        target="index.cli:decide_file",
        help="Answer a file of requests from a snapshot, one line each.",
    ),
    "serve": Verb(
        target="edge.cli:serve",
        help="Answer requests over HTTP from a snapshot.",
        extra="edge",
    ),
    "node show": Verb(
        target="edge.node.cli:show",
        help="Tell what a node serves, would go back to, and refuses.",
        extra="edge,ship",
    ),
    "node forget": Verb(
        target="edge.node.cli:forget",
        help="Let a node serve a snapshot again that it refuses.",
        extra="edge,ship",
    ),
    "diff": Verb(
        target="index.diff_cli:diff",
        help="Tell what is different in another snapshot, and in its decisions.",
    ),
    "publish": Verb(
        target="index.shipping.publish_cli:publish_snapshot",
        help="Put a snapshot into a store.",
        extra="ship",
    ),
    "fetch": Verb(
        target="index.shipping.fetch_cli:fetch",
        help="Bring a published snapshot to this disk.",
        extra="ship",
    ),
    "announce": Verb(
        target="index.shipping.channel_cli:announce",
        help="Let a share of a channel's nodes serve a snapshot.",
        extra="ship",
    ),
    "rollout": Verb(
        target="index.shipping.rollout_cli:rollout",
        help="Widen a rollout while nodes do well, and take it back when they don't.",
        extra="ship",
    ),
    "promote": Verb(
        target="index.shipping.channel_cli:promote",
        help="Let more nodes serve a channel's target.",
        extra="ship",
    ),
    "pause": Verb(
        target="index.shipping.channel_cli:pause",
        help="Keep a rollout where it is.",
        extra="ship",
    ),
    "resume": Verb(
        target="index.shipping.channel_cli:resume",
        help="Let a paused rollout go on.",
        extra="ship",
    ),
    "pin": Verb(
        target="index.shipping.channel_cli:pin",
        help="Let one node, or all, serve one snapshot for a while.",
        extra="ship",
    ),
    "unpin": Verb(
        target="index.shipping.channel_cli:unpin",
        help="End a pin before its time.",
        extra="ship",
    ),
    "rollback": Verb(
        target="index.shipping.channel_cli:rollback",
        help="Go back to the last good snapshot on every node.",
        extra="ship",
    ),
    "revoke": Verb(
        target="index.shipping.channel_cli:revoke",
        help="Forbid a snapshot for good.",
        extra="ship",
    ),
    "confirm": Verb(
        target="index.shipping.channel_cli:confirm",
        help="Call the target good: what a rollback goes back to.",
        extra="ship",
    ),
    "renew": Verb(
        target="index.shipping.channel_cli:renew",
        help="Say the same again with a later end.",
        extra="ship",
    ),
    "status": Verb(
        target="index.shipping.channel_cli:status",
        help="Tell what a channel says.",
        extra="ship",
    ),
    "history": Verb(
        target="index.shipping.channel_cli:told_history",
        help="Tell every change a channel went through.",
        extra="ship",
    ),
    "gc": Verb(
        target="index.shipping.gc_cli:gc",
        help="Delete what nobody needs any more from a store.",
        extra="ship",
    ),
    "overlay show": Verb(
        target="index.shipping.overlay_cli:show",
        help="Tell what the overlay of a channel's nodes says.",
        extra="ship",
    ),
    "overlay kill": Verb(
        target="index.shipping.overlay_cli:kill",
        help="Let nobody be shown some offers.",
        extra="ship",
    ),
    "overlay stock-out": Verb(
        target="index.shipping.overlay_cli:stock_out",
        help="Say that some offers cannot be had now.",
        extra="ship",
    ),
    "overlay price": Verb(
        target="index.shipping.overlay_cli:price",
        help="Give offers another price.",
        extra="ship",
    ),
    "overlay clear": Verb(
        target="index.shipping.overlay_cli:clear",
        help="Take back what the overlay says.",
        extra="ship",
    ),
    "overlay renew": Verb(
        target="index.shipping.overlay_cli:renew",
        help="Say the same again with a later end.",
        extra="ship",
    ),
    "keys init": Verb(
        target="index.shipping.keys_cli:init",
        help="Make the keys of a fleet, and the first root.",
        extra="ship",
    ),
    "keys rotate": Verb(
        target="index.shipping.keys_cli:rotate",
        help="Replace a key by the next root, or give the same keys more time.",
        extra="ship",
    ),
    "keys show": Verb(
        target="index.shipping.keys_cli:show",
        help="Check the chain of roots and tell whom the newest one trusts.",
        extra="ship",
    ),
    "bench decision": Verb(
        target="bench.cli:decision",
        help="Measure decisions in process, beside a bare table lookup.",
        extra="bench",
    ),
    "bench http": Verb(
        target="bench.cli:http",
        help="Measure the edge over HTTP, beside what else could stand there.",
        extra="bench",
    ),
    "bench scale": Verb(
        target="bench.scale_cli:scale",
        help="Measure how costs grow with workers and with customers.",
        extra="bench",
    ),
    "bench capacity": Verb(
        target="bench.capacity_cli:capacity",
        help="Tell how many cores a rate needs, and rehearse a fleet that loses a node.",
        extra="bench",
    ),
    "bench load": Verb(
        target="bench.load.cli:load",
        help="Measure how long shoppers wait at a given rate, a stall included.",
        extra="all",
    ),
    "bench soak": Verb(
        target="bench.cli:soak",
        help="Let a node change over again and again under load, and check every answer.",
        extra="bench,ship",
    ),
    "bench coupons": Verb(
        target="bench.cli:coupons",
        help="Measure which coupons households redeem, beside popularity and frequency.",
        extra="all",
    ),
    "bench churn": Verb(
        target="bench.churn_cli:churn",
        help="Measure what consecutive nights change, and what has to be shipped of it.",
        extra="all",
    ),
    "bench bars": Verb(
        target="bench.cli:bars",
        help="Repeat a published protocol on real orders, beside what is known of other methods.",
        extra="all",
    ),
    "bench discovery": Verb(
        target="bench.cli:discovery",
        help="Measure a shop where nobody buys anything twice, beside methods made for that.",
        extra="all",
    ),
}
GROUPS = {
    "overlay": "Take offers away or price them, without a new snapshot.",
    "keys": "Say who may ship what to the nodes.",
    "node": "Look after one node that follows a channel.",
    "bench": "Measure on this machine.",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb and return the exit code; see `EXIT_CODES`."""
    words = list(sys.argv[1:] if argv is None else argv)
    if isinstance(sys.stdout, TextIOWrapper):
        # Where a terminal has no arrow or dash an answer with substitutes is better than none.
        sys.stdout.reconfigure(errors="backslashreplace")
    # Ours is parallel by processes. Threads of the algebra library, one for each core and in each
    # process, would be started at import and hardly ever be used.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _end)
    try:
        code = _run(words)
        sys.stdout.flush()
    except KeyboardInterrupt:
        _say("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        if not _reader_is_gone():
            raise
        return READER_GONE
    except Exception as error:
        failed = getattr(error, "exit_code", None)
        if not isinstance(failed, int):
            raise
        _say(str(error), getattr(error, "hint", None))
        return failed
    return code


def _end(*_: object) -> None:
    """End by an exception: who dies at once leaves services it started, and temporary folders."""
    raise SystemExit(TERMINATED)


def _run(words: list[str]) -> int:
    from cyclopts import CycloptsError  # noqa: PLC0415 - workers import this file, not its parser

    name, stranger = _verb_in(words)
    if stranger is not None:
        _say(*_about(stranger))
        return WRONG_USE
    try:
        result = _app(name)(
            words,
            exit_on_error=False,
            print_error=False,
            verbose=False,
            result_action="return_value",
        )
    except CycloptsError as error:
        _say(str(error), f"`almanac {name} --help` shows how it is used")
        return WRONG_USE
    except ImportError as error:
        if name not in VERBS or (missing := _missing_module(error)) is None:
            raise
        extra = VERBS[name].extra or "all"
        _say(
            f"`almanac {name}` needs {missing}, which is not installed",
            f"pip install 'offer-almanac[{extra}]'",
        )
        return WRONG_USE
    return result if isinstance(result, int) else 0


def _verb_in(words: Sequence[str]) -> tuple[str, str | None]:
    """The verb or group the words begin with, and the first word that fits neither, if any."""
    name = ""
    for word in words[:2]:
        if name in VERBS or word in FLAGS:
            break
        longer = f"{name} {word}".strip()
        if longer not in VERBS and longer not in GROUPS:
            return name, longer
        name = longer
    return name, None


def _about(stranger: str) -> tuple[str, str]:
    near = difflib.get_close_matches(stranger, [*VERBS, *GROUPS], n=1)
    hint = f"did you mean `almanac {near[0]}`?" if near else "`almanac --help` lists the verbs"
    return f"there is no `almanac {stranger}`", hint


def _app(chosen: str) -> App:
    from cyclopts import App, Parameter  # noqa: PLC0415 - workers import this file, not its parser

    codes = ", ".join(f"{code} {meaning}" for code, meaning in EXIT_CODES.items())
    app = App(
        name="almanac",
        help="Learn overnight, ship tables, look up in microseconds.",
        help_epilogue=f"Exit codes: {codes}.",
        version=f"almanac {__version__}",
        # No --no-json and --empty-items beside each flag: one turns a flag off with --flag=false.
        default_parameter=Parameter(negative=()),
        suppress_keyboard_interrupt=False,
    )
    rooms = {"": app}
    for name, text in GROUPS.items():
        rooms[name] = App(name=name, help=text, sort_key=len(VERBS))
        app.command(rooms[name])
    for place, (name, verb) in enumerate(VERBS.items()):
        group, _, last = name.rpartition(" ")
        # The chosen verb is told by its own docstring, the others by their line in the table.
        line = None if name == chosen else verb.help
        rooms[group].command(verb.target, name=last, help=line, sort_key=place)
    return app


def _missing_module(error: BaseException | None) -> str | None:
    """The third-party module an import failed for, if that is why it failed."""
    while error is not None:
        if isinstance(error, ModuleNotFoundError) and error.name:
            top = error.name.partition(".")[0]
            return None if top in ROOMS else top
        error = error.__cause__
    return None


def _say(problem: str, hint: str | None = None) -> None:
    print(f"error: {problem}", file=sys.stderr)
    if hint:
        print(f"hint: {hint}", file=sys.stderr)


def _reader_is_gone() -> bool:
    """Whether the pipe that broke is our own standard output, as under `almanac … | head`."""
    poll = select.poll()
    poll.register(sys.stdout, 0)
    if gone := bool(poll.poll(0)):
        # What is left in the buffer must not fail again when the interpreter exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return gone


if __name__ == "__main__":
    raise SystemExit(main())
