"""Bytes of an input file, whatever it is compressed with."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal, TypeAlias, cast

import zstandard

from builder.errors import InputUnreadable

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

Compression: TypeAlias = Literal["none", "gzip", "zstd"]
_MAGIC: dict[bytes, Compression] = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_BLOCK_BYTES = 2**20
_ZSTD_BLOCK_BYTES = 2**14  # a block is decompressed whole, and may hold a thousand times its size


def sniff_compression(path: Path) -> Compression:
    """How a file is compressed, by its first bytes; its name is not asked."""
    with path.open("rb") as file:
        start = file.read(4)
    return next((kind for magic, kind in _MAGIC.items() if start.startswith(magic)), "none")


@contextmanager
def open_stream(path: Path, compression: Compression) -> Iterator[BinaryIO]:
    """The file's content as a stream of bytes, decompressed.

    Raises:
        InputUnreadable: also later, while reading, when the file turns out to be damaged.
    """
    try:
        with path.open("rb") as file:
            yield _decompressed(file, compression)
    except (EOFError, OSError, zlib.error, zstandard.ZstdError) as error:
        raise InputUnreadable(
            f"{path}: cannot be read to its end: {error}",
            hint="the file is damaged or incomplete: fetch or export it again",
            path=path,
        ) from error


def head_of(path: Path, compression: Compression, size_bytes: int) -> bytes:
    """The first bytes of the content."""
    with open_stream(path, compression) as stream:
        return stream.read(size_bytes)


def count_lines(path: Path, compression: Compression) -> int:
    """How many lines the content has; a last one without line feed counts."""
    n_lines, last = 0, b"\n"
    with open_stream(path, compression) as stream:
        while block := stream.read(_BLOCK_BYTES):
            n_lines += block.count(b"\n")
            last = block[-1:]
    return n_lines + (last != b"\n")


def _decompressed(file: BinaryIO, compression: Compression) -> BinaryIO:
    if compression == "gzip":
        return cast(BinaryIO, gzip.GzipFile(fileobj=file))
    if compression == "zstd":
        return io.BufferedReader(_ZstdFrames(file), _BLOCK_BYTES)
    return file


class _ZstdFrames(io.RawIOBase):
    """Frame after frame of a zstd file.

    The library's own reader stops without a word where a file was cut off; this one says so.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._frame = zstandard.ZstdDecompressor().decompressobj()
        self._is_inside = False
        self._ready = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer).cast("B")
        while not self._ready:
            block = self._frame.unused_data if self._frame.eof else b""
            if self._frame.eof:
                self._frame, self._is_inside = zstandard.ZstdDecompressor().decompressobj(), False
            block = block or self._file.read(_ZSTD_BLOCK_BYTES)
            if not block:
                if self._is_inside:
                    raise EOFError("the compressed data ends in the middle")
                return 0
            self._is_inside = True
            self._ready = self._frame.decompress(block)
        size = min(len(view), len(self._ready))
        view[:size] = self._ready[:size]
        self._ready = self._ready[size:]
        return size
