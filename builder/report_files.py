"""The report as files: report.json for programs, report.html for people."""

from __future__ import annotations

import orjson

from builder.report import Figures, Report
from builder.report_html import render

_JSON = orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE


def as_json(report: Figures) -> bytes:
    """A report's fields under their own names, keys sorted, times in RFC 3339."""
    # Keys of dataclasses are only sorted once they are keys of plain objects.
    return orjson.dumps(orjson.loads(orjson.dumps(report)), option=_JSON)


def report_files(report: Report) -> dict[str, bytes]:
    """The contents of both files, by name."""
    return {"report.json": as_json(report), "report.html": render(report).encode()}
