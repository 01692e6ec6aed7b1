"""The report as files: report.json for programs, report.html for people."""

from __future__ import annotations

from pathlib import Path

import orjson

from builder.report import Figures, Report
from builder.report_html import render

_JSON = orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE


def as_json(report: Figures) -> bytes:
    """A report's fields under their own names, keys sorted, times in RFC 3339."""
    # Keys of dataclasses are only sorted once they are keys of plain objects.
    return orjson.dumps(orjson.loads(orjson.dumps(report)), option=_JSON)


def write_report(report: Report, out_dir: Path) -> tuple[Path, Path]:
    """Write report.json and report.html into a folder that exists, and return their paths."""
    json_path, html_path = out_dir / "report.json", out_dir / "report.html"
    json_path.write_bytes(as_json(report))
    html_path.write_text(render(report), encoding="utf-8")
    return json_path, html_path
