"""`bundle.json`: what a bundle has, file by file, sealed with its own digest."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

from pipeline.core.digest import FileDigest
from pipeline.core.errors import InputError
from pipeline.core.json_record import stored_fields
from pipeline.core.regular_file import read_file
from pipeline.dataset import parse_sealed, seal

BUNDLE: Final = "bundle.json"
CARD: Final = "README.md"
CITATION: Final = "CITATION.cff"
CROISSANT: Final = "croissant.json"
LEDGER: Final = "ledger.json"
LICENCES: Final = "LICENSES"
LICENCE_TABLE: Final = "LICENSE.md"
LOCK: Final = "lock.json"
MIXTURE: Final = "mixture.yaml"
REPORT: Final = "report.html"
SUMMARY: Final = "training-summary"
"""As `.md` and as `.json`."""
_FORMAT: Final = "ettin-bundle-v1"


@dataclass(frozen=True, kw_only=True, slots=True)
class BundleRecord:
    """The files of a bundle, but for itself and a signature."""

    FORMAT: ClassVar = _FORMAT
    code: str
    manifest: str
    """The digest that the manifest ends with."""
    files: Mapping[str, FileDigest]

    def paths(self) -> Iterable[str]:
        return self.files

    @property
    def num_bytes(self) -> int:
        return sum(one.num_bytes for one in self.files.values())


def write_record(folder: Path, record: BundleRecord) -> None:
    (folder / BUNDLE).write_bytes(seal({"format": _FORMAT, **stored_fields(record)}))


def is_bundle(folder: Path) -> bool:
    """Tell whether a folder has the record of a bundle, damaged or not."""
    try:
        return f'"{_FORMAT}"'.encode() in read_file(folder / BUNDLE)
    except OSError:
        return False


def read_record(folder: Path) -> BundleRecord:
    """Raises: InputError where there is no bundle; MismatchError for a damaged record."""
    try:
        data = read_file(folder / BUNDLE)
    except OSError as error:
        raise InputError(
            f"{folder}: got no {BUNDLE} ({error.strerror}), expected a bundle",
            "ettin-data bundle DIR --out FOLDER makes one",
        ) from error
    return parse_sealed(data, BUNDLE, {_FORMAT: BundleRecord}, lambda _: None)
