"""MessagePack: the only file that knows how the model is laid down as bytes."""

from __future__ import annotations

from typing import Any

import msgpack

from index.errors import Corrupt


def pack(value: Any) -> bytes:
    """Value of plain types (dict, list, str, bytes, int, float, bool, None) as MessagePack.

    The same value with the same order of keys gives the same bytes.
    """
    packed: bytes = msgpack.packb(value, use_bin_type=True)
    return packed


def unpack(data: bytes) -> Any:
    """Inverse of `pack`.

    Raises:
        Corrupt: the bytes are not one whole MessagePack value.
    """
    try:
        return msgpack.unpackb(data, raw=False, strict_map_key=True)
    except (ValueError, msgpack.UnpackException) as problem:
        raise Corrupt(f"not a whole MessagePack value ({problem})") from problem
