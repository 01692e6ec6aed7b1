"""JSON for people and programs to read from a terminal."""

from __future__ import annotations

import orjson


def json_text(value: object) -> str:
    """A value as indented JSON, as commands print it under `--json`.

    >>> print(json_text({"a": 1}))
    {
      "a": 1
    }
    """
    return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
