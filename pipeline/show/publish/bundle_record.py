"""`bundle.json`: what a bundle has, file by file, sealed with its own digest."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

from pipeline.core.digest import FileDigest
from pipeline.core.errors import InputError
from pipeline.core.json_record import stored_fields
from pipeline.core.regular_file import read_file
from pipeline.dataset import parse_sealed, seal
from pipeline.show.publish.sign import ATTRIBUTES, CLIENT, SIGNATURE

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
# The Hub's client keeps the listing of a commit under the commit's name.
_TREE: Final = re.compile(re.escape(CLIENT) + r"/trees/[0-9a-f]{40}\.json")


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


def unknown_paths(folder: Path, record: BundleRecord) -> list[str]:
    """Return the paths below a bundle that neither we nor the Hub's client wrote, sorted.

    A link is never ours, wherever it leads. Raises: OSError for a folder that cannot be read.
    """
    ours = {*record.files, BUNDLE, SIGNATURE, ATTRIBUTES}
    known = {*ours, *_client_files(ours)}
    return sorted(
        name
        for name in _paths(folder)
        if (name not in known and not _TREE.fullmatch(name))
        or (name not in record.files and (folder / name).is_symlink())
    )


def _paths(folder: Path) -> Iterator[str]:
    """Yield all that is no folder, below a folder; a link to a folder is a path, too."""

    def fail(error: OSError) -> None:
        raise error

    for above, folders, files in os.walk(folder, onerror=fail):
        at = Path(above)
        links = [name for name in folders if (at / name).is_symlink()]
        yield from ((at / name).relative_to(folder).as_posix() for name in (*files, *links))


def _client_files(names: Iterable[str]) -> Iterator[str]:
    """Yield what the Hub's client writes where it downloads or uploads files, but for listings.

    Source: `huggingface_hub/_local_folder.py` of huggingface_hub.
    """
    yield from (f"{CLIENT}/{name}" for name in ("CACHEDIR.TAG", ".gitignore", ".gitignore.lock"))
    for name in names:
        for kind in ("download", "upload"):
            yield from (f"{CLIENT}/{kind}/{name}{end}" for end in (".metadata", ".lock"))
