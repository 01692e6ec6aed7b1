"""The node's loop: look at the channel, bring what it wants, offer it, watch it, confirm it.

A failure of one round never stops the next, and touches nothing that is served.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final

import structlog

from edge.errors import Contradiction, NotProved, Unfit
from edge.node.bring import Bringer
from edge.node.choose import Wish, wish
from edge.node.failures import PROBLEMS, Problem, failure_of
from edge.node.folder import NodeFolder
from edge.node.line import Line
from edge.node.messages import CLOCKS_DIFFER, Offered
from edge.node.origins import Origins
from edge.node.receipt import Receipt
from edge.node.report import Report
from edge.node.served import Served
from edge.node.standing import NodeState
from edge.node.timing import pause_s, place_of
from edge.node.upkeep import Upkeep
from edge.settings import Settings
from index.errors import WrongVersion
from index.platform import library_versions
from index.shipping.channel import Channel, Target
from index.shipping.documents import moment_now
from index.shipping.pace import Pace
from index.shipping.trust import TrustStore

_LISTEN_S: Final = 0.25
_REST_S: Final = 600.0
_MAKE_ROOM: Final = "free memory, or allow more open files (LimitNOFILE); it is tried again"
_log = structlog.get_logger()


class _Moved(Exception):
    """The node is to serve something else than what is being brought."""


class Follower:
    """One node's updating, from poll to confirmation.

    Args:
        settings: what to follow, and how.
        folder: the node's folder.
        trust: whom it trusts.
        origins: where documents and objects come from.
        state: the node's memory.
        served: what is served.
        line: the pipe to the supervisor.
        report: what is said of it.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        folder: NodeFolder,
        trust: TrustStore,
        origins: Origins,
        state: NodeState,
        served: Served,
        line: Line,
        report: Report,
    ) -> None:
        self._settings = settings
        self._folder = folder
        self._origins = origins
        self._state = state
        self._served = served
        self._line = line
        self._upkeep = Upkeep(folder, state, served, node_id=settings.node_id)
        self._report = report
        rate = settings.max_bytes_per_s
        self._bringer = Bringer(
            settings,
            folder,
            origins,
            trust=trust.trust,
            pace=Pace(rate, sleep=self._sleep) if rate else None,
            meanwhile=self._meanwhile,
            on_phase=self._report.enter,
            make_room=self._sweep,
        )
        self._channel: Channel | None = trust.last_channel(report.state.brand, settings.channel)
        self._has_read = False
        self._wish = Wish()
        self._bringing: str | None = None
        self._n_failed = 0
        self._next_look = 0.0
        self._starts: tuple[str, float] | None = None
        self._resting: dict[str, tuple[float, Problem]] = {}

    def run(self) -> None:
        """Follow until the pipe closes.

        Raises:
            LineClosed: it did.
        """
        while not self._served.is_known:
            self._hear(_LISTEN_S)
        while True:
            self._round()
            has_news = False
            while time.monotonic() < self._next_look and not has_news:
                has_news = self._hear(_LISTEN_S)
                self._upkeep.look()
                has_news = has_news or self._upkeep.needs_mending

    def _round(self) -> None:
        """One look at everything, and what follows from it."""
        problems: list[Problem] = []

        def tried(step: Callable[[], None]) -> bool:
            try:
                step()
            except PROBLEMS as problem:
                problems.append(problem)
                return False
            return True

        self._has_read = tried(self._look)
        tried(self._settle)
        tried(self._mend)
        tried(self._fulfil)
        self._n_failed = self._n_failed + 1 if problems else 0
        if not problems:  # the pause may still be one of the bad times that are over
            self._next_look = min(self._next_look, time.monotonic() + self._pause_s())
        self._report.fail(failure_of(problems[0]) if problems else self._wish.failure)
        self._report.enter(self._phase())

    def _look(self) -> None:
        """Read the channel."""
        self._next_look = time.monotonic() + self._pause_s()
        accepted = self._origins.channel(moment_now())
        self._channel = accepted.channel
        self._report.tell(last_success_s=time.time())
        if accepted.is_new:
            _log.info("channel accepted", epoch=self._channel.epoch)
            if accepted.ahead > CLOCKS_DIFFER:
                _log.warning(
                    "channel is from the future",
                    ahead_s=accepted.ahead.total_seconds(),
                    hint="look at this node's clock",
                )

    def _pause_s(self) -> float:
        return pause_s(self._settings.poll_s, self._settings.node_id, self._n_failed)

    def _settle(self) -> None:
        self._served.settle()
        if self._served.watch():
            self._sweep()

    def _wished(self) -> Wish:
        """What should be served, by the channel as it was accepted last and the node's memory."""
        standing, wished = self._state.read(), Wish()
        if self._channel is not None:
            wished = wish(
                self._channel,
                self._settings.node_id,
                moment_now(),
                standing=standing,
                serving=self._served.serving,
                is_installed=lambda snapshot_id: self._installed(snapshot_id) is not None,
            )
        self._report.tell(
            wanted=wished.snapshot_id,
            pinned=wished.pinned,
            bytes_fetched=self._bringer.objects.bytes_fetched,
            bytes_spared=self._bringer.objects.bytes_spared,
            n_quarantined=len(standing.quarantined),
            epoch=self._channel and self._channel.epoch,
            channel_issued_at=self._channel and self._channel.issued_at,
            channel_expires_at=self._channel and self._channel.expires_at,
        )
        return wished

    def _mend(self) -> None:
        if (serving := self._upkeep.mend(self._bringer)) is not None:
            self._offer(serving)

    def _fulfil(self) -> None:
        """Offer what is wished for, and bring it first if it is not here."""
        wished = self._wish = self._wished()
        name, target = wished.snapshot_id, wished.target
        if name is None or self._served.awaiting is not None:
            return
        if target is not None and not self._has_read:
            # What the channel said last is not followed while it can't be read; what is refused
            # here is left all the same, if there is something on this disk to go back to.
            return
        receipt = self._installed(name)
        if receipt and target and receipt.manifest_sha256 != target.manifest_sha256:
            raise Contradiction(
                f"{name} is installed with another manifest than the channel points at",
                hint="a snapshot never changes: find out who published it twice",
            )
        if receipt is not None and name == self._served.serving:
            return
        until, problem = self._resting.get(name, (0.0, None))
        if problem is not None and time.monotonic() < until:
            raise problem
        if receipt is None or receipt.software != library_versions():
            if not self._is_time_to_start(name):
                return
            try:
                self._bring(name, target, is_here=receipt is not None)
            except _Moved:
                self._next_look = 0.0
                return
        self._offer(name)

    def _bring(self, name: str, target: Target | None, *, is_here: bool) -> None:
        self._bringing = name
        try:
            if is_here:
                self._bringer.prove_again(name)
            elif target is not None:
                _log.info("bringing", snapshot_id=name)
                self._bringer.bring(target)
        except NotProved as problem:
            _log.error("quarantined", snapshot_id=name, reason=str(problem), hint=problem.hint)
            self._state.quarantine(name, f"not proved: {problem}")
            raise
        except (Unfit, WrongVersion) as problem:
            self._rest(name, problem)
            raise
        finally:
            self._bringing = None

    def _rest(self, name: str, problem: Problem) -> None:
        """Leave it alone for a while: until then it is why updating does not go on."""
        self._resting[name] = (time.monotonic() + _REST_S, problem)

    def _offer(self, name: str) -> None:
        self._served.offering(name)
        self._line.send(Offered(snapshot_id=name, path=self._folder.snapshot(name)))

    def _installed(self, name: str) -> Receipt | None:
        """The receipt of a snapshot that was vouched for as this node asks for."""
        receipt = self._folder.receipt_of(name)
        return receipt if receipt and receipt.trust == self._report.state.trust else None

    def _is_time_to_start(self, name: str) -> bool:
        """Whether this node's turn has come; at once when it has nothing to serve."""
        now = time.monotonic()
        if self._starts is None or self._starts[0] != name:
            wait_s = self._settings.spread_s * place_of(self._settings.node_id, name)
            self._starts = (name, now + wait_s if self._served.serving else now)
        if now < self._starts[1]:
            self._next_look = min(self._next_look, self._starts[1])
            return False
        return True

    def _meanwhile(self) -> None:
        """What goes on while something takes long.

        Raises:
            _Moved: what is being brought is not wanted any more.
        """
        while self._hear(0):
            pass
        if self._bringing is None or time.monotonic() < self._next_look:
            return
        self._report.tell(bytes_fetched=self._bringer.objects.bytes_fetched)
        with suppress(*PROBLEMS):
            self._look()
            self._settle()
            if self._wished().snapshot_id != self._bringing:
                _log.info("left off", snapshot_id=self._bringing)
                raise _Moved

    def _sleep(self, seconds: float) -> None:
        """Wait as long, and hear what is said."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self._hear(min(left, _LISTEN_S))
            self._meanwhile()

    def _sweep(self, objects: Iterable[str] = ()) -> None:
        wanted = {name for name in (self._bringing, self._report.state.wanted) if name}
        self._upkeep.sweep(self._channel, wanted, objects)

    def _phase(self) -> str:
        """What a node that has nothing to do right now is in."""
        if self._served.awaiting is not None:
            return "offered"
        if self._starts is not None and time.monotonic() < self._starts[1]:
            return "waiting"
        return "watching" if self._served.is_watching else "following"

    def _hear(self, timeout_s: float) -> bool:
        """Take in one message; whether there was one."""
        message = self._line.heard(timeout_s)
        if message is not None:
            self._served.hear(message)
        if self._served.too_much is not None:
            (name, told), self._served.too_much = self._served.too_much, None
            self._rest(name, Unfit(told, hint=_MAKE_ROOM))
        return message is not None
