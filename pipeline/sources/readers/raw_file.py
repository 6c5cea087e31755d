"""The bytes of an input file, hashed as stored and decompressed; what all readers share."""

import hashlib
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

import zstandard

from pipeline.core.errors import DocumentError, InputError
from pipeline.core.zstd import PACK_AGAIN, has_large_window, make_decompressor
from pipeline.sources.partitions import InputFile
from pipeline.sources.readers.tar_members import read_members
from pipeline.sources.readers.unpack_slow import UNPACKERS, unpack_slow
from pipeline.sources.readers.wrong_kind import HEAD_BYTES, refuse_wrong_content, refuse_wrong_file
from pipeline.storage import unreadable

_READ_BYTES = 16 << 10
# Four bytes of zstd can unpack to 128 KiB, and so these to 32 MiB; larger ones gain no time.
_ZSTD_BYTES = 1 << 10
# Where every byte ends a line, a list of the lines takes 8 bytes for each.
_PIECE_BYTES = 1 << 20
_UTF8_MARK = b"\xef\xbb\xbf"
SKIP_HINT: Final = (
    "fix the document, or count such documents instead with `on_error: skip` (that is another "
    "mixture, so give it another --out)"
)

Record = tuple[dict[str, Any] | DocumentError, int]
"""Fields by name, or why there are none; and about how many bytes they have.

Of text and id, strings may be UTF-8 that is not checked, since a bad document is no damaged file.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Columns:
    """The fields of a file that hold the text and the id of a document."""

    text: str
    id: str | None
    """None makes ids of partition and row."""
    has_ids: bool = False
    """Whether the text is stored as token ids."""
    are_known: bool = True
    """Whether a file must have them; not where it is read to find out which fields it has."""

    def meant(self, needed: str, names: Iterable[str]) -> str:
        """Return a hint that names the fields inside others that may be meant, or nothing."""
        inside = [name for name in names if name.endswith(f".{needed}")]
        key = "text" if needed == self.text else "id"
        return (
            f"it may be inside another field: from.{key}: {' or '.join(inside)}" if inside else ""
        )

    def check(self, where: str, names: list[str], what: str = "columns") -> None:
        """Insist that the columns of a file have each once. Raises: InputError."""
        if not self.are_known:
            return
        for needed in (self.text, self.id):
            if needed is not None and needed not in names:
                raise InputError(
                    f'{where}: got {what} {", ".join(names)}, expected "{needed}"',
                    self.meant(needed, names)
                    or f"name the {what} with from.text and from.id (null makes ids)",
                    guide="docs/guide/custom-mixture.md#where-documents-come-from",
                )
            if needed is not None and names.count(needed) > 1:
                raise InputError(
                    f'{where}: got {names.count(needed)} {what} "{needed}", expected one',
                    "rename the others, since nobody can say which is meant",
                )


class DamagedError(Exception):
    """A file is damaged: the form that is broken, and how."""

    def __init__(self, form: str, reason: object) -> None:
        super().__init__(form, reason)
        # Arrow's messages may run over several lines.
        self.form, self.reason = form, " ".join(str(reason).split())


def invalid_utf8(error: UnicodeDecodeError, where: str) -> DocumentError:
    return DocumentError(
        f"{where}: invalid UTF-8 at byte {error.start}: {error.reason}", SKIP_HINT, "invalid_utf8"
    )


def too_large(where: str, num_bytes: int, limit: int) -> DocumentError:
    """Return the error for a document above `max_document_bytes`."""
    return DocumentError(
        f"{where}: got {num_bytes:,} bytes, expected at most {limit:,}",
        f"raise max_document_bytes, or {SKIP_HINT}",
        "too_large",
    )


def id_of_bytes(value: bytes) -> str:
    """Return an id that is stored as bytes: as UTF-8, or as hex digits if it is none."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.hex()


