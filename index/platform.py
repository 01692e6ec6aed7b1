"""What a machine must be like to read a snapshot, and which software wrote it."""

from __future__ import annotations

import mmap
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from index.errors import WrongVersion

_LIBRARIES = ("numpy", "lmdb", "faiss-cpu", "msgpack", "orjson", "msgspec")


def platform_facts() -> dict[str, Any]:
    """The manifest's `platform` part: LMDB files are read on machines like the writer's only."""
    return {
        "byte_order": sys.byteorder,
        "pointer_bits": sys.maxsize.bit_length() + 1,
        "page_bytes": mmap.PAGESIZE,
        "lmdb_format": 0,
    }


def library_versions() -> dict[str, str]:
    """Versions of what writes the files, for the manifest's `build` part."""
    return {name: version(name) for name in _LIBRARIES} | {"python": sys.version.split()[0]}


def require_platform(needed: dict[str, Any], path: Path) -> None:
    """Refuse a snapshot that this machine cannot map.

    Raises:
        WrongVersion: it names the fact that differs.
    """
    here = platform_facts()
    for name, value in needed.items():
        if here.get(name) != value:
            raise WrongVersion(
                f"needs a machine with {name} {value}, this one has {here.get(name)}",
                path=path,
                hint="build the snapshot on a machine like the ones that serve it",
            )
