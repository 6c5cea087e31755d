"""A tar archive of files of JSON lines -> their bytes, one after the other, as a stream.

Nothing is unpacked to disk, and no name of a member is ever a path here. `tarfile` parses headers;
the walk is ours, since its own reads extended headers whole, however large, and takes an archive
that is cut off between two members, or goes on after its end, for a whole one.

Source of the format: POSIX.1-2017, pax Interchange Format; GNU tar manual, Basic Tar Format.
"""

import json
import tarfile
from codecs import BOM_UTF8
from collections.abc import Iterator
from itertools import chain
from pathlib import PurePosixPath
from typing import Final

from pipeline.core.errors import InputError

_BLOCK: Final = tarfile.BLOCKSIZE
# Of names and sizes that do not fit a header; a name has at most 4,096 bytes.
_MOST_EXTENDED_BYTES: Final = 64 << 10
_SUFFIXES: Final = (".jsonl", ".json")
_LINKS: Final = {
    tarfile.LNKTYPE: "a link", tarfile.SYMTYPE: "a link", tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device", tarfile.FIFOTYPE: "a pipe",
    tarfile.GNUTYPE_SPARSE: "a sparse file",
}  # fmt: skip


def read_members(blocks: Iterator[bytes], where: str) -> Iterator[bytes]:
    """Yield what the members hold, in archive order, a line break after each; folders are skipped,
    and so is a UTF-8 mark at the start of a member.

    blocks: of the archive, unpacked. where: the archive, in errors.

    Raises: tarfile.ReadError for a broken or truncated archive; InputError for a member that is no
    file of JSON lines, or whose name leads out of the folder that the archive is unpacked into.
    """
    stream = _Stream(blocks)
    while (header := _next_header(stream)) is not None:
        name, size, kind = header
        _check(name, kind, where)
        if kind != tarfile.DIRTYPE:
            yield from _without_mark(stream.take(size))
            # The last line of a file need not end.
            yield b"\n"
    stream.expect_zeros()


def _without_mark(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the pieces of a file of text without a UTF-8 mark at its start."""
    head = b""
    for piece in pieces:
        head += piece
        if len(head) >= len(BOM_UTF8):
            break
    yield head.removeprefix(BOM_UTF8)
    yield from pieces


class _Stream:
    """Reads an archive from its start; what is asked for must be there."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks
        self._rest = memoryview(b"")

    def read(self, num_bytes: int) -> bytes:
        return b"".join(self._pieces(num_bytes))

    def take(self, num_bytes: int) -> Iterator[bytes]:
        """Yield so many bytes in pieces, and pass over what fills their last block."""
        for piece in self._pieces(num_bytes):
            yield bytes(piece)
        self.skip(-num_bytes % _BLOCK)

    def skip(self, num_bytes: int) -> None:
        for _ in self._pieces(num_bytes):
            pass

    def expect_zeros(self) -> None:
        """Insist that nothing follows. Raises: tarfile.ReadError."""
        for block in chain([bytes(self._rest)], self._blocks):
            if block.strip(b"\0"):
                raise tarfile.ReadError("data follow its end")

    def _pieces(self, num_bytes: int) -> Iterator[memoryview]:
        while num_bytes:
            if not self._rest:
                block = next(self._blocks, None)
                if block is None:
                    raise tarfile.ReadError("the archive is truncated")
                self._rest = memoryview(block)
                continue
            piece, self._rest = self._rest[:num_bytes], self._rest[num_bytes:]
            num_bytes -= len(piece)
            yield piece


def _next_header(stream: _Stream) -> tuple[str, int, bytes] | None:
    """Return the name, size and type of the next member; None at the end of the archive."""
    name: str | None = None
    size: int | None = None
    is_sparse = False
    while True:
        block = stream.read(_BLOCK)
        if not block.strip(b"\0"):
            return None
        try:
            info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(str(error)) from error
        if info.type in (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK):
            written = _extended(stream, info.size)
            if info.type == tarfile.GNUTYPE_LONGNAME:
                name = written.rstrip(b"\0").decode("utf-8", "surrogateescape")
        elif info.type in (tarfile.XHDTYPE, tarfile.XGLTYPE):
            records = _pax_records(_extended(stream, info.size))
            if info.type == tarfile.XHDTYPE:
                name, size = records.get("path", name), _size(records, size)
                is_sparse = is_sparse or any(key.startswith("GNU.sparse.") for key in records)
        else:
            kind = tarfile.GNUTYPE_SPARSE if is_sparse else info.type
            size = info.size if size is None else size
            if size < 0:  # Sizes in base 256 have a sign.
                raise tarfile.ReadError(f"got a size of {size:,}")
            return name or info.name, size, kind


def _extended(stream: _Stream, num_bytes: int) -> bytes:
    if not 0 <= num_bytes <= _MOST_EXTENDED_BYTES:
        raise tarfile.ReadError(f"got an extended header of {num_bytes:,} bytes")
    written = stream.read(num_bytes)
    stream.skip(-num_bytes % _BLOCK)
    return written


def _pax_records(data: bytes) -> dict[str, str]:
    """Return the keys of an extended header: lines of `length key=value`."""
    records = {}
    while data.strip(b"\0"):
        digits = data.partition(b" ")[0]
        length = int(digits) if digits.isdigit() and len(digits) < 8 else 0
        line = data[len(digits) + 1 : length]
        key, equals, value = line.partition(b"=")
        if not (equals and line.endswith(b"\n") and length <= len(data)):
            raise tarfile.ReadError("an extended header is malformed")
        records[key.decode("utf-8", "replace")] = value[:-1].decode("utf-8", "surrogateescape")
        data = data[length:]
    return records


def _size(records: dict[str, str], size: int | None) -> int | None:
    written = records.get("size")
    if written is None:
        return size
    if not (written.isascii() and written.isdigit() and len(written) < 20):
        raise tarfile.ReadError(f"got a size of {written[:20]!r}")
    return int(written)


def _check(name: str, kind: bytes, where: str) -> None:
    """Insist on a member that is read. Raises: InputError, naming it."""
    # On one line, whatever is in it.
    shown = json.dumps(name.encode("utf-8", "replace").decode(), ensure_ascii=False)
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise _refused(where, shown, "a name outside the archive's folder")
    if kind == tarfile.DIRTYPE:
        return
    if kind in _LINKS:
        raise _refused(where, shown, _LINKS[kind])
    if kind not in tarfile.REGULAR_TYPES:
        raise _refused(where, shown, f"a member of type {kind!r}")
    if path.suffix.lower() not in _SUFFIXES:
        raise _refused(where, shown, "another file")


def _refused(where: str, name: str, got: str) -> InputError:
    return InputError(
        f"{where}: got the member {name}, {got}, expected files of JSON lines (.jsonl) alone",
        "nothing was unpacked; if you trust it, pack its JSON lines again without the rest",
    )
