"""What every stage of one build works with, and the cuts it works under."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from builder.config import Config
from builder.effort import SPENDING, Spending
from builder.engine import Engine
from builder.errors import DataGate
from builder.intake import Imported
from builder.parent import Parent
from builder.profile import orders_between, share_of_baskets
from builder.signals.counts import PairUnit
from builder.signals.orders import PURCHASE, VIEW, Partition, Vocabulary, partitions_of
from builder.split import Plan, make_plan

TARGET_KINDS: Final[Mapping[str, int]] = {"purchase": PURCHASE, "view": VIEW, "add_to_cart": 2}
LEAST_BASKETS: Final = 0.1
"""Where fewer orders hold several items, what goes with what is learned from customers instead."""


@dataclass(frozen=True, kw_only=True)
class Night:
    """What every stage of one build works with.

    Attributes:
        engine: runs tasks, and tells of stages.
        config: the brand's choices.
        imported: canonical events and vocabulary.
        plan: the cuts.
        secret: of the brand.
        memory_bytes: for work in this process.
        parent: the earlier snapshot that an incremental build goes on from.
    """

    engine: Engine
    config: Config
    imported: Imported
    plan: Plan
    secret: bytes
    memory_bytes: int
    parent: Parent | None = None

    @property
    def target_kind(self) -> int:
        """Kind of event that offers are meant to bring about."""
        return TARGET_KINDS[self.config.input.target]

    @property
    def vocabulary(self) -> Vocabulary:
        """Rows of items and offers."""
        return Vocabulary.in_dir(self.imported.vocabulary_dir)

    @property
    def n_items(self) -> int:
        """Items of the vocabulary."""
        return int(self.imported.report["vocabulary"]["n_items"])

    @cached_property
    def partitions(self) -> tuple[Partition, ...]:
        """The canonical events, in customer order."""
        return partitions_of(self.imported.events)

    @property
    def spending(self) -> Spending:
        """How much is spent on learning."""
        return SPENDING[self.config.learn.effort]

    @cached_property
    def pair_unit(self) -> PairUnit:
        """What two items must be in to be a pair: an order, unless it says nothing of items.

        Orders dealt by lot do not; nor is there much to learn where hardly any holds two items.
        """
        if self.imported.by_lot:
            return "customer"
        share = share_of_baskets(
            self.imported.events,
            self.target_kind,
            memory_bytes=self.memory_bytes,
            temp_dir=self.engine.work_dir,
        )
        return "order" if share >= LEAST_BASKETS else "customer"

    @property
    def signals(self) -> tuple[str, ...]:
        """Names of the signals that get a weight."""
        features = sorted({*self.imported.contexts, "hour_of_week", "category", "price_band"})
        return (
            "personal",
            "cart",
            "cart_sum",
            "viewed",
            "viewed_sum",
            "similar",
            *(f"context:{name}" for name in features),
        )


def plan_for(
    imported: Imported, config: Config, as_of_us: int | None, memory_bytes: int, temp_dir: Path
) -> Plan:
    """Choose the cuts of a build.

    Raises:
        DataGate: there is nothing to learn from, or nothing that it could be learned for.
    """
    target = config.input.target
    counts = imported.report["vocabulary"]["items"]
    if counts["events"] and counts["events_not_in_catalogue"] == counts["events"]:
        raise DataGate(
            f"items: none of the {counts['in_catalogue']} items of the catalogue is in the events",
            hint="do both have the same item ids? If another column has them: --map SOURCE=item_id",
        )

    def n_orders(from_us: int, until_us: int) -> int:
        return orders_between(
            imported.events,
            TARGET_KINDS[target],
            from_us,
            until_us,
            memory_bytes=memory_bytes,
            temp_dir=temp_dir,
        )

    end_us = imported.last_us + 1
    plan = make_plan(
        first_us=imported.first_us,
        last_us=imported.last_us,
        as_of_us=as_of_us,
        orders_after=0 if as_of_us is None else n_orders(as_of_us, end_us),
        slice_days=config.evaluation.slice_days,
        holdout_share=config.evaluation.holdout,
        test_start_us=config.test_start_us,
    )
    if n_orders(imported.first_us, plan.shipped.until_us) == 0:
        raise DataGate(
            f"none of the events is a {target} before the moment the tables stand for",
            hint=_remedy(imported, target),
        )
    return plan


def _remedy(imported: Imported, target: str) -> str:
    """What to do where nothing was ordered."""
    events = imported.report["events"]
    kinds, sold_back = events["kinds"], _rows(events, "sold_back")
    if kinds.get("refund", 0) + sold_back == sum(kinds.values()):
        return "all events are refunds: give the purchases as well"
    if target == "purchase":
        return "say which events the offers are meant to bring about: --target view"
    return f"is {target} what event_type says in the files?"


def _rows(table: Mapping[str, Any], rule: str) -> int:
    return sum(entry["rows"] for entry in table["rules"] if entry["rule"] == rule)
