"""File groups: the files of an argument -> sources, each of files that are read alike. Pure.

A folder or a pattern may reach files of several kinds; each kind becomes a source of its own.
Other files in the same folders, such as the card of a data set, are left out and named.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from pathlib import PurePosixPath
from typing import Final
from unicodedata import normalize

from pipeline.config import SOURCE_NAME, Origin
from pipeline.core.errors import InputError
from pipeline.sources import ARCHIVE, SUFFIXES, InputFile
from pipeline.storage import RemoteStore, StoredFile

_FAMILIES: Final = {"json": "jsonl", "md": "txt"}
_WORDS: Final = {
    "jsonl": "JSON", "txt": "text", "csv": "CSV", "tsv": "TSV", "mds": "MDS shards",
    "parquet": "parquet", "arrow": "Arrow", "tar": "tar archives of JSON lines",
}  # fmt: skip
_PACKINGS: Final = (".gz", ".zst", ".zstd", ".xz", ".bz2")
KNOWN_KINDS: Final = (
    ", ".join(sorted(one for one in SUFFIXES if not one.endswith(_PACKINGS)))
    + f" (all but .arrow and .parquet also packed: {', '.join(_PACKINGS)}) or {ARCHIVE}"
)
"""Which files are read, for people."""
# What libraries put next to shards, and people next to data.
_BESIDE_SHARDS: Final = ("index.json", "dataset_info.json", "dataset_dict.json", "state.json")
_BESIDE_DATA: Final = re.compile(
    r"(readme|licen[cs]e|changelog|contributing|notice|citation)\b.*\.(md|txt)", re.IGNORECASE
)
_SERIES_END: Final = re.compile(r"[\d._-]+(of[\d._-]+)?$")
# Each partition is a task and two folders of shards. Sixteen still use the cores of most machines.
_MANY_FILES, _SMALL_BYTES = 100, 1 << 20
_FEWEST_PARTITIONS, _PARTITION_BYTES = 16, 32 << 20
_MOST_NAME: Final = 60


@dataclass(frozen=True, kw_only=True, slots=True)
class FileGroup:
    """Files that become one source."""

    name: str
    """The source's name, unique among the groups of a mixture."""
    origin: Origin
    """Where they are, as the mixture will say; text and id are not looked at yet."""
    files: tuple[InputFile, ...]
    """Sorted by partition, with their sizes."""
    store: RemoteStore | None = None
    """None for files on this machine."""
    stored: Mapping[str, StoredFile] = field(default_factory=dict)
    """Of a store, the entry of each file by its declared path."""

    @property
    def num_bytes(self) -> int:
        return sum(file.num_bytes or 0 for file in self.files)

    @property
    def kinds(self) -> tuple[str, ...]:
        return tuple(sorted({file.kind for file in self.files}))

    @property
    def is_text(self) -> bool:
        """Whether each file is one document, whatever fields there are."""
        return all(file.is_one_document for file in self.files)


def suffix_of(name: str) -> str | None:
    """Return the suffix that says how a file is read, in lower case; None for any other."""
    return next((suffix for suffix in SUFFIXES if name.lower().endswith(suffix)), None)


def family_of(name: str) -> str | None:
    """Return what files of one source have in common; None where it is of no known kind."""
    suffix = suffix_of(name)
    if suffix is None:
        return None
    first = suffix.split(".")[1]
    return "tar" if suffix == ARCHIVE else _FAMILIES.get(first, first)


def words_of(family: str) -> str:
    return _WORDS[family]


def by_family(paths: Iterable[str]) -> tuple[dict[str, list[str]], list[str]]:
    """Return paths by family, sorted, and those that are no data."""
    families: defaultdict[str, list[str]] = defaultdict(list)
    left_out = []
    for path in sorted(paths):
        family = family_of(path)
        if family is None:
            left_out.append(path)
        else:
            families[family].append(path)
    found = dict(sorted(families.items()))
    if found.keys() & {"mds", "arrow", "parquet"}:
        _leave_out(found, "jsonl", left_out, lambda name: name in _BESIDE_SHARDS)
    if len(found) > 1:
        _leave_out(found, "txt", left_out, lambda name: bool(_BESIDE_DATA.fullmatch(name)))
    return found, sorted(left_out)


