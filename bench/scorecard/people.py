"""Later orders as cases: what the tables are asked, what they and simpler methods answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import msgspec
import numpy as np

from bench.scorecard.shop import Shop, engine_of, imported_of
from builder.answering import K, answer
from builder.baselines.data import Baseline, Example, History
from builder.cases import Case, Order, load_sample
from builder.history import Past, load_past
from builder.known_rows import write_known_rows
from builder.metrics import Ints
from builder.night import TARGET_KINDS
from builder.signals.orders import Vocabulary, partitions_of
from builder.slices import MAX_CUSTOMERS
from builder.split import Cut
from index.generation import Generation
from index.request import Tier

_MEMORY_BYTES: Final = 2**31


@dataclass(frozen=True, slots=True, kw_only=True)
class People:
    """Who ordered after the tables' moment, and what was known of them before.

    Attributes:
        generation: the snapshot, opened.
        orders: each known customer's first one, and up to sixteen of each held-out customer.
        past: what simpler methods learn from, as of the same moment.
        cut: of the tables.
    """

    generation: Generation
    orders: Sequence[Order]
    past: Past
    cut: Cut

    @property
    def held_out(self) -> list[Order]:
        """Orders of customers who are in no table; guests are not among them."""
        return [one for one in self.orders if one.key is not None and one.is_held_out(self.cut)]

    @property
    def known(self) -> list[Order]:
        """Orders of customers whose past the tables know."""
        asked = [one for one in self.orders if not one.is_held_out(self.cut)]
        counts = self.past.n_orders_of([one.key for one in asked])
        return [one for one, n in zip(asked, counts.tolist(), strict=True) if n]

    def ask(self, cases: Sequence[Case]) -> tuple[list[Case], Ints, list[Tier]]:
        """The tables' own lists: cases in which something may be shown, offer rows, and tiers."""
        asked, answers = answer(self.generation, cases, None)
        return asked, answers.ranked, answers.tiers

    def rank(self, baseline: Baseline, cases: Sequence[Case]) -> Ints:
        """Another method's lists of the same cases: int64, shape (cases, K), offer rows."""
        return baseline.rank([self._example(case) for case in cases], K)

    @property
    def history(self) -> History:
        """What other methods learn from."""
        return self.past.history

    def _example(self, case: Case) -> Example:
        return Example(
            customer=self.past.index_of(case.key),
            hour_of_week=case.order.hour_of_week,
            context=case.order.context,
            cart=case.cart_rows,
            truth=case.truth,
            exclude=case.banned,
        )


def people_of(shop: Shop, generation: Generation) -> People:
    """Read them from the imported events.

    Args:
        shop: snapshot and events.
        generation: the snapshot, opened with the brand's secret.
    """
    cut = Cut(
        until_us=shop.as_of_us, holdout_share=float(shop.manifest.build.get("holdout") or 0.0)
    )
    target_kind = TARGET_KINDS[shop.wish.config.input.target]
    with engine_of(shop.wish) as engine:
        imported = imported_of(shop.wish, engine, shop.secret)
        partitions = partitions_of(imported.events)
        vocabulary = write_known_rows(
            generation,
            Vocabulary.in_dir(imported.vocabulary_dir).items_path,
            engine.work_dir / "known",
            memory_bytes=_MEMORY_BYTES,
        )
        orders = load_sample(
            partitions,
            vocabulary,
            cut,
            imported.last_us + 1,
            target_kind=target_kind,
            max_customers=MAX_CUSTOMERS,
            memory_bytes=_MEMORY_BYTES,
            temp_dir=engine.work_dir,
        )
        past = load_past(
            partitions,
            vocabulary,
            cut,
            n_items=shop.manifest.counts["items"],
            n_offers=shop.manifest.counts["offers"],
            target_kind=target_kind,
            asked={one.key for one in orders if one.key is not None},
            max_others=MAX_CUSTOMERS,
            memory_bytes=_MEMORY_BYTES,
            temp_dir=engine.work_dir,
        )
    return People(generation=generation, orders=orders, past=past, cut=cut)


def without_context(case: Case) -> Case:
    """The same question with nothing told of its moment but when it is."""
    request = msgspec.structs.replace(case.request, context={})
    return replace(case, order=replace(case.order, context={}), request=request)


def owners_of(cases: Sequence[Case]) -> Ints:
    """A number per customer, be it asked with or not: int64, shape (cases,)."""
    names = [case.order.key or case.order.order_key.to_bytes(8, "big") for case in cases]
    return np.unique(np.array([name.hex() for name in names]), return_inverse=True)[1]
