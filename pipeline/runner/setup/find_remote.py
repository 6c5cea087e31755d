"""Find remote: addresses of a command line -> groups of files that a store lists.

On the Hub and in object stores an address may name a file, a folder or a glob; a web host cannot be
listed, so there it names files, with `{0000..0274}` for many.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, Literal

from pipeline.config import Origin
from pipeline.core.errors import InputError, NoMatchError
from pipeline.core.shown import without_secrets
from pipeline.runner.setup.file_groups import (
    FileGroup,
    by_family,
    family_of,
    files_per_partition,
    folder_patterns,
    glob_patterns,
    refuse_unknown,
    series_of,
    source_name,
)
from pipeline.sources import InputFile, name_partitions
from pipeline.storage import (
    RemoteStore,
    StoredFile,
    is_hub_address,
    match_paths,
    open_remote_store,
    parse_hub_address,
)

_ADDRESS: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://.+")
_MAGIC: Final = re.compile(r"[*?\[]")
_WEB: Final = ("http://", "https://")


def is_address(argument: str) -> bool:
    """Return whether this names files elsewhere."""
    return _ADDRESS.fullmatch(argument) is not None


def find_remote(address: str, taken: Collection[str]) -> tuple[list[FileGroup], list[str]]:
    """Return a group for each kind of file at an address, and what was left out.

    Raises: InputError for what is not there, may not be read, or is of no known kind;
    NetworkError; ConfigError where an extra is missing that reads such addresses.
    """
    origin, store, stored = _open_hub(address) if is_hub_address(address) else _open_url(address)
    by_path = {file.path: file for file in stored}
    families, left_out = by_family(by_path)
    if not families:
        raise refuse_unknown(without_secrets(address), left_out)
    base, groups = _base_name(origin, by_path), list[FileGroup]()
    for family, paths in families.items():
        names = [*taken, *(group.name for group in groups)]
        name = source_name(base if len(families) == 1 else f"{base}-{family}", names)
        narrowed = origin if len(paths) == len(by_path) else _narrow(origin, paths, by_path)
        files, rule = _name_files(name, [by_path[path] for path in paths])
        narrowed = replace(narrowed, partition=rule, files_per_partition=files_per_partition(files))
        of_group = {path: by_path[path] for path in paths}
        groups.append(
            FileGroup(name=name, origin=narrowed, files=files, store=store, stored=of_group)
        )
    return groups, left_out


Opened = tuple[Origin, RemoteStore, tuple[StoredFile, ...]]


def _open_hub(address: str) -> Opened:
    name, revision, path = parse_hub_address(address)
    declared = None if "@" not in address else revision
    patterns = [path] if _MAGIC.search(path) else [path, f"{path}/**"] if path else ["**"]
    missing: NoMatchError | None = None
    for pattern in patterns:
        origin = Origin(hub=name, revision=declared, files=(pattern,))
        store = open_remote_store(origin, Path())
        try:
            return origin, store, store.list()
        except NoMatchError as error:
            missing = error
    assert missing is not None
    raise missing


def _open_url(address: str) -> Opened:
    is_folder = not (_MAGIC.search(address) or family_of(address.partition("?")[0]))
    if is_folder and not address.startswith(_WEB):
        address = f"{address.rstrip('/')}/**"
    origin = Origin(url=(address,))
    store = open_remote_store(origin, Path())
    return origin, store, store.list()


def _narrow(origin: Origin, paths: Sequence[str], by_path: Collection[str]) -> Origin:
    """Return an origin of some of the files, by globs if there are some that name no others."""
    if origin.url is not None:
        globs = glob_patterns(origin.url[0], paths)
        return replace(origin, url=tuple(globs or paths))
    pattern = (origin.files or ("**",))[0]
    for patterns in _hub_patterns(pattern, paths):
        try:
            if match_paths("files", patterns, by_path) == sorted(paths):
                return replace(origin, files=tuple(patterns))
        except InputError:
            continue
    return replace(origin, files=tuple(paths))


def _hub_patterns(pattern: str, paths: Sequence[str]) -> Iterator[list[str]]:
    folder = pattern.removesuffix("**").rstrip("/")
    if not _MAGIC.search(folder):
        below = [path.removeprefix(f"{folder}/") if folder else path for path in paths]
        yield folder_patterns(folder, below)
    yield glob_patterns(pattern, paths)


def _base_name(origin: Origin, paths: Collection[str]) -> str:
    if origin.hub is not None:
        return origin.hub.rpartition("/")[2]
    if len(paths) == 1:
        return series_of(without_secrets(next(iter(paths)))).rpartition("/")[2]
    address = without_secrets((origin.url or ("",))[0])
    fixed = re.split(r"[*?\[{]", address)[0]
    last = fixed.rstrip("/").rpartition("/")[2].strip("-_. ")
    return last or "source"


def _name_files(
    name: str, stored: Sequence[StoredFile]
) -> tuple[tuple[InputFile, ...], Literal["name", "path"]]:
    listed = [(file.path, Path(file.path.rpartition("/")[2]), file) for file in stored]
    try:
        return tuple(name_partitions(name, listed, "name")), "name"
    except InputError:
        return tuple(name_partitions(name, listed, "path")), "path"
