"""Evidence: what lies at a place, by path in the repository that it is compared with.

A place is a lock, a folder on this machine (a pool, an output, shards), or a folder on the Hub, of
which only lists and small files are read.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from pipeline.audit.attest.facts import Fact
from pipeline.core.arrays import Int64Array
from pipeline.core.digest import sha256_file
from pipeline.core.errors import ConfigError, InputError, MismatchError
from pipeline.core.json_record import parse_json
from pipeline.core.regular_file import read_file
from pipeline.dataset.mds import INDEX_NAME, PACKINGS, IndexEntry, Pool, packed_shard, parse_index
from pipeline.sources import ARCHIVE, POOL, read_lock
from pipeline.storage import is_hub_address, open_hub_folder, parse_hub_address, reach_files

# More than any index of the suite; small files are read whole.
_MOST_READ = 64 << 20
_PIECE_BYTES = 1 << 20
_SHARDS = (".mds", *(f".mds{packing}" for packing in PACKINGS))


class DamagedError(InputError):
    """A small file is not what its name says."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Files by path, with what is known of each without reading shards; more on demand."""

    where: str
    repo: str | None
    """The repository that the place says it is."""
    sizes: Mapping[str, int]
    digests: Mapping[str, str] = field(default_factory=dict)
    """sha256 in hex, of those files whose list says it."""
    revision: str | None = None
    """The commit, if it is one of the repository."""
    folder: Path | None = None
    """Where the files lie, if on this machine."""
    fetch: Callable[[str], bytes] | None = field(default=None, repr=False)
    """Reads a small file that lies elsewhere."""
    prefix: str = ""
    """What comes before a path of the place in the repository."""
    lists_all: bool = False
    """Whether all that the repository has below `prefix` is listed, not what somebody chose."""
    too_large: set[str] = field(default_factory=set, init=False, repr=False)
    """Files that were not read for their size; grows."""
    _records: dict[str, Any] = field(default_factory=dict, init=False, repr=False)
    _indexes: dict[str, list[IndexEntry] | None] = field(
        default_factory=dict, init=False, repr=False
    )

    def partitions(self) -> list[str]:
        """Return the folders of shards, and archives without their suffix, sorted."""
        return sorted(
            {
                path.removesuffix(ARCHIVE) if path.endswith(ARCHIVE) else _parent(path)
                for path in self.sizes
                if path.endswith((*_SHARDS, ARCHIVE))
            }
        )

    def has_folder(self, path: str) -> bool:
        return path in self._folders

    @cached_property
    def _folders(self) -> set[str]:
        return {str(one) for path in self.sizes for one in PurePosixPath(path).parents}

    def is_due(self, path: str) -> bool:
        """Whether the place should have what is published at a path.

        That is all below the part of a repository that is listed whole; elsewhere, where somebody
        may have taken a part, the shards of a folder on this machine that has their index.
        """
        if self.lists_all:
            return path.startswith(self.prefix)
        index = (PurePosixPath(path).parent / INDEX_NAME).as_posix()
        return self.folder is not None and path.endswith(".mds") and index in self.sizes

    def packed(self, path: str) -> str | None:
        """Return the path of a shard that lies compressed in place of one."""
        return next((path + one for one in PACKINGS if path + one in self.sizes), None)

    def record(self, path: str) -> dict[str, Any] | None:
        """Return a small JSON object; None if it is not there or cannot be read here.

        Raises: DamagedError when it holds something else.
        """
        if path not in self._records:
            data = self._read(path)
            try:
                record = None if data is None else parse_json(data)
            except ValueError as error:
                raise DamagedError(f"{self._where(path)}: got no JSON: {error}") from error
            if data is not None and not isinstance(record, dict):
                raise DamagedError(f"{self._where(path)}: got no JSON object")
            self._records[path] = record
        found: dict[str, Any] | None = self._records[path]
        return found

    def index(self, path: str) -> list[IndexEntry] | None:
        """Return the shards that an index lists; None if it is not there or cannot be read here.

        Raises: DamagedError when it is no index.
        """
        if path not in self._indexes:
            data = self._read(path)
            try:
                self._indexes[path] = None if data is None else parse_index(data, self._where(path))
            except InputError as error:
                raise DamagedError(error.message) from error
        return self._indexes[path]

    def _read(self, path: str) -> bytes | None:
        """Return the content of a file. Raises: InputError when it cannot be read."""
        if path not in self.sizes:
            return None
        if self.sizes[path] > _MOST_READ:
            self.too_large.add(path)
            return None
        if self.folder is None:
            return None if self.fetch is None else self.fetch(path.removeprefix(self.prefix))
        try:
            return read_file(self._own(path))
        except OSError as error:
            raise InputError(
                f"{self._own(path)}: got {error.strerror}, expected a file that can be read",
                "restore it",
            ) from error

    def _own(self, path: str) -> Path:
        assert self.folder is not None
        return self.folder / path.removeprefix(self.prefix)

    def _where(self, path: str) -> str:
        return f"{self.where}/{path.removeprefix(self.prefix)}"

    def sha256(self, path: str) -> str | None:
        """Return the digest of a file, read from disk if no list says it."""
        if path in self.digests or self.folder is None:
            return self.digests.get(path)
        return sha256_file(self._own(path))

    def unpacked(self, path: str) -> tuple[int, str] | None:
        """Return size and sha256 of a shard that lies compressed, unpacked; None if not here.

        Raises: DamagedError when it cannot be unpacked.
        """
        if self.folder is None:
            return None
        shard = packed_shard(self._own(path), 0)
        assert shard is not None
        try:
            with closing(shard.fetch()) as file:
                digest = hashlib.sha256()
                while piece := file.read(_PIECE_BYTES):
                    digest.update(piece)
                return file.tell(), digest.hexdigest()
        except InputError as error:
            raise DamagedError(error.message) from error

    def lengths(self, partition: str) -> Int64Array | None:
        """Return the ids of each row of a folder of shards: int64 [num_rows]; None if not here.

        Raises: DamagedError for rows that cannot be read.
        """
        index = f"{partition}/{INDEX_NAME}"
        if self.folder is None or self.index(index) is None:
            return None
        try:
            return Pool.open(self._own(index).parent).lengths()
        except InputError as error:
            raise DamagedError(error.message) from error


