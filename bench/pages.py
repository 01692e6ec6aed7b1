"""Figures of kept runs, written into the documents: `python -m bench.pages`.

The documents hold no figure of a run that somebody copied by hand. Between two markers stands what
the newest run of each benchmark says, in README.md and in docs/capacity.md; written twice it is
the same.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import orjson

from bench.page_tables import capacity_page, readme_numbers
from bench.results import DEFAULT_DIR

BEGIN: Final = "<!-- bench:begin -->"
END: Final = "<!-- bench:end -->"
RUNS: Final = ("decision", "http", "scale", "capacity")


class NotThere(Exception):
    """A run, or a document's pair of markers, is missing."""

    exit_code = 4

    def __init__(self, what: str, *, hint: str) -> None:
        super().__init__(what)
        self.hint = hint


def rewritten(document: str, block: str) -> str:
    r"""A document with another block between its markers.

    >>> rewritten("a\n<!-- bench:begin -->\nold\n<!-- bench:end -->\nb\n", "new")
    'a\n<!-- bench:begin -->\n\nnew\n\n<!-- bench:end -->\nb\n'

    Raises:
        NotThere: it has not exactly one pair of markers.
    """
    before, begun, rest = document.partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not begun or not ended or BEGIN in rest or END in before + after:
        raise NotThere(
            f"the document has no single pair of {BEGIN} and {END}",
            hint="put them around what is to be written anew",
        )
    return f"{before}{BEGIN}\n\n{block.strip()}\n\n{END}{after}"


def newest(results: Path, name: str) -> dict[str, Any]:
    """The summary of the newest run of a benchmark.

    Raises:
        NotThere: there is none.
    """
    # A name goes on with the moment; `http-profile-…` is another benchmark's.
    found = sorted(results.glob(f"{name}-[0-9]*/summary.json"))
    if not found:
        raise NotThere(f"there is no run of `almanac bench {name}` in {results}", hint="make bench")
    return dict(orjson.loads(found[-1].read_bytes()))


def write_pages(root: Path, results: Path) -> list[Path]:
    """Write all documents anew.

    Args:
        root: of the checkout.
        results: folder of all runs.

    Returns:
        Those that are different now.

    Raises:
        NotThere: a run is missing, or a document's markers are; nothing was written.
    """
    runs: Mapping[str, Mapping[str, Any]] = {name: newest(results, name) for name in RUNS}
    blocks = {
        root / "README.md": readme_numbers(runs),
        root / "docs" / "capacity.md": capacity_page(runs),
    }
    after = {path: rewritten(path.read_text(), block) for path, block in blocks.items()}
    changed = [path for path, text in after.items() if path.read_text() != text]
    for path in changed:
        path.write_text(after[path])
    return changed


def main() -> int:
    """Write the documents of this checkout from its kept runs."""
    root = Path(__file__).parents[1]
    try:
        changed = write_pages(root, root / DEFAULT_DIR)
    except NotThere as problem:
        sys.stderr.write(f"error: {problem}\nhint: {problem.hint}\n")
        return problem.exit_code
    for path in changed:
        sys.stderr.write(f"written: {path.relative_to(root)}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
