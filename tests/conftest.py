"""What holds for every test: properties are tried on few examples, and never against a clock."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("almanac", max_examples=60, deadline=None)
settings.load_profile("almanac")
