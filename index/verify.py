"""Verification: every byte against the manifest, and every promise against the decision itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from index.decide import decide_for_key
from index.errors import Corrupt, Incomplete, SnapshotError
from index.generation import Generation
from index.layout import MODEL_NAME, table_kind
from index.manifest import (
    FileEntry,
    Golden,
    Manifest,
    check_digest,
    check_sizes,
    read_manifest,
    require_binding,
)
from index.model import read_model
from index.snapshot import open_snapshot
from index.tables import Table, structure_problems

SCORE_TOLERANCE = 1e-3
"""How far scores may lie apart between processors; tables and order must agree exactly."""


def verify_snapshot(path: Path, *, deep: bool = False) -> Iterator[str]:
    """Check a snapshot, yielding a sentence for each step that held.

    Args:
        path: the snapshot directory.
        deep: also check the structure of every table offline, and repeat the golden decisions.

    Raises:
        SnapshotError: at the first thing that is wrong.
    """
    manifest = read_manifest(path)
    yield f"manifest {manifest.snapshot_id}, format {manifest.version}, brand {manifest.brand}"
    listed = [*manifest.files, *manifest.reports]
    for entry in listed:
        _check_file(path, entry, manifest)
    yield f"{len(listed)} files have the listed sizes and digests"
    if deep:
        yield f"{require_structure(path, manifest)} tables are sound LMDB files"
    with open_snapshot(path) as generation:
        yield "opens as the edge opens it: tables, vectors and model belong together"
        if deep:
            if problems := check_golden(generation):
                raise Corrupt(
                    f"{len(problems)} golden decisions differ; {problems[0]}",
                    path=path,
                    hint="this software or machine decides differently from the builder's",
                )
            yield f"{len(manifest.golden)} golden decisions repeated"


def require_structure(path: Path, manifest: Manifest) -> int:
    """Check the pages of every table: none leads outside its file, no key is out of order.

    LMDB believes what pages say of each other. A file that was damaged before its digest was taken
    may answer thousands of reads and kill the process at the next one.

    Returns:
        How many tables there are.

    Raises:
        Incomplete: one is missing or of another size. Corrupt: one is not sound.
    """
    tables = [entry for entry in manifest.files if entry.last_pgno is not None]
    check_sizes(path, tables)
    for entry in tables:
        if problems := structure_problems(path / entry.name):
            raise Corrupt(problems[0], path=path / entry.name, hint="copy the snapshot again")
    return len(tables)


def check_golden(generation: Generation) -> list[str]:
    """Sentences about golden decisions that this process does not repeat; empty when none."""
    problems = []
    for place, golden in enumerate(generation.manifest.golden):
        key = bytes.fromhex(golden.key) if golden.key else None
        decision = decide_for_key(generation, golden.request, key)
        rows = [offer.offer_row for offer in decision.offers]
        scores = [offer.score for offer in decision.offers]
        if decision.tier != golden.tier or not _agree(golden, rows, scores):
            problems.append(
                f"decision {place}: expected {golden.tier} {golden.offer_rows[:3]}…, "
                f"got {decision.tier} {rows[:3]}…"
            )
    return problems


def _agree(golden: Golden, rows: list[int], scores: list[float]) -> bool:
    if not len(rows) == len(golden.offer_rows) == len(golden.scores):
        return False
    expected = dict(zip(golden.offer_rows, golden.scores, strict=True))
    for row, wanted, score in zip(rows, golden.offer_rows, scores, strict=True):
        # Two offers within the tolerance may change places; anything else must not.
        if row != wanted and abs(expected.get(row, 1e9) - expected[wanted]) > SCORE_TOLERANCE:
            return False
        if row in expected and abs(expected[row] - score) > SCORE_TOLERANCE:
            return False
    return True


def _check_file(directory: Path, entry: FileEntry, manifest: Manifest) -> None:
    try:
        check_sizes(directory, [entry])
        check_digest(directory, entry)
    except (Corrupt, Incomplete):
        path = directory / entry.name
        if (found := _binding_of(path)) is not None:
            require_binding(path, found, manifest.binding)
        raise


def _binding_of(path: Path) -> bytes | None:
    """Which build a file says it belongs to; None when it cannot say."""
    with suppress(SnapshotError):
        if path.name == MODEL_NAME:
            return read_model(path).binding
        if (kind := table_kind(path.name)) is not None:
            table = Table(path, kind=kind)
            table.close()
            return table.binding
    return None
