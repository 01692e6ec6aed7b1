"""What an overlay makes of a snapshot's offers: records that take the place of those in the table.

An offer taken away stands here as one that is not available, so that a decision passes it over by
the very check it makes anyway: where nothing is patched, nothing is looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from index.records import OfferRecord


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Patches:
    """An overlay, compiled for one open snapshot; replaced as a whole.

    Attributes:
        sequence: the overlay's number; 0 for none.
        records: by offer row, what stands in for the record of the table.
        removed: rows that must not be shown.
        repriced: rows whose answers carry another price.
        n_unknown: offers the overlay names that the snapshot does not know.
    """

    sequence: int = 0
    records: Mapping[int, OfferRecord] = field(default_factory=lambda: MappingProxyType({}))
    removed: frozenset[int] = frozenset()
    repriced: frozenset[int] = frozenset()
    n_unknown: int = 0


NO_PATCHES: Final = Patches()
