"""What a file plainly is, by its first bytes, where its name says something else.

Such a file has no bad documents, but none at all; so it is an error whatever `on_error` says.
"""

import re
from typing import Final

from pipeline.core.errors import InputError
from pipeline.sources.partitions import InputFile

HEAD_BYTES: Final = 512
"""How many bytes are looked at: more than any sign of a kind takes."""
_FETCH: Final = "fetch the file itself"
_BINARY: Final = (
    ("gzip", rb"\x1f\x8b\x08", "give its name the ending .gz"),
    ("zstd", rb"\x28\xb5\x2f\xfd", "give its name the ending .zst"),
    ("xz", rb"\xfd7zXZ\x00", "give its name the ending .xz"),
    ("bzip2", rb"BZh[1-9]1AY&SY", "give its name the ending .bz2"),
    ("a zip archive", rb"PK\x03\x04", "unpack it, and name the files in it"),
    ("parquet", rb"PAR1\x15", "give its name the ending .parquet"),
    ("Arrow", rb"ARROW1\x00\x00", "give its name the ending .arrow"),
)
_TEXT: Final = (
    ("a pointer of Git LFS", rb"version https://git-lfs\.", f"{_FETCH}: git lfs pull"),
    (
        "a page of HTML",
        rb"(?i:(?:\xef\xbb\xbf)?\s*<(?:!doctype\s+html|html[\s>]))",
        f"{_FETCH}; a server has sent a page, such as of an error, in its place",
    ),
    (
        "XML",
        rb"(?:\xef\xbb\xbf)?\s*<\?xml\s",
        f"{_FETCH}; object stores send errors as XML",
    ),
)
# Of text, each character that ASCII has takes a zero byte too.
_WIDE: Final = (
    (
        "UTF-16 or UTF-32",
        rb"\xff\xfe|\xfe\xff|\x00\x00\xfe\xff|(?:[\t-~]\x00){2}|(?:\x00[\t-~]){2}",
        "convert it to UTF-8, as with: iconv -f UTF-16 -t UTF-8",
    ),
)
_GUIDE: Final = "docs/guide/custom-mixture.md#bad-documents-and-wrong-files"
_FORMS: Final = {
    "gz": "gzip", "zst": "zstd", "zstd": "zstd", "xz": "xz", "bz2": "bzip2",
    "parquet": "parquet", "arrow": "Arrow",
}  # fmt: skip
"""What a file is, by the last suffix of its name, if it is no text."""
_EXPECTED: Final = {
    "json": "JSON lines or a JSON array", "jsonl": "JSON lines",
    "txt": "text", "md": "text", "csv": "CSV", "tsv": "TSV",
}  # fmt: skip


def refuse_wrong_file(file: InputFile, head: bytes) -> None:
    """Refuse a file that begins unlike what its name says. Raises: InputError."""
    form = _FORMS.get(file.kind.rpartition(".")[2])
    # An MDS shard begins with its number of rows, which may look like anything binary.
    signs = _TEXT if file.kind == ".mds" else (*_BINARY, *_TEXT)
    _refuse(file, head, signs, form)


def refuse_wrong_content(file: InputFile, head: bytes) -> None:
    """Refuse what a file of text, once unpacked, plainly is instead. Raises: InputError."""
    _refuse(file, head, (*_BINARY, *_TEXT, *_WIDE), None)


def _refuse(
    file: InputFile, head: bytes, signs: tuple[tuple[str, bytes, str], ...], form: str | None
) -> None:
    kind = file.kind.split(".")[1]
    for found, sign, hint in signs:
        # A text may well be about XML.
        may_be = found == form or (found == "XML" and file.is_one_document)
        if not may_be and re.match(sign, head):
            expected = form or _EXPECTED.get(kind, kind)
            message = f"{file.declared}: got {found}, expected {expected}"
            raise InputError(message, hint, guide=_GUIDE)
