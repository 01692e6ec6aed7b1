"""The trial of a snapshot, in a process that nobody misses: a damaged file kills only this one.

    python -m edge.node.proof SNAPSHOT [SECRET_FILE]

It opens the snapshot as a worker does, brings in every page, repeats every golden decision, checks
that no page of a table leads astray, and prints one JSON object. It ends with whoever holds its
standard input.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

import msgspec

from edge.memory import memory_of
from edge.node.apart import serve_apart
from edge.node.verdict import Verdict
from index.errors import (
    Corrupt,
    Exhausted,
    SecretUnavailable,
    SnapshotError,
    WrongSecret,
    WrongVersion,
)
from index.manifest import read_manifest
from index.secret import brand_secret
from index.snapshot import open_snapshot
from index.verify import check_golden, require_structure

_NO_FAULT_OF_ITS_OWN = (Exhausted, SecretUnavailable, WrongSecret, WrongVersion)


def tried(path: Path, secret_file: Path | None) -> Verdict:
    """Try a snapshot in this process, which may not survive it."""
    before = _private_bytes()
    try:
        manifest = read_manifest(path)
        secret = brand_secret(manifest.brand, secret_file=secret_file, create=False)
        with open_snapshot(path, secret) as generation:
            if problems := check_golden(generation):
                raise Corrupt(f"{len(problems)} golden decisions differ; {problems[0]}", path=path)
            private_bytes = max(0, _private_bytes() - before)
        # Last, because it takes memory that no worker will need.
        require_structure(path, manifest)
        return Verdict(outcome="proved", n_golden=len(manifest.golden), private_bytes=private_bytes)
    except SnapshotError as problem:
        unfit = isinstance(problem, _NO_FAULT_OF_ITS_OWN)
        # The folder of a trial has a passing name: the file inside it is what matters.
        named = problem.path is not None and problem.path != path
        what = f"{problem.path.name}: {problem.what}" if problem.path and named else problem.what
        return Verdict(outcome="unfit" if unfit else "bad", what=what, hint=problem.hint)


def _private_bytes() -> int:
    memory = memory_of(os.getpid())
    return 0 if memory is None else memory.private


def main(arguments: list[str]) -> None:
    """Try the snapshot that is named and print the verdict."""
    serve_apart()
    path, *rest = map(Path, arguments)
    verdict = tried(path, rest[0] if rest else None)
    with suppress(BrokenPipeError):  # who asked is gone
        sys.stdout.buffer.write(msgspec.json.encode(verdict))
        sys.stdout.flush()
    os._exit(0)  # what was opened needs no tidying up


if __name__ == "__main__":
    main(sys.argv[1:])