def gather(where: str, facts: Mapping[str, tuple[Fact, ...]], repo: str | None) -> list[Evidence]:
    """Return what lies at a place, for each repository that it has files of.

    repo: the repository that it stands for, where it does not say so itself.

    Raises: InputError when there is nothing at the place, or it cannot be listed; ConfigError for a
    repository of which nothing is known.
    """
    if repo is not None and repo not in facts:
        raise ConfigError(
            f"--as {repo}: nothing is known of it",
            f"name one of {', '.join(sorted(facts))}",
        )
    if is_hub_address(where):
        found = [_of_hub(where)]
    elif Path(where).is_file():
        found = _of_lock(Path(where))
    elif Path(where).is_dir():
        found = [_of_folder(Path(where))]
    else:
        raise InputError(
            f"{where}: not found, expected a lock, a folder, or hf://datasets/ORG/NAME[/PATH]",
            "check the path",
        )
    return [_placed(one, facts, repo) for one in found]


def _of_hub(where: str) -> Evidence:
    folder = open_hub_folder(where)
    repo, _, path = parse_hub_address(folder.where)
    prefix = f"{path}/" if path else ""
    return Evidence(
        where=folder.where,
        repo=repo,
        sizes={prefix + own: size for own, size in folder.num_bytes.items()},
        digests={prefix + own: digest for own, digest in folder.sha256.items()},
        revision=folder.commit,
        fetch=folder.read,
        prefix=prefix,
        lists_all=not folder.is_file,
    )


