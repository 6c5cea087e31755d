"""The bytes of an input file, hashed as stored and decompressed; what all readers share."""

import hashlib
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import zstandard

from pipeline.core.errors import DocumentError, InputError
from pipeline.sources.partitions import InputFile
from pipeline.storage import unreadable

# 16 KiB of zstd can unpack to 160 MiB where lines repeat; a larger read gains nothing.
_READ_BYTES = 16 << 10
# The largest window that zstd can have; a frame made with `--long` needs it whole in memory.
_ZSTD_WINDOW_BYTES = 1 << 31
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

    def check(self, where: str, names: list[str]) -> None:
        """Insist that the columns of a file have both. Raises: InputError."""
        for needed in (self.text, self.id):
            if needed is not None and needed not in names:
                raise InputError(
                    f'{where}: got columns {", ".join(names)}, expected "{needed}"',
                    "name the columns with from.text and from.id (null makes ids)",
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


class RawFile:
    """An input file that is read once; then `sha256` is that of its bytes as stored."""

    def __init__(self, file: InputFile) -> None:
        self.file = file
        self.sha256 = ""

    def where(self, row: int) -> str:
        """Return the name of a row's document in errors."""
        return f"{self.file.declared}: document {row + 1}"

    def unpacked(self) -> Iterator[bytes]:
        """Yield what the file holds, decompressed. Raises: DamagedError or InputError."""
        hasher = hashlib.sha256()
        try:
            yield from _unpack(self._stored(hasher), self.file.kind)
        except (EOFError, zlib.error, zstandard.ZstdError) as error:
            raise DamagedError("compressed data", error) from error
        except OSError as error:
            raise unreadable(self.file.declared, error) from error
        self.sha256 = hasher.hexdigest()

    def _stored(self, hasher: "hashlib._Hash") -> Iterator[bytes]:
        with self.file.path.open("rb", buffering=0) as raw:
            while block := raw.read(_READ_BYTES):
                hasher.update(block)
                yield block


def _unpack(blocks: Iterator[bytes], kind: str) -> Iterator[bytes]:
    if kind.endswith(".gz"):
        return _decompress(blocks, lambda: zlib.decompressobj(wbits=16 + zlib.MAX_WBITS))
    if kind.endswith((".zst", ".zstd")):
        unpacker = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_BYTES)
        return _decompress(blocks, unpacker.decompressobj)
    return blocks


def _decompress(
    blocks: Iterator[bytes],
    new_decompressor: Callable[[], "zlib._Decompress | zstandard.ZstdDecompressionObj"],
) -> Iterator[bytes]:
    """Yield what all members or frames hold. Raises: EOFError when the last is truncated.

    The readers of both packages are laxer: zstandard's takes a truncated frame for a whole one.
    """
    decompressor = new_decompressor()
    is_whole = False
    for block in blocks:
        while block:
            if is_whole:
                decompressor = new_decompressor()
            yield decompressor.decompress(block)
            is_whole = decompressor.eof
            block = decompressor.unused_data
    if not is_whole:
        raise EOFError("the file is truncated")
