"""Metrics in Prometheus' words, read from the workers' cells when somebody asks."""

from __future__ import annotations

import time
from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from starlette.types import Receive, Scope, Send

from edge.answered import Answered, lines_of, send_answered
from edge.cells import LEVELS
from edge.fleet import Fleet
from edge.memory import memory_of


class FleetCollector(Collector):
    """Metric families of all workers together."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    def collect(self) -> Iterator[Metric]:
        yield from self._decisions()
        yield from self._requests()
        yield from self._queue()
        yield from self._snapshot()
        yield from self._overlay()
        yield from self._workers()
        yield from self._swaps()
        yield from self._updates()

    def _decisions(self) -> Iterator[Metric]:
        totals = self._fleet.totals()
        decisions = CounterMetricFamily(
            "almanac_decisions", "Decisions made.", labels=("placement", "tier")
        )
        for (placement, tier), count in totals.decisions.items():
            decisions.add_metric((placement, tier), count)
        yield decisions
        yield HistogramMetricFamily(
            "almanac_decision_duration_seconds",
            "Time to decide, without HTTP.",
            buckets=_named(totals.buckets),
            sum_value=totals.decide_s,
        )
        yield CounterMetricFamily(
            "almanac_damaged_reads",
            "Decisions that met a damaged table and fell back to the safe tier.",
            value=totals.damaged,
        )
        yield CounterMetricFamily(
            "almanac_empty_decisions", "Decisions that showed nothing.", value=totals.empty
        )

    def _requests(self) -> Iterator[Metric]:
        totals = self._fleet.totals()
        requests = CounterMetricFamily("almanac_requests", "Answers by status.", labels=("code",))
        for code, count in totals.codes.items():
            requests.add_metric((code,), count)
        yield requests
        yield GaugeMetricFamily(
            "almanac_requests_in_flight", "Requests being answered.", value=totals.in_flight
        )

    def _queue(self) -> Iterator[Metric]:
        totals = self._fleet.totals()
        yield HistogramMetricFamily(
            "almanac_queue_delay_seconds",
            "How long requests stood in line before they began, as far as a worker can tell.",
            buckets=_named(totals.queue_buckets),
            sum_value=totals.queued_s,
        )
        degraded = CounterMetricFamily(
            "almanac_degraded_answers",
            "Answers that were cheaper because others waited, by the tier allowed.",
            labels=("level",),
        )
        for level in LEVELS[1:-1]:
            degraded.add_metric((level,), totals.levels[level])
        yield degraded
        yield CounterMetricFamily(
            "almanac_refused",
            "Requests refused because more was asked than can be answered.",
            value=totals.levels[LEVELS[-1]],
        )
        yield CounterMetricFamily(
            "almanac_decision_log_dropped",
            "Decisions that were not logged, because the log's writer was behind.",
            value=totals.log_dropped,
        )
        yield GaugeMetricFamily(
            "almanac_pressure",
            "0 for whole answers, 1 for context, 2 for prior, 3 for none; the highest of a worker.",
            value=totals.pressure,
        )

    def _snapshot(self) -> Iterator[Metric]:
        facts = self._fleet.facts
        if facts is None:
            return
        info = GaugeMetricFamily(
            "almanac_snapshot_info",
            "The snapshot that answers.",
            labels=("snapshot_id", "model_id", "brand"),
        )
        info.add_metric((facts.snapshot_id, facts.model_id, facts.brand), 1)
        yield info
        yield GaugeMetricFamily(
            "almanac_snapshot_age_seconds",
            "Time since the moment the tables stand for.",
            value=time.time() - facts.as_of_us / 1e6,
        )

    def _overlay(self) -> Iterator[Metric]:
        overlay = self._fleet.totals().overlay
        yield GaugeMetricFamily(
            "almanac_overlay_sequence",
            "The overlay that every worker applies; 0 for none.",
            value=overlay.sequence,
        )
        if not overlay.sequence:
            return
        yield GaugeMetricFamily(
            "almanac_overlay_age_seconds",
            "Time since the overlay was made.",
            value=time.time() - overlay.issued_s,
        )
        yield GaugeMetricFamily(
            "almanac_overlay_stale", "Whether it is past its end.", value=overlay.is_stale
        )
        offers = GaugeMetricFamily(
            "almanac_overlay_offers", "Offers the overlay names.", labels=("effect",)
        )
        offers.add_metric(("removed",), overlay.n_removed)
        offers.add_metric(("repriced",), overlay.n_repriced)
        offers.add_metric(("unknown",), overlay.n_unknown)
        yield offers

    def _workers(self) -> Iterator[Metric]:
        ready = GaugeMetricFamily("almanac_worker_ready", "Whether it answers.", labels=("worker",))
        restarts = CounterMetricFamily(
            "almanac_worker_restarts", "Times it was replaced.", labels=("worker",)
        )
        memory = GaugeMetricFamily(
            "almanac_worker_memory_bytes", "Resident memory.", labels=("worker", "kind")
        )
        for worker in self._fleet.workers():
            name = str(worker.slot)
            ready.add_metric((name,), worker.ready)
            restarts.add_metric((name,), self._fleet.restarts[worker.slot])
            if worker.pid and (found := memory_of(worker.pid)):
                memory.add_metric((name, "private"), found.private)
                memory.add_metric((name, "shared"), found.shared)
        yield from (ready, restarts, memory)

    def _swaps(self) -> Iterator[Metric]:
        swaps = CounterMetricFamily(
            "almanac_swaps", "Changes of the snapshot that answers.", labels=("outcome",)
        )
        for outcome, count in self._fleet.swaps.items():
            swaps.add_metric((outcome,), count)
        yield swaps
        yield GaugeMetricFamily(
            "almanac_generations_leaked",
            "Retired snapshots that stay mapped, because somebody still reads them.",
            value=self._fleet.leaked,
        )

    def _updates(self) -> Iterator[Metric]:
        sync = self._fleet.sync
        if sync is None:
            return
        info = GaugeMetricFamily(
            "almanac_channel_info",
            "The channel that is followed, and whether anybody vouches for it.",
            labels=("brand", "channel", "trust", "phase", "failure"),
        )
        failure = sync.failure or ""
        info.add_metric((sync.brand, sync.channel, sync.trust, sync.phase, failure), 1)
        yield info
        gauges = {
            "almanac_channel_epoch": ("Epoch of the channel accepted last.", sync.epoch),
            "almanac_channel_read_timestamp_seconds": (
                "When the channel was read and accepted last.",
                sync.last_success_s,
            ),
            "almanac_channel_expires_timestamp_seconds": (
                "When updating stops unless the channel is renewed.",
                None if sync.channel_expires_at is None else sync.channel_expires_at.timestamp(),
            ),
            "almanac_node_pinned": ("Whether a pin says what is served.", int(sync.pinned)),
            "almanac_snapshots_quarantined": ("Snapshots refused here.", sync.n_quarantined),
        }
        for name, (told, value) in gauges.items():
            if value is not None:
                yield GaugeMetricFamily(name, told, value=value)
        yield CounterMetricFamily(
            "almanac_fetched_bytes", "Bytes fetched from stores.", value=sync.bytes_fetched
        )
        yield CounterMetricFamily(
            "almanac_spared_bytes",
            "Bytes that deltas made needless to fetch.",
            value=sync.bytes_spared,
        )


def _named(buckets: list[tuple[float, int]]) -> list[tuple[str, float]]:
    return [("+Inf" if le == float("inf") else str(le), count) for le, count in buckets]


class Metrics:
    """`/metrics` as a plain ASGI app."""

    def __init__(self, fleet: Fleet) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(FleetCollector(fleet))

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        accept = dict(scope["headers"]).get(b"accept", b"").decode("latin-1")
        encode, content_type = choose_encoder(accept)
        body = encode(self._registry)
        headers = [
            (b"content-type", content_type.encode()),
            (b"content-length", b"%d" % len(body)),
        ]
        await send_answered(scope, send, Answered(200, lines_of(headers), body))
