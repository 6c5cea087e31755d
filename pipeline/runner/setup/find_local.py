"""Find local: paths, folders and globs of a command line -> groups of files on this machine.

A file is a source, unless its name continues a series (`a-0000.jsonl a-0001.jsonl`, as a shell
expands a glob): then the series is. A folder or a glob is a source for each kind of file in it.
"""

import os
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from glob import has_magic
from itertools import takewhile
from pathlib import Path
from typing import Literal, NamedTuple

from pipeline.config import Origin
from pipeline.core.errors import InputError
from pipeline.runner import refuse_output
from pipeline.runner.setup.file_groups import (
    FileGroup,
    by_family,
    family_of,
    files_per_partition,
    folder_patterns,
    glob_patterns,
    named_twice,
    refuse_unknown,
    series_of,
    source_name,
    stem_of,
)
from pipeline.sources import InputFile, name_partitions
from pipeline.storage import match_files, reach_files


class Found(NamedTuple):
    """What arguments name."""

    groups: list[FileGroup]
    left_out: list[str]
    """Files that are no data, as reached from the current folder."""
    warnings: list[str]
    """About files that cannot be read, or that may be copies of each other."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """Files that are to be one source, and how they may be named in a mixture."""

    arguments: tuple[str, ...]
    """One for all paths, or one for each."""
    name: str
    paths: tuple[str, ...]
    """As reached from the current folder."""
    patterns: tuple[tuple[str, ...], ...]
    """Lists of globs, the shortest first; the first that reaches just these files is taken."""


def find_local(arguments: Sequence[str], folder: Path, taken: Collection[str]) -> Found:
    """Return groups in the order of the arguments, and what was left out.

    folder: that of the mixture, to which its paths are relative; taken: names of other groups.

    Raises: InputError for what is not there, is of no known kind or part of a build's output, for
    names that no partition can have, and for a file that two arguments name.
    """
    found = Found([], [], [])
    every = list(_wanted(arguments, folder, found))
    if len(arguments) > 1:
        found.warnings.extend(_hard_links(every))
    for wanted in every:
        names = [*taken, *(group.name for group in found.groups)]
        found.groups.append(_group(wanted, folder, source_name(wanted.name, names)))
    return found


def _hard_links(every: Sequence[Wanted]) -> Iterator[str]:
    """Yield a warning for each file that has another name in another argument.

    Raises: InputError where both are one path, also by way of links.
    """
    first: dict[tuple[int, int], tuple[str, str]] = {}
    for wanted in every:
        for index, path in enumerate(wanted.paths):
            argument = wanted.arguments[index if len(wanted.arguments) > 1 else 0]
            status = os.stat(path)
            key = status.st_dev, status.st_ino
            if key not in first:
                first[key] = path, argument
                continue
            other, named = first[key]
            if os.path.realpath(other) == os.path.realpath(path):
                raise named_twice(path, named, argument)
            yield f"{path} and {other} are one file (a hard link): its documents count twice"


def _wanted(arguments: Sequence[str], folder: Path, found: Found) -> Iterator[Wanted]:
    series: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    is_file = {argument: Path(argument).is_file() for argument in arguments}
    for argument in filter(is_file.__getitem__, arguments):
        family = family_of(argument)
        if family is None:
            raise refuse_unknown(argument, [argument])
        series[series_of(Path(argument).as_posix()), family].append(argument)
    for argument in arguments:
        if not is_file[argument]:
            yield from _wanted_of_many(argument, folder, found)
            continue
        key = series_of(Path(argument).as_posix()), str(family_of(argument))
        if paths := series.pop(key, None):
            yield _wanted_series(key[0], paths, folder)


def _wanted_series(stem: str, given: Sequence[str], folder: Path) -> Wanted:
    paths = tuple(given)
    as_written = tuple(_declared(path, folder) for path in paths)
    patterns = [as_written]
    if len(paths) > 1:
        names = [Path(path).name for path in paths]
        shared = Path(_declared(paths[0], folder)).parent.as_posix()
        start = "".join(letters[0] for letters in takewhile(_are_equal, zip(*names, strict=False)))
        globs = folder_patterns("" if shared == "." else shared, names)
        patterns.insert(0, tuple(_after_slash(glob, start) for glob in globs))
    name = Path(stem).name or Path(paths[0]).absolute().parent.name
    return Wanted(arguments=paths, name=name, paths=paths, patterns=tuple(patterns))


def _are_equal(letters: Sequence[str]) -> bool:
    return len(set(letters)) == 1


def _after_slash(glob: str, start: str) -> str:
    above, slash, name = glob.rpartition("/")
    return f"{above}{slash}{start}{name}"


def _wanted_of_many(argument: str, folder: Path, found: Found) -> Iterator[Wanted]:
    """Yield what a folder or a glob reaches, a kind at a time."""
    is_folder = Path(argument).is_dir()
    if not is_folder and not has_magic(argument):
        raise InputError(
            f"{argument}: got no such file or folder", "check the spelling, or quote a glob"
        )
    pattern = f"{argument.rstrip('/')}/**" if is_folder else argument
    try:
        reached = reach_files(Path(), pattern)
    except (ValueError, OSError) as error:
        raise InputError(f"{argument}: cannot be listed: {error}") from error
    if reached.unreadable and not reached.files:
        path, reason = next(iter(reached.unreadable.items()))
        raise InputError(f"{argument}: {path} {reason}", "make it readable, or name others")
    families, beside = by_family(str(path) for path in reached.files)
    if not families:
        raise refuse_unknown(argument, beside)
    found.left_out.extend(beside)
    found.warnings.extend(f"left out: {path} {why}" for path, why in reached.unreadable.items())
    base = _base_name(argument, is_folder=is_folder)
    for family, paths in families.items():
        # A file that is alone of its kind has a better name than its folder.
        apart = stem_of(paths[0]) if len(paths) == 1 else f"{base}-{family}"
        yield Wanted(
            arguments=(argument,),
            name=base if len(families) == 1 else apart,
            paths=tuple(paths),
            patterns=tuple(_patterns(argument, paths, folder, is_folder=is_folder)),
        )


def _patterns(
    argument: str, paths: Sequence[str], folder: Path, *, is_folder: bool
) -> Iterator[tuple[str, ...]]:
    declared = _declared(argument, folder)
    if is_folder:
        below = [os.path.relpath(path, argument) for path in paths]
        yield tuple(folder_patterns("" if declared == "." else declared, below))
    else:
        yield (declared,)
        yield tuple(glob_patterns(declared, paths))
    yield tuple(_declared(path, folder) for path in paths)


def _base_name(argument: str, *, is_folder: bool) -> str:
    path = Path(argument)
    if not is_folder:
        fixed = path.name.partition("*")[0].partition("?")[0].partition("[")[0].strip("-_. ")
        if fixed:
            return fixed
        path = next(one for one in (path.parent, *path.parent.parents) if not has_magic(str(one)))
    return path.resolve().name


def _declared(path: str, folder: Path) -> str:
    """Return a path as a mixture in `folder` writes it: relative, unless it was given absolute."""
    here = Path(os.path.abspath(path))
    if here.is_relative_to(folder):
        return here.relative_to(folder).as_posix()
    if Path(path).is_absolute():
        return here.as_posix()
    return Path(os.path.relpath(here, folder)).as_posix()


def _group(wanted: Wanted, folder: Path, name: str) -> FileGroup:
    expected = {os.path.abspath(path) for path in wanted.paths}
    for patterns in filter(None, wanted.patterns):
        matched: tuple[tuple[str, Path], ...] = ()
        # A pattern that reaches what cannot be read would stop a build.
        with suppress(InputError):
            matched = match_files(name, patterns, folder).files
        if {os.path.abspath(path) for _, path in matched} == expected:
            break
    else:
        raise InputError(
            f"{wanted.arguments[0]}: got files that no pattern of a mixture names one by one",
            "rename files or folders whose names have * ? or [ in them",
        )
    files, rule = _name_files(name, matched)
    refuse_output(wanted.arguments[0], patterns, folder, files)
    sized = tuple(replace(file, num_bytes=file.path.stat().st_size) for file in files)
    if not any(file.num_bytes for file in sized):
        what = "an empty file" if len(sized) == 1 else f"{len(sized):,} files, all empty"
        raise InputError(f"{wanted.arguments[0]}: got {what}, expected documents")
    origin = Origin(
        path=tuple(patterns), partition=rule, files_per_partition=files_per_partition(sized)
    )
    return FileGroup(name=name, origin=origin, files=sized)


def _name_files(
    name: str, matched: Sequence[tuple[str, Path]]
) -> tuple[Sequence[InputFile], Literal["name", "path"]]:
    listed = [(declared, path, None) for declared, path in matched]
    try:
        return name_partitions(name, listed, "name"), "name"
    except InputError:
        # Names that recur in several folders are apart by their paths; any other is refused again.
        return name_partitions(name, listed, "path"), "path"