class Bounded:
    """Joins the parts of a document; of one above the limit, it keeps only the size."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._parts: list[bytes] = []
        self._num_bytes = 0

    @property
    def is_empty(self) -> bool:
        """Whether nothing was added since the last document."""
        return self._num_bytes == 0

    def add(self, part: bytes) -> None:
        """Append a part."""
        self._num_bytes += len(part)
        if self._num_bytes <= self._limit:
            self._parts.append(part)
        else:
            self._parts.clear()

    def take(self) -> bytes | int:
        """Return the document, or its size if it is too large; then begin the next one."""
        whole = b"".join(self._parts) if self._num_bytes <= self._limit else self._num_bytes
        self._parts, self._num_bytes = [], 0
        return whole


class RawFile:
    """An input file that is read once; then `sha256` is that of its bytes as stored.

    `num_stored` and `num_unpacked` count what was read so far; formats that seek do not count.
    """

    def __init__(self, file: InputFile, max_document_bytes: int) -> None:
        self.file = file
        self.max_document_bytes = max_document_bytes
        self.sha256 = ""
        self.num_stored = self.num_unpacked = 0

    def where(self, row: int) -> str:
        """Return the name of a row's document in errors."""
        return f"{self.file.declared}: document {row + 1}"

    def unpacked(self) -> Iterator[bytes]:
        """Yield what the file holds, decompressed. Raises: DamagedError or InputError."""
        hasher = hashlib.sha256()
        try:
            head, stored = _peek(self._stored(hasher))
            refuse_wrong_file(self.file, head)
            blocks = _unpack(stored, self.file.kind)
            is_archive = ".tar." in self.file.kind
            for block in read_members(blocks, self.file.declared) if is_archive else blocks:
                self.num_unpacked += len(block)
                yield block
        except tarfile.ReadError as error:
            raise DamagedError("tar archive", error) from error
        except (EOFError, zlib.error, zstandard.ZstdError) as error:
            if has_large_window(error):
                raise InputError(
                    f"{self.file.declared}: got zstd with a window above 128 MiB (`--long=28` or "
                    "more), which each worker would hold in memory, expected at most that",
                    PACK_AGAIN,
                ) from error
            raise DamagedError("compressed data", error) from error
        except OSError as error:
            raise unreadable(self.file.declared, error) from error
        self.sha256 = hasher.hexdigest()

    def text(self) -> Iterator[bytes]:
        """Yield the same of a file of text, in small pieces, without a UTF-8 mark at its start.

        Raises: DamagedError or InputError, also for what is plainly no text.
        """
        head, blocks = _peek(self.unpacked())
        refuse_wrong_content(self.file, head)
        skipped = len(_UTF8_MARK) if head.startswith(_UTF8_MARK) else 0
        for block in blocks:
            for start in range(skipped, len(block), _PIECE_BYTES):
                yield block[start : start + _PIECE_BYTES]
            skipped = 0

    def _stored(self, hasher: "hashlib._Hash") -> Iterator[bytes]:
        with self.file.path.open("rb", buffering=0) as raw:
            while block := raw.read(_READ_BYTES):
                hasher.update(block)
                self.num_stored += len(block)
                yield block


def _peek(blocks: Iterator[bytes]) -> tuple[bytes, Iterator[bytes]]:
    """Return the first bytes, and all blocks."""
    head = b""
    for block in blocks:
        head += block
        if len(head) >= HEAD_BYTES:
            break
    return head[:HEAD_BYTES], chain([head], blocks)


def _unpack(blocks: Iterator[bytes], kind: str) -> Iterator[bytes]:
    if kind.endswith(".gz"):
        # Tapes and some tools pad a file with zeros, which gzip ignores too.
        return _decompress(blocks, lambda: zlib.decompressobj(16 + zlib.MAX_WBITS), b"\0")
    if kind.endswith((".zst", ".zstd")):
        pieces = (
            block[start : start + _ZSTD_BYTES]
            for block in blocks
            for start in range(0, len(block), _ZSTD_BYTES)
        )
        return _decompress(pieces, make_decompressor().decompressobj, b"")
    suffix = kind.rpartition(".")[2]
    return unpack_slow(blocks, suffix) if suffix in UNPACKERS else blocks


def _decompress(
    blocks: Iterator[bytes],
    new_decompressor: Callable[[], "zlib._Decompress | zstandard.ZstdDecompressionObj"],
    padding: bytes,
) -> Iterator[bytes]:
    """Yield what all members or frames hold. Raises: EOFError when the last is truncated.

    padding: a byte that may follow them. The readers of both packages are laxer: zstandard's takes
    a truncated frame for a whole one.
    """
    decompressor = new_decompressor()
    is_whole = False
    for block in blocks:
        while block:
            if is_whole:
                block = block.lstrip(padding) if padding else block
                if not block:
                    break
                decompressor = new_decompressor()
            yield decompressor.decompress(block)
            is_whole = decompressor.eof
            block = decompressor.unused_data
    if not is_whole:
        raise EOFError("the file is truncated")
