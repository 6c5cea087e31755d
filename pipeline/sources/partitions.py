"""Partitions: the input files of a source, sorted, each a partition or some in a row together.

A file's name, changed as in the published preparation, names the folder of its shards, so two files
of one name are an error and never a silent overwrite.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path, PurePosixPath
from typing import Literal
from unicodedata import category, normalize
from urllib.parse import unquote, urlsplit

from pipeline.core.errors import InputError
from pipeline.storage import StoredFile, match_files

_PACKINGS = (".gz", ".zstd", ".zst", ".xz", ".bz2", "")
_PACKED_KINDS = ("jsonl", "json", "txt", "md", "csv", "tsv", "mds")
ARCHIVE = ".jsonl.tar.gz"
"""Of tar archives of JSON lines, as published pools have them."""
# Longest first. Only `.json.gz` is from the published scripts; the others follow its example.
SUFFIXES = (
    ARCHIVE,
    *(f".{kind}{packing}" for kind in _PACKED_KINDS for packing in _PACKINGS),
    ".parquet",
    ".arrow",
)
"""Of all kinds of files that are read."""
# With what chunk folders and temporary files add, a name stays below a file system's 255 bytes.
_MOST_NAME_BYTES = 150
_SAFE = re.compile(r"\w[\w.=+@,~()\[\] -]*")


@dataclass(frozen=True, kw_only=True, slots=True)
class InputFile:
    """One file of a source."""

    path: Path
    declared: str
    """Its path relative to the mixture's folder, with forward slashes, or its address."""
    partition: str
    """The file name less its suffix, hyphens turned to underscores but of an archive: the name of
    its partition, if it has one of its own, and of its documents that have no id."""
    kind: str
    """The suffix that says how it is read, in lower case, such as `.json.gz`."""
    num_bytes: int | None = None
    """None unless its origin was asked."""

    @property
    def is_one_document(self) -> bool:
        """Whether the whole file is one, as a file of text is."""
        return self.kind.split(".")[1] in ("txt", "md")


def name_partitions(
    source: str,
    files: Sequence[tuple[str, Path, StoredFile | None]],
    rule: Literal["name", "path"],
) -> list[InputFile]:
    """Name the partition of each file, and sort the files by it. Pure.

    files: (declared path, path, origin's entry). By the rule `path` a partition has the name of the
    path below the longest folder that all files share, each slash turned to an equals sign.

    Raises: InputError when a file is of no known kind, has a name that no folder can have, or two
    files would share a partition.
    """
    paths = [_path(source, declared) for declared, _, _ in files]
    shared = _shared_folder(paths) if rule == "path" else ()
    by_partition: dict[str, InputFile] = {}
    for path, (declared, lies, known) in zip(paths, files, strict=True):
        name = "=".join(path.parts[len(shared) :]) if rule == "path" else path.name
        kind = kind_of(f"sources.{source}", declared, path.name)
        file = InputFile(
            path=lies,
            declared=declared,
            partition=_partition(source, declared, name, kind),
            kind=kind,
            num_bytes=known.num_bytes if known else None,
        )
        other = by_partition.setdefault(file.partition, file)
        if other.path != file.path:
            one, two = sorted((other.declared, file.declared))
            raise InputError(
                f'sources.{source}: "{one}" and "{two}" would both be partition "{file.partition}"',
                "name partitions by path, with `partition: path`, or make two sources of them"
                if rule == "name"
                else "rename one file, or make two sources of them",
            )
    return [by_partition[partition] for partition in sorted(by_partition)]


def group_files(
    files: Sequence[InputFile], files_per_partition: int
) -> dict[str, tuple[InputFile, ...]]:
    """Return the files of each partition by its name, in order. Pure.

    files: sorted. Where a partition may have several, it has the numbers of the first and the last
    as its name.
    """
    if files_per_partition == 1:
        return {file.partition: (file,) for file in files}
    starts = range(0, len(files), files_per_partition)
    groups = [tuple(files[start : start + files_per_partition]) for start in starts]
    return {
        f"files_{start:08d}_to_{start + len(group) - 1:08d}": group
        for start, group in zip(starts, groups, strict=True)
    }


def _path(source: str, declared: str) -> PurePosixPath:
    if not declared.isprintable():
        raise InputError(
            f"sources.{source}: got path {declared!r}, expected one that can be printed",
            "rename the file or its folder",
        )
    if "://" not in declared:
        return PurePosixPath(declared)
    # What follows a question mark is not part of a name, except on the Hub.
    parts = urlsplit(declared)
    is_web = parts.scheme in ("http", "https")
    return PurePosixPath(parts.netloc + unquote(parts.path) if is_web else declared)


def _shared_folder(paths: Sequence[PurePosixPath]) -> tuple[str, ...]:
    levels = zip(*(path.parent.parts for path in paths), strict=False)
    return tuple(names[0] for names in takewhile(lambda names: len(set(names)) == 1, levels))


def kind_of(where: str, declared: str, name: str) -> str:
    """Return the suffix that says how a file is read. Raises: InputError for any other."""
    kind = next((suffix for suffix in SUFFIXES if name.lower().endswith(suffix)), None)
    if kind is None:
        raise InputError(
            f"{where}: got {declared}, expected a file that ends in one of "
            + ", ".join(sorted(SUFFIXES)),
            "name the files of the source with a narrower pattern",
        )
    return kind


def _partition(source: str, declared: str, name: str, kind: str) -> str:
    # One spelling of each letter, since two would be one folder on some systems.
    stem = name[: -len(kind)]
    # An archive is a published partition already, and has its name.
    partition = normalize("NFC", stem if kind == ARCHIVE else stem.replace("-", "_"))
    # Vowels and accents that stay apart from their letter are marks.
    letters = "".join(letter for letter in partition if category(letter)[0] != "M")
    if not _SAFE.fullmatch(letters) or len(partition.encode()) > _MOST_NAME_BYTES:
        raise InputError(
            f'sources.{source}: got file name "{name}", expected one that can name a folder '
            "(letters, digits and _ . = + @ , ~ ( ) [ ] space; at most 150 bytes; first a letter,"
            " a digit or _)",
            "rename the file"
            if "://" not in declared
            else f"it is {declared}: leave it out with a "
            "narrower pattern, or pull it, give it another name, and list it with `path:`",
        )
    return partition


def list_files(
    source: str,
    patterns: Sequence[str],
    folder: Path,
    rule: Literal["name", "path"] = "name",
) -> list[InputFile]:
    """List the files of a source, sorted by partition; none is opened.

    Raises: InputError when a pattern matches nothing, and as `name_partitions` does.
    """
    matched = match_files(f"sources.{source}.from.path", patterns, folder)
    return name_partitions(source, [(*one, None) for one in matched.files], rule)
