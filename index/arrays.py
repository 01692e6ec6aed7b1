"""Names for the arrays that travel between files; shapes are said where they are used."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Rows: TypeAlias = NDArray[np.uint32]
"""Row numbers of offers, items or contexts."""

Scores: TypeAlias = NDArray[np.float32]
"""Natural-log shares and lifts, or similarities."""

Counts: TypeAlias = NDArray[np.uint32]
"""How many orders stand behind a value."""

RowBytes: TypeAlias = bytes | memoryview
"""A sparse row or a list of offers as it lies in a record, copied or seen in place."""

Vector: TypeAlias = NDArray[np.float32]
Vectors: TypeAlias = NDArray[np.float32]
