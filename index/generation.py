"""A snapshot as opened by one process: tables, vectors, model, and who is reading them."""

from __future__ import annotations

import struct
import threading
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from functools import cached_property
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Any, Final, Self
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from index.adder import Adder
from index.context import ContextLookup
from index.errors import Corrupt
from index.kept import Kept
from index.layout import NO_ROW, customer_keys, item_key, row_key, shard_of
from index.manifest import Manifest
from index.model import ANY_PLACEMENT, Model
from index.patches import NO_PATCHES, Patches
from index.records import (
    ContextView,
    CustomerView,
    ItemView,
    OfferRecord,
    packed_offer_id,
    packed_pairs,
    unpack_offer,
)
from index.tables import Table, TableError
from index.vectors import OfferVectors

_SAFE_OFFERS: Final = 128
_KEPT_RECORDS: Final = 4096

DAMAGE: Final = (TableError, Corrupt, LookupError, TypeError, ValueError, struct.error)
"""What reading a damaged page, record or packed rule raises."""


class Generation:
    """An open snapshot. Share it between threads; each decision has a `Reader` to itself.

    Closing waits for nobody: it takes effect when the last reader inside a decision has left, so a
    view never outlives its mapping.

    Attributes:
        directory: where the files are.
        manifest: what the snapshot says of itself.
        snapshot_id: see `Manifest`, as the next.
        model_id: of all files.
        model: weights, prior, vocabularies.
        zone: the brand's time zone.
        lookup: the model's context vocabularies, arranged for look-up.
        decision_digest: begun with what makes decision ids of different snapshots differ; copied
            for each.
        customers: tables by shard; closed with the generation, as the next three.
        contexts: table.
        items: table.
        offers: table.
        vectors: of the offers; None where the model has none, and after closing.
        safe_offers: records of the prior's best, kept in memory whatever happens to the files.
        damaged: how often a table could not be read since opening; 0 for a sound snapshot.
        patches: what an overlay makes of its offers; replaced as a whole, see `index.overlay`.
        offer_rows: rows of offers that an overlay named, by offer id; None for unknown ones.
    """

    def __init__(
        self,
        *,
        directory: Path,
        manifest: Manifest,
        model: Model,
        secret: bytes | None,
        customers: tuple[Table, ...],
        contexts: Table,
        items: Table,
        offers: Table,
        vectors: OfferVectors | None,
    ) -> None:
        self.directory = directory
        self.manifest = manifest
        self.snapshot_id = manifest.snapshot_id
        self.model_id = manifest.model_id
        self.model = model
        self.zone = ZoneInfo(model.timezone)
        self.damaged = 0
        self.patches = NO_PATCHES
        self.offer_rows: dict[str, int | None] = {}
        self.customers = customers
        self.contexts = contexts
        self.items = items
        self.offers = offers
        self.vectors = vectors
        self.lookup = ContextLookup(model, self.zone)
        self.decision_digest = blake2b(digest_size=16, key=bytes.fromhex(manifest.model_id))
        self._key_of = None if secret is None else customer_keys(secret)
        self._lock = threading.Lock()
        self._idle: list[Reader] = []
        self._n_readers = 0
        self._closing = False
        self._unmaps = False
        self._closed = False
        self.safe_offers = self._load_safe_offers()

    @cached_property
    def is_plain(self) -> bool:
        """Whether the brand asks for nothing special that every decision has to heed."""
        model = self.model
        return model.values is None and not model.reserve and not model.exploration

    @cached_property
    def prior_order(self) -> NDArray[np.intp]:
        """All offer rows by falling prior, ties by row, shape (n_offers,)."""
        return np.argsort(-self.model.prior, kind="stable")

    def key_of(self, customer_id: str | None) -> bytes | None:
        """Table key of a customer, or None for nobody or when no secret was given."""
        if not customer_id or self._key_of is None:
            return None
        return self._key_of(customer_id)

    def touch(self) -> None:
        """Map all files now, not when somebody reads them first: 30 ms a gigabyte.

        Raises:
            RuntimeError: the generation was closed.
        """
        with self.reading():  # so that nothing is unmapped meanwhile
            for file in (*self._tables, *([self.vectors] if self.vectors else ())):
                file.touch()

    def some_customers(self, most: int) -> list[bytes]:
        """Table keys of a few customers, whoever they are.

        Raises:
            RuntimeError: the generation was closed.
        """
        with self.reading(), closing(self.customers[0].reader()) as table:
            return [key for key, _ in islice(table.records(), most)]

    def enter(self) -> Reader:
        """A reader for the caller alone, until `leave`; there are as many as ever were at once.

        Raises:
            RuntimeError: the generation was closed.
        """
        # Without the lock, which would be taken twice in each decision: a list gives each of its
        # things to one thread alone, and who closes takes out what is left in it.
        try:
            reader = self._idle.pop()
        except IndexError:
            reader = self._further_reader()
        if self._closing:
            self.leave(reader)
            raise self._was_closed()
        if reader.patches is not self.patches:
            reader.adopt(self.patches)
        return reader

    def leave(self, reader: Reader) -> None:
        """Give the reader back; the last one out of a closing generation unmaps it."""
        self._idle.append(reader)
        if self._closing:
            self._end_idle()

    @contextmanager
    def reading(self) -> Iterator[Reader]:
        """A reader that is given back at the end, for whom half a microsecond is no matter.

        Raises:
            RuntimeError: the generation was closed.
        """
        reader = self.enter()
        try:
            yield reader
        finally:
            self.leave(reader)

    def close(self) -> None:
        """Refuse further readers and unmap once nobody reads any more."""
        self._closing = True
        self._end_idle()

    @property
    def is_closed(self) -> bool:
        """Whether the files are unmapped."""
        return self._closed

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _further_reader(self) -> Reader:
        with self._lock:  # so that nothing is unmapped meanwhile
            if self._closing:
                raise self._was_closed()
            reader = Reader(self)
            self._n_readers += 1
            return reader

    def _was_closed(self) -> RuntimeError:
        return RuntimeError(f"snapshot {self.snapshot_id} was closed")

    def _end_idle(self) -> None:
        """End all readers that nobody uses, and unmap when these were the last."""
        with self._lock:
            with suppress(IndexError):  # until none is left, for us or for who enters just now
                while True:
                    self._idle.pop().close()
                    self._n_readers -= 1
            if self._n_readers or self._unmaps:
                return
            self._unmaps = True
        for table in self._tables:  # which may take a while: nobody else is to wait for it
            table.close()
        self.vectors = None
        self._closed = True

    @property
    def _tables(self) -> tuple[Table, ...]:
        return (*self.customers, self.contexts, self.items, self.offers)

    def _load_safe_offers(self) -> list[OfferRecord]:
        # The last rung of the ladder answers from memory, whatever has happened to the files.
        reader = Reader(self)
        try:
            rows = self.model.prior_top[ANY_PLACEMENT][:_SAFE_OFFERS].tolist()
            return [record for row in rows if (record := reader.offer(row)) is not None]
        finally:
            reader.close()


