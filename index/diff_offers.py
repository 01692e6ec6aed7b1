"""How the offers of two snapshots differ, by the shop's own ids, whatever their rows are."""

from __future__ import annotations

from dataclasses import dataclass

from index.generation import Generation
from index.records import OFFER_AVAILABLE, OfferRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferChanges:
    """What became of offers; ids are sorted.

    Attributes:
        added: offers that are new.
        removed: offers that are gone.
        sold_out: offers that can't be had any more.
        back: offers that can be had again.
        retold: offers whose title, price or other words to show are different.
        moved: offers that have another row: what refers to them differs for that alone.
    """

    added: list[str]
    removed: list[str]
    sold_out: list[str]
    back: list[str]
    retold: list[str]
    moved: int


def offer_changes(before: Generation, after: Generation) -> OfferChanges:
    """Compare all offers of two snapshots; one record of each is in memory."""
    olds, news = _offers(before), _offers(after)
    both = sorted(olds.keys() & news.keys())
    return OfferChanges(
        added=sorted(news.keys() - olds.keys()),
        removed=sorted(olds.keys() - news.keys()),
        sold_out=[name for name in both if _there(olds[name]) and not _there(news[name])],
        back=[name for name in both if _there(news[name]) and not _there(olds[name])],
        retold=[name for name in both if olds[name].fragment != news[name].fragment],
        moved=sum(olds[name].offer_row != news[name].offer_row for name in both),
    )


def _there(offer: OfferRecord) -> bool:
    return bool(offer.flags & OFFER_AVAILABLE)


def _offers(generation: Generation) -> dict[str, OfferRecord]:
    with generation.reading() as reader:
        found = (reader.stored_offer(row) for row in range(generation.model.n_offers))
        return {offer.offer_id: offer for offer in found if offer is not None}
