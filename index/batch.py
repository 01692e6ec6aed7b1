"""Many requests at once: JSON lines in, JSON lines out, a line for a line.

BatchError
├── BadLines        some lines are no requests      → correct them      (exit 5)
├── NoSuchRequests  the input cannot be read        → correct the path  (exit 4)
├── CutRequests     the input's packing is broken   → bring it again    (exit 5)
├── NoOutput        the output cannot be written    → correct the path  (exit 1)
└── NoRoom          the output's disk is full       → make room         (exit 75)
"""

from __future__ import annotations

import gzip
import io
import os
import re
import sys
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

import msgspec
import orjson

from index.answer import answer
from index.encode import quoted
from index.errors import SecretUnavailable
from index.folders import NO_ROOM
from index.generation import Generation
from index.not_json import NOT_JSON
from index.request import REPEAT_REMEDY, Request

STANDARD: Final = Path("-")
"""Standard input or standard output, where a file would be named."""

_BUFFER_BYTES: Final = 1 << 20
_PLACE: Final = re.compile(r" - at `(?P<path>[^`]*)`$")


@dataclass(slots=True)
class Done:
    """How a batch went.

    Attributes:
        n_lines: requests read; blank lines are none.
        n_bad: those that got an error instead of an answer.
        first_bad: number of the first of them in the file, 0 when there is none.
    """

    n_lines: int = 0
    n_bad: int = 0
    first_bad: int = 0


class BatchError(Exception):
    """Base of what can go wrong with a batch's own files."""

    exit_code = 1
    hint: str | None = None


class BadLines(BatchError):
    """Some lines got an error in place of an answer."""

    exit_code = 5

    def __init__(self, done: Done, path: Path) -> None:
        super().__init__(
            f"{path}: {done.n_bad} of {done.n_lines} lines are no requests, "
            f"the first is line {done.first_bad}"
        )
        self.hint = "each has an `error` with line, path and detail in its place of the output"


class NoSuchRequests(BatchError):
    """The input is missing or unreadable."""

    exit_code = 4


class CutRequests(BatchError):
    """The input is there, and ends in the middle or is damaged."""

    exit_code = 5
    hint = "the file is damaged or incomplete: fetch or export it again"


class NoOutput(BatchError):
    """The output cannot be written."""


class NoRoom(BatchError):
    """The disk that the output goes to is full; nothing is there of it."""

    exit_code = 75
    hint = "make room or raise the quota, then try again"


def read_lines(path: Path) -> Iterator[bytes]:
    """Lines of a file, unpacked when its name ends in `.gz`; `-` is standard input.

    Raises:
        NoSuchRequests: it cannot be read.
        CutRequests: its packing is broken.
    """
    try:
        if path == STANDARD:
            yield from sys.stdin.buffer
        elif path.suffix == ".gz":
            with gzip.open(path, "rb") as packed, io.BufferedReader(packed, _BUFFER_BYTES) as lines:
                yield from lines
        else:
            with path.open("rb", buffering=_BUFFER_BYTES) as plain:
                yield from plain
    except (gzip.BadGzipFile, EOFError, zlib.error) as problem:
        raise CutRequests(f"{path}: cannot be read to its end ({problem})") from problem
    except OSError as problem:
        reason = problem.strerror or problem
        raise NoSuchRequests(f"{path}: cannot be read ({reason})") from problem


@contextmanager
def output_file(path: Path) -> Iterator[IO[bytes]]:
    """A file that appears under its name when everything was written; `-` is standard output.

    Raises:
        NoOutput: it cannot be written.
        NoRoom: the disk is full.
    """
    if path == STANDARD:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    # A device or a pipe is written to; only files are replaced.
    in_place = path.exists() and not path.is_file()
    aside = path if in_place else path.with_name(f".{path.name}.writing-{os.getpid()}")
    try:
        with aside.open("wb", buffering=_BUFFER_BYTES) as file:
            if path.suffix == ".gz":
                # No name and no time inside: the same answers are the same bytes.
                with gzip.GzipFile("", "wb", 6, file, mtime=0) as packed:
                    yield packed  # type: ignore[misc]
            else:
                yield file
            if not in_place:
                file.flush()
                os.fsync(file.fileno())
        if not in_place:
            aside.replace(path)
    except OSError as problem:
        refused = NoRoom if problem.errno in NO_ROOM else NoOutput
        raise refused(f"{path}: cannot be written ({problem.strerror})") from problem
    finally:
        if not in_place:
            aside.unlink(missing_ok=True)


def answer_lines(
    generation: Generation,
    lines: Iterable[bytes],
    answers: IO[bytes],
    *,
    explain: bool,
    no_secret: SecretUnavailable | None = None,
) -> Done:
    """Answer each line, in order.

    A request without an id gets the number of its line as one.

    Args:
        generation: the open snapshot.
        lines: JSON objects; blank lines are passed over.
        answers: where the lines of the output go.
        explain: tell reasons, whatever the requests say.
        no_secret: why there is no secret, raised when a request names a customer.
    """
    done = Done()
    decode = msgspec.json.Decoder(Request).decode
    replace = msgspec.structs.replace
    for number, line in enumerate(lines, start=1):
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")  # noqa: PLW2901 - a byte order mark
        if not line or line.isspace():
            continue
        done.n_lines += 1
        try:
            request = decode(line)
        except NOT_JSON as problem:
            done.n_bad += 1
            done.first_bad = done.first_bad or number
            answers.write(_error_json(line, number, problem))
            continue
        if no_secret is not None and request.customer_id:
            raise no_secret
        if request.request_id is None or (explain and not request.explain):
            asked = str(number) if request.request_id is None else request.request_id
            request = replace(request, request_id=asked, explain=explain or request.explain)
        answers.write(answer(generation, request).body)
        answers.write(b"\n")
    return done


def requests_of(path: Path) -> list[Request]:
    """All requests of a file, when all are some.

    Raises:
        BadLines: some are none; the first of them is told.
        NoSuchRequests, CutRequests: see `read_lines`.
    """
    decode, found, done = msgspec.json.Decoder(Request).decode, [], Done()
    for number, line in enumerate(read_lines(path), start=1):
        if not line or line.isspace():
            continue
        done.n_lines += 1
        try:
            found.append(decode(line))
        except NOT_JSON:
            done.n_bad += 1
            done.first_bad = done.first_bad or number
    if done.n_bad:
        raise BadLines(done, path)
    return found


def _error_json(line: bytes, number: int, problem: Exception) -> bytes:
    text = str(problem)
    place = _PLACE.search(text)
    path, detail = (place["path"], text[: place.start()]) if place else ("$", text)
    if path == "$.repeat":
        detail = f"{detail}; {REPEAT_REMEDY}"
    error = {"line": number, "path": path, "detail": detail}
    return b'{"request_id":%b,"error":%b}\n' % (_id_of(line, number), orjson.dumps(error))


def _id_of(line: bytes, number: int) -> bytes:
    """The id of a line that is no request, if it can still be told; else the line's number."""
    with suppress(*NOT_JSON):
        return quoted(msgspec.json.decode(line, type=_OnlyId).request_id or str(number))
    return quoted(str(number))


class _OnlyId(msgspec.Struct):
    request_id: str | None = None
