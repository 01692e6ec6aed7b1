"""What a build found out about a shop by trying, for the report to tell."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One thing that a build found out by trying.

    Attributes:
        name: what was chosen, in words.
        tried: the settings tried, in order.
        chosen: the one of them that was taken.
        why: by what it was judged, and what decided, in a sentence.
        figures: what each of the tried settings scored, as many as `tried`; empty where they were
            not scored alike.
    """

    name: str
    tried: tuple[str, ...]
    chosen: str
    why: str
    figures: tuple[float, ...] = ()
