"""Local files: glob patterns of a source -> its partitions, in one order.

One input file is one partition. Its name, with what the published preparation does to it, names the
folder of its shards, so two files of one name are an error and never a silent overwrite.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import InputError
from pipeline.files import sorted_glob

# Longest first. Only `.json.gz` is from the published scripts; the others follow its example.
_SUFFIXES = tuple(
    f".{kind}{packing}"
    for kind in ("jsonl", "json", "txt", "parquet")
    for packing in (".gz", ".zstd", ".zst", "")
    if not (kind == "parquet" and packing)
)
# With what chunk folders and temporary files add, a name stays below a file system's 255 bytes.
_SAFE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.=+@,~ -]{0,149}")


@dataclass(frozen=True, kw_only=True, slots=True)
class InputFile:
    """One file of a source."""

    path: Path
    """Where it lies."""
    declared: str
    """Its path as the mixture would write it: relative to its folder, with forward slashes."""
    partition: str
    """The name of its partition: the file name less its suffix, hyphens turned to underscores."""
    kind: str
    """The suffix that says how it is read, such as `.json.gz`."""


def list_files(source: str, patterns: tuple[str, ...], folder: Path) -> list[InputFile]:
    """List the files of a source, sorted by partition.

    Raises: InputError when a pattern matches nothing, a file is of no known kind, or two files
    would share a partition.
    """
    by_partition: dict[str, InputFile] = {}
    for pattern in patterns:
        try:
            paths = sorted_glob(folder, pattern)
        except (ValueError, OSError) as error:
            reason = getattr(error, "strerror", None) or error
            raise InputError(
                f'sources.{source}.from.path: "{pattern}" cannot be listed: {reason}',
                "write a glob such as data/**/*.json.gz",
            ) from error
        if not paths:
            raise InputError(
                f'sources.{source}.from.path: "{pattern}" matches no file below {folder}',
                "paths are relative to the mixture file; check the spelling, or pull the files",
            )
        for path in paths:
            file = _input_file(source, path, folder)
            other = by_partition.setdefault(file.partition, file)
            if other.path != file.path:
                raise InputError(
                    f'sources.{source}: "{other.declared}" and "{file.declared}" would both be '
                    f'partition "{file.partition}"',
                    "rename one file, or make two sources of them",
                )
    return [by_partition[partition] for partition in sorted(by_partition)]


def _input_file(source: str, path: Path, folder: Path) -> InputFile:
    declared = _declared(path, folder)
    if not declared.isprintable():
        raise InputError(
            f"sources.{source}: got path {declared!r}, expected one that can be printed",
            "rename the file or its folder",
        )
    kind = next((suffix for suffix in _SUFFIXES if path.name.endswith(suffix)), None)
    if kind is None:
        raise InputError(
            f"sources.{source}: got {declared}, expected a file that ends in one of "
            + ", ".join(sorted(_SUFFIXES)),
            "name the files of the source with a narrower pattern",
        )
    partition = path.name.removesuffix(kind).replace("-", "_")
    if not _SAFE.fullmatch(partition):
        raise InputError(
            f'sources.{source}: got file name "{path.name}", expected one that can name a folder '
            "(letters, digits and _ . = + @ , ~ space; at most 150; first a letter, a digit or _)",
            "rename the file",
        )
    return InputFile(path=path, declared=declared, partition=partition, kind=kind)


def _declared(path: Path, folder: Path) -> str:
    # Not resolved: links and `..` stay as the mixture wrote them.
    try:
        return path.relative_to(folder).as_posix()
    except ValueError:
        return path.as_posix()
