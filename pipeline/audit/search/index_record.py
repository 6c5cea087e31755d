"""Index record: what the files of a search index are, and of which order.

`index.json` lists all sections and is written last. `section.json` lies in the folder of one, with
what shows whether its files are as they were synced. Both are sealed. Format: search-index.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from pipeline.audit.search.section import ARRAYS, Section
from pipeline.core.digest import FileDigest
from pipeline.core.errors import MismatchError
from pipeline.core.json_record import from_json, parse_json, to_json
from pipeline.core.regular_file import read_file
from pipeline.core.saved_file import SavedFile
from pipeline.dataset import seal

FORMAT: Final = "ettin-search-index-v1"
INDEX: Final = "index.json"
SECTION: Final = "section.json"
HINT: Final = "run `ettin-data search-index` again, which makes again what is damaged"

Record = TypeVar("Record", "SectionRecord", "IndexRecord")


@dataclass(frozen=True, kw_only=True, slots=True)
class SectionRecord:
    """The content of `section.json`."""

    order: str
    """The digest of the order: 64 hex digits."""
    section_tokens: int
    """The most tokens of a section, a zero for each row included, unless it is one long row."""
    first_row: int
    num_rows: int
    num_tokens: int
    files: Mapping[str, SavedFile]
    """One for each of the arrays, by its name."""

    def listed(self) -> "ListedSection":
        return ListedSection(
            first_row=self.first_row,
            num_rows=self.num_rows,
            num_tokens=self.num_tokens,
            files={
                name: FileDigest(num_bytes=file.num_bytes, sha256=file.sha256)
                for name, file in self.files.items()
            },
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class ListedSection:
    """A section as `index.json` lists it."""

    first_row: int
    num_rows: int
    num_tokens: int
    files: Mapping[str, FileDigest]


@dataclass(frozen=True, kw_only=True, slots=True)
class IndexRecord:
    """The content of `index.json`, which depends on the order and `section_tokens` alone."""

    order: str
    """The digest of the order: 64 hex digits."""
    ledger: str | None
    """The sequence root of its ledger; None where no manifest has one."""
    section_tokens: int
    num_rows: int
    num_tokens: int
    sections: tuple[ListedSection, ...]


def section_folder(folder: Path, number: int) -> Path:
    return folder / f"section-{number:06d}"


def array_path(section: Path, name: str) -> Path:
    return section / f"{name}.npy"


def record_bytes(record: SectionRecord | IndexRecord) -> bytes:
    return seal({"format": FORMAT, **to_json(record)})


def read_index_record(path: Path, kind: type[Record]) -> Record:
    """Read a sealed record. Raises: MismatchError when it is damaged, or of another format."""
    try:
        data = read_file(path)
        content: dict[str, Any] = parse_json(data)
        written = content.pop("format")
        if written == FORMAT:
            del content["digest"]
            record = from_json(kind, content)
            if record_bytes(record) != data:
                raise ValueError("its digest does not match its content")
            return record
    except OSError as error:
        raise MismatchError(f"{path}: cannot be read: {error.strerror}", HINT) from error
    except ValueError as error:
        raise MismatchError(f"{path}: is damaged: {error}", HINT) from error
    except (AttributeError, KeyError, TypeError) as error:
        raise MismatchError(f"{path}: is damaged: got no record", HINT) from error
    raise MismatchError(f"{path}: got the format {written!r}, expected {FORMAT}", HINT)


def damaged_files(section: Path, listed: ListedSection) -> list[Path]:
    """Return the files of a section that are missing or have other bytes than are listed.

    Of those that are as `section.json` says that they were synced, none is read.
    """
    saved: Mapping[str, FileDigest] = listed.files
    try:
        record = read_index_record(section / SECTION, SectionRecord)
        if record.listed() == listed:
            saved = record.files
    except MismatchError:
        pass
    return [
        array_path(section, name)
        for name in ARRAYS
        if not _is_intact(array_path(section, name), saved.get(name))
    ]


def _is_intact(path: Path, file: FileDigest | None) -> bool:
    if file is None:
        return False
    try:
        if isinstance(file, SavedFile):
            return file.find(path, hashes_all=False) is not None
        return file.matches(path)
    except OSError:
        return False


def map_section(section: Path) -> Section:
    """Map the files of a section. Raises: MismatchError for one that numpy cannot read."""
    return Section.of({name: _map(array_path(section, name)) for name in ARRAYS})


def _map(path: Path) -> NDArray[Any]:
    try:
        mapped: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise MismatchError(f"{path}: cannot be read: {error}", HINT) from error
    return mapped.view(np.ndarray)