def _leave_out(
    families: dict[str, list[str]],
    family: str,
    left_out: list[str],
    is_beside: Callable[[str], bool],
) -> None:
    paths = families.get(family, [])
    beside = [path for path in paths if is_beside(PurePosixPath(path).name)]
    kept = [path for path in paths if path not in beside]
    left_out += beside
    if kept:
        families[family] = kept
    else:
        families.pop(family, None)


def folder_patterns(folder: str, paths: Sequence[str]) -> list[str]:
    """Return globs of files below a folder, by their suffixes.

    folder: empty for the mixture's own, where the globs must not reach later outputs; paths: below
    it.
    """
    suffixes = sorted({path[-len(suffix_of(path) or "") :] for path in paths})
    tops = sorted({path.split("/")[0] for path in paths if "/" in path})
    is_flat = not tops
    prefix = f"{folder}/" if folder else ""
    if is_flat:
        return [f"{prefix}*{suffix}" for suffix in suffixes]
    if folder:
        return [f"{prefix}**/*{suffix}" for suffix in suffixes]
    return [f"*{suffix}" for suffix in suffixes if any(_is_top(path, suffix) for path in paths)] + [
        f"{top}/**/*{suffix}"
        for top in tops
        for suffix in suffixes
        if any(path.startswith(f"{top}/") and path.endswith(suffix) for path in paths)
    ]


def _is_top(path: str, suffix: str) -> bool:
    return "/" not in path and path.endswith(suffix)


def glob_patterns(pattern: str, paths: Sequence[str]) -> list[str]:
    """Return a pattern narrowed to the suffixes of some of the files that it reaches."""
    suffixes = sorted({path[-len(suffix_of(path) or "") :] for path in paths})
    if pattern.endswith("**"):
        pattern += "/*"
    return [f"{pattern}{suffix}" for suffix in suffixes] if pattern.endswith("*") else []


def series_of(path: str) -> str:
    """Return what the names of a series of files have in common: the path less numbers at its end.

    Texts of one folder are a series, whatever they are called.
    """
    suffix = suffix_of(path) or ""
    folder, slash, name = path.rpartition("/")
    if suffix.split(".")[1] in ("txt", "md"):
        return folder
    stem = name[: len(name) - len(suffix)]
    return f"{folder}{slash}{_SERIES_END.sub('', stem) or stem}"


def stem_of(path: str) -> str:
    """Return the name of a file without its suffix."""
    name = PurePosixPath(path).name
    return name[: len(name) - len(suffix_of(name) or "")]


def source_name(wanted: str, taken: Collection[str]) -> str:
    """Return a name that a source can have, made from any text, and unlike those taken."""
    plain = normalize("NFKD", wanted).encode("ascii", "ignore").decode()
    plain = re.sub(r"\.{2,}", ".", re.sub(r"[^A-Za-z0-9._-]+", "-", plain))
    plain = plain.strip("-._")[:_MOST_NAME].rstrip("-._")
    if not SOURCE_NAME.matches(plain):
        plain = "source"
    name, number = plain, 1
    while name in taken:
        number += 1
        name = f"{plain}-{number}"
    return name


def files_per_partition(files: Sequence[InputFile]) -> int:
    """Return how many files make a partition: one, unless there are many small ones.

    More than 100 files of less than 1 MiB on average make partitions of about 32 MiB, of which
    there are 16 at least.
    """
    num_bytes = sum(file.num_bytes or 0 for file in files)
    if len(files) <= _MANY_FILES or num_bytes >= len(files) * _SMALL_BYTES:
        return 1
    return ceil(len(files) / max(_FEWEST_PARTITIONS, ceil(num_bytes / _PARTITION_BYTES)))


def refuse_unknown(argument: str, left_out: Sequence[str]) -> InputError:
    """Return the error for an argument without any file that is read."""
    shown = ", ".join(left_out[:3]) + (", …" if len(left_out) > 3 else "")
    got = f"no file of a known kind ({shown})" if left_out else "no file"
    return InputError(
        f"{argument}: got {got}, expected {KNOWN_KINDS}",
        "convert the files, or name others; docs/guide/custom-mixture.md says how each is read",
    )


def named_twice(path: str, one: str, other: str) -> InputError:
    """Return the error for a file that two arguments name."""
    return InputError(
        f"{path}: got a file that both {one} and {other} name, expected one of them: its documents"
        " would count twice",
        "leave out one of the two arguments, or use a narrower glob",
    )
