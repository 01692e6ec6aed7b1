"""Which version of the software this is."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def software_version() -> str:
    """The version, also in a checkout that nobody installed: `0` there."""
    try:
        return version("offer-almanac")
    except PackageNotFoundError:
        return "0"