class Reader:
    """One caller's way into a generation: transactions, scratch space, and small caches.

    The arrays it returns are views of the mapped files; they are used inside `Generation.enter` …
    `leave` and never kept by others.

    Attributes:
        adder: scratch space for sums, with the model's prior.
        kept_contexts: views of context rows read lately, by row; cleared when transactions end.
        kept_offers: records of offers read lately, as an overlay has them, by row; likewise.
        patches: the overlay they were read under.
        plain: the compiled decision's own way in, made when first asked for.
    """

    __slots__ = (
        "_contexts",
        "_customers",
        "_items",
        "_n_offers",
        "_n_shards",
        "_offers",
        "_prior",
        "_tops",
        "_transactions",
        "adder",
        "kept_contexts",
        "kept_offers",
        "patches",
        "plain",
    )

    def __init__(self, generation: Generation) -> None:
        self._n_offers = generation.model.n_offers
        self._n_shards = generation.model.n_shards
        self._customers = tuple(table.reader() for table in generation.customers)
        self._contexts = generation.contexts.reader()
        self._items = generation.items.reader()
        self._offers = generation.offers.reader()
        self._transactions = (*self._customers, self._contexts, self._items, self._offers)
        self.kept_contexts: Kept[int, ContextView | None] = Kept(_KEPT_RECORDS)
        self.kept_offers: Kept[int, OfferRecord] = Kept(_KEPT_RECORDS)
        self._tops = {
            name: packed_pairs(rows, np.zeros(len(rows), np.float32))
            for name, rows in generation.model.prior_top.items()
        }
        self.patches = generation.patches
        self._prior = generation.model.prior
        self.adder = Adder(self._prior)
        self.plain: Any = None

    def top(self, placement: str) -> bytes:
        """Candidates that are always considered at a placement, with nothing to add, as pairs."""
        return self._tops.get(placement) or self._tops[ANY_PLACEMENT]

    def customer(self, key: bytes) -> CustomerView | None:
        data = self.customer_data(key)
        return None if data is None else CustomerView(data)

    def customer_data(self, key: bytes) -> memoryview | None:
        """A customer's record as it lies in the table."""
        data: memoryview | None = self._customers[shard_of(key, self._n_shards)].get(key)
        return data

    def item(self, item_id: str) -> ItemView | None:
        data = self.item_data(item_id)
        return None if data is None else ItemView(data)

    def item_data(self, item_id: str) -> memoryview | None:
        """An item's record as it lies in the table."""
        data: memoryview | None = self._items.get(item_key(item_id))
        return data

    def offer(self, offer_row: int) -> OfferRecord | None:
        """An offer record as the overlay leaves it; the ones shown most stay decoded."""
        record = self.kept_offers.get(offer_row)
        if record is None:
            record = self.patches.records.get(offer_row) or self.stored_offer(offer_row)
            if record is not None:
                self.kept_offers.keep(offer_row, record)
        return record

    def stored_offer(self, offer_row: int) -> OfferRecord | None:
        """An offer record as the table has it.

        Raises:
            ValueError: it is cut short, or says that it is of another row.
        """
        data = self.offer_data(offer_row)
        if data is None:
            return None
        record = unpack_offer(data)
        if record.offer_row != offer_row:
            raise ValueError(f"the offer record of row {offer_row} says {record.offer_row}")
        return record

    def offer_data(self, offer_row: int) -> memoryview | None:
        """An offer's record as it lies in the table."""
        data: memoryview | None = self._offers.get(row_key(offer_row))
        return data

    def find_offers(self, wanted: Iterable[str]) -> dict[str, int]:
        """Rows of offers by id, of those that exist; reads every offer until all are found."""
        left = {offer_id.encode("utf-8", "surrogatepass"): offer_id for offer_id in wanted}
        found: dict[str, int] = {}
        for row in range(self._n_offers):
            if not left:
                break
            data = self._offers.get(row_key(row))
            if data is not None and (offer_id := left.pop(packed_offer_id(data), None)) is not None:
                found[offer_id] = row
        return found

    def adopt(self, patches: Patches) -> None:
        """Answer by another overlay from now on."""
        self.patches = patches
        self.kept_offers.clear()

    def context(self, context_row: int) -> ContextView | None:
        """A context record as copies, kept decoded: few of them answer nearly all requests."""
        record = self.kept_contexts.get(context_row)
        if record is not None or context_row in self.kept_contexts:
            return record
        data = None if context_row == NO_ROW else self.context_data(context_row)
        record = None if data is None else ContextView(bytes(data))
        return self.kept_contexts.keep(context_row, record)

    def context_data(self, context_row: int) -> memoryview | None:
        """A context's record as it lies in the table."""
        data: memoryview | None = self._contexts.get(row_key(context_row))
        return data

    def renew(self) -> None:
        """New transactions, after a table could not be read."""
        self.adder = Adder(self._prior)
        self.plain = None  # it has the old one's scratch space
        for kept in (self.kept_contexts, self.kept_offers):
            kept.clear()
        for transaction in self._transactions:
            transaction.renew()

    def close(self) -> None:
        self.plain = None  # it holds this reader
        for transaction in self._transactions:
            transaction.close()
