"""The libraries that learning is made with: other versions of them may learn something else."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Final

_LEARNING: Final = ("duckdb", "faiss-cpu", "implicit", "lightgbm", "numpy", "scipy")


def learning_versions() -> dict[str, str]:
    """Their versions by name; `absent` for one that is not installed, as trees can be left out."""
    return {name: _version_of(name) for name in _LEARNING}


def _version_of(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"