def _of_lock(path: Path) -> list[Evidence]:
    try:
        sources = read_lock(path).sources
    except MismatchError as error:
        raise InputError(
            f"{path}: got a file that is no lock, or a damaged one ({error.message})",
            "name a lock, or the folder that holds shards",
        ) from error
    found = []
    for name, source in sources.items():
        if source.origin.hub is not None:
            hexes = {one.path: one.digest.removeprefix("sha256:") for one in source.files}
            found.append(
                Evidence(
                    where=f"{path}: {name}" if name != POOL else str(path),
                    repo=source.origin.hub,
                    sizes={one.path: one.num_bytes for one in source.files},
                    digests={one: hex_ for one, hex_ in hexes.items() if len(hex_) == 64},
                    revision=source.revision,
                )
            )
    if not found:
        raise InputError(
            f"{path}: got no source on the Hub, of which alone something is known",
            "give a lock of published data",
        )
    return found


def _of_folder(folder: Path) -> Evidence:
    reached = reach_files(folder, "**")
    for path, reason in reached.unreadable.items():
        raise InputError(
            f"{path}: {reason}; expected folders and files that can be read",
            "restore it, or name a folder without it",
        )
    sizes = {path.relative_to(folder).as_posix(): path.stat().st_size for path in reached.files}
    if not any(path.endswith((*_SHARDS, ARCHIVE)) for path in sizes):
        raise InputError(
            f"{folder}: got neither shards nor archives, expected a pool, an output, or shards",
            "name the folder that holds them",
        )
    return Evidence(where=str(folder), repo=None, sizes=sizes, folder=folder.resolve())


def _placed(
    evidence: Evidence, facts: Mapping[str, tuple[Fact, ...]], repo: str | None
) -> Evidence:
    """Say which repository evidence is of, and where in it, by the paths that facts are of."""
    named = repo or evidence.repo
    if evidence.folder is None:
        # A copy may have a part of what it stands for.
        is_itself = repo is None or repo == evidence.repo
        return evidence if is_itself else replace(evidence, repo=repo, lists_all=False)
    places = [
        (_rank(evidence, facts[one], prefix), one, prefix)
        for one in ([named] if named else facts)
        if one in facts
        for prefix in _prefixes(evidence.folder)
    ]
    nothing = (False, 0, 0)
    most, best, prefix = max(places, key=lambda place: place[0], default=(nothing, named, ""))
    if most == nothing:
        return replace(evidence, repo=named)
    sizes = {prefix + path: size for path, size in evidence.sizes.items()}
    return replace(evidence, repo=best, sizes=sizes, prefix=prefix)


def _prefixes(folder: Path) -> list[str]:
    """Return what a folder may be called in its repository: by its last parts, or below a split."""
    parts = folder.parts[1:]
    names = ["/".join(parts[len(parts) - count :]) for count in range(min(len(parts), 4) + 1)]
    splits = [f"{split}/{name}" for split in ("train", "validation") for name in names]
    whole = [name.strip("/") for name in dict.fromkeys([*names, *splits])]
    return [f"{name}/" if name else "" for name in whole]


def _rank(evidence: Evidence, facts: Iterable[Fact], prefix: str) -> tuple[bool, int, int]:
    """Return whether facts are known under a prefix that ends as the folder does, and how many.

    Those are of files that are there, and of folders.
    """
    files = {prefix + path for path in evidence.sizes}
    folders = {_parent(path) for path in files}
    paths = [fact.path for fact in facts]
    num_files = sum(path in files for path in paths)
    num_folders = sum(path in folders or _parent(path) in folders for path in paths)
    assert evidence.folder is not None
    is_named = PurePosixPath(prefix).name == evidence.folder.name
    return is_named and num_files + num_folders > 0, num_files, num_folders


def _parent(path: str) -> str:
    parent = PurePosixPath(path).parent.as_posix()
    return "" if parent == "." else parent
