"""Whether decisions are compiled code here, or NumPy's, which takes about eight times as long."""

from __future__ import annotations

from typing import Final

try:
    import index._kernel  # noqa: F401
except ImportError:
    _found = False
else:
    _found = True

IS_COMPILED: Final = _found
