"""What msgspec raises for bytes that are not the JSON asked for."""

from __future__ import annotations

from typing import Final

import msgspec

NOT_JSON: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
