"""The commands that need nothing but a snapshot: `almanac verify` and `almanac decide`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from index.batch import BadLines, answer_lines, output_file, read_lines
from index.errors import SecretUnavailable, SnapshotError
from index.json_text import json_text
from index.manifest import read_manifest
from index.secret import brand_secret
from index.snapshot import open_snapshot
from index.verify import verify_snapshot

FileOrPipe = Annotated[Path, Parameter(allow_leading_hyphen=True)]


def verify(snapshot: Path, *, deep: bool = False, json: bool = False) -> None:
    """Check that a snapshot is whole, unchanged and of one build.

    Compares every file's size and digest with the manifest and opens the snapshot as an edge does.
    Reads only; ends with exit code 3, and says what differs, at the first thing that is wrong.

        almanac verify shop/ --deep

    Args:
        snapshot: directory that `almanac build --out` wrote.
        deep: also check the structure of every table, and repeat the golden decisions.
        json: print one JSON object instead of lines.
    """
    checks: list[str] = []
    try:
        for sentence in verify_snapshot(snapshot, deep=deep):
            checks.append(sentence)
            if not json:
                print(sentence)
    except SnapshotError as error:
        if json:
            print(json_text({"ok": False, "checks": checks, "error": _told(error)}))
        raise
    if json:
        print(json_text({"ok": True, "checks": checks, "error": None}))
    else:
        print("sound")


def decide_file(
    snapshot: Path,
    *,
    requests: FileOrPipe,
    out: FileOrPipe,
    explain: bool = False,
    secret_file: Path | None = None,
) -> None:
    """Answer a file of requests from a snapshot, one line each.

    Each line of the input is a request as `POST /v1/offers` takes it; each line of the output is
    its answer, in the same order. A line that is no request gets an `error` object in its place,
    and the command ends with exit code 5. The output appears whole or not at all.

        almanac decide shop/ --requests visits.jsonl --out answers.jsonl

    Args:
        snapshot: directory that `almanac build --out` wrote.
        requests: JSON lines, `.gz` or not; `-` for standard input.
        out: where the answers go, `.gz` or not; `-` for standard output.
        explain: tell each signal's contribution, whatever the requests say.
        secret_file: the brand's secret, when it is not where builder and edge look for it.
    """
    brand = read_manifest(snapshot).brand
    try:
        secret, no_secret = brand_secret(brand, secret_file=secret_file, create=False), None
    except SecretUnavailable as error:
        if secret_file is not None:
            raise
        # Requests of visitors nobody knows need none: say so when one names a customer.
        secret, no_secret = None, error
    with open_snapshot(snapshot, secret) as generation, output_file(out) as answers:
        lines = read_lines(requests)
        done = answer_lines(generation, lines, answers, explain=explain, no_secret=no_secret)
    print(f"{done.n_lines} lines, {done.n_bad} bad", file=sys.stderr)
    if done.n_bad:
        raise BadLines(done, requests)


def _told(error: SnapshotError) -> dict[str, Any]:
    return {
        "kind": type(error).__name__,
        "path": str(error.path) if error.path else None,
        "what": error.what,
        "hint": error.hint,
    }
