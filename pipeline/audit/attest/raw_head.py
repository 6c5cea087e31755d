"""Raw head: the first documents of a file of JSON lines, which may be cut off anywhere.

A ranged download of a large file ends inside a line, and inside a frame of gzip or zstd.
"""

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import zstandard

from pipeline.core.errors import InputError
from pipeline.core.json_record import parse_json

_READ_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class RawHead:
    """Documents in file order."""

    texts: list[str]
    ids: list[str]
    """As the file has them; empty where it has none."""
    is_whole: bool
    """Whether the file ends where its last line does, and all of it was read."""


def read_documents(path: Path, most_bytes: int) -> RawHead:
    """Read documents until they have so many bytes of text, or the file ends.

    Raises: InputError for a file that cannot be read, or whose first line is no document.
    """
    texts: list[str] = []
    ids: list[str] = []
    rest, num_bytes, is_whole = b"", 0, True
    for block, ends_here in _unpacked(path):
        is_whole = ends_here
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            if line.strip() and num_bytes <= most_bytes:
                _add(path, line, texts, ids)
                num_bytes += len(line)
        if num_bytes > most_bytes:
            return RawHead(texts=texts, ids=ids, is_whole=False)
    if rest.strip() and is_whole:
        try:
            _add(path, rest, texts, ids)
        except InputError:
            is_whole = False
    if not texts:
        raise InputError(f"{path}: got no whole document", "give a longer head of the file")
    return RawHead(texts=texts, ids=ids, is_whole=is_whole)


def _add(path: Path, line: bytes, texts: list[str], ids: list[str]) -> None:
    try:
        document = parse_json(line)
        text, id_ = document["text"], document.get("id", "")
        if not (isinstance(text, str) and isinstance(id_, str | int)):
            raise ValueError(f"text {text!r:.40}, id {id_!r:.40}")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path}: line {len(texts) + 1}: got no JSON object with a text ({error})",
            "give JSON lines, as Dolma's files are, gzip or zstd or plain",
        ) from error
    texts.append(text)
    ids.append(str(id_))


def _unpacked(path: Path) -> Iterator[tuple[bytes, bool]]:
    """Yield decompressed blocks, each with whether the file is whole if it ends there."""
    try:
        with path.open("rb") as file:
            start = file.read(4)
            file.seek(0)
            if start[:2] == b"\x1f\x8b":
                yield from _members(file, lambda: zlib.decompressobj(31))
            elif start == b"\x28\xb5\x2f\xfd":
                yield from _members(file, lambda: zstandard.ZstdDecompressor().decompressobj())
            else:
                while block := file.read(_READ_BYTES):
                    yield block, True
    except (zlib.error, zstandard.ZstdError) as error:
        raise InputError(f"{path}: got damaged data: {error}", "fetch it again") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}", "check the path") from error


def _members(file: BinaryIO, make: Callable[[], Any]) -> Iterator[tuple[bytes, bool]]:
    """Decompress one member or frame after the other; the last may be cut off."""
    unpacker = make()
    while block := file.read(_READ_BYTES):
        while block:
            data = unpacker.decompress(block)
            block = unpacker.unused_data
            yield data, bool(unpacker.eof and not block)
            if unpacker.eof:
                unpacker = make()
