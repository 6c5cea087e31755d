"""Evidence: what lies at a place, by path in the repository that it is compared with.

A place is a lock, a folder on this machine (a pool, an output, shards), or a folder on the Hub, of
which only lists and small files are read.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from pipeline.audit.attest.facts import Fact
from pipeline.core.arrays import Int64Array
from pipeline.core.digest import sha256_file
from pipeline.core.errors import InputError
from pipeline.core.json_record import parse_json
from pipeline.dataset import STATE
from pipeline.dataset.mds import INDEX_NAME, Pool
from pipeline.sources import ARCHIVE, POOL, read_lock
from pipeline.storage import is_hub_address, open_hub_folder

# Larger files than the small ones that are read whole.
_MOST_READ = 64 << 20


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Files by path, with what is known of each without reading shards; more on demand."""

    where: str
    repo: str | None
    """The repository that the place says it is."""
    sizes: Mapping[str, int]
    digests: Mapping[str, str] = field(default_factory=dict)
    """sha256 in hex, of those files whose list says it."""
    folder: Path | None = None
    """Where the files lie, if on this machine."""
    fetch: Callable[[str], bytes] | None = field(default=None, repr=False)
    """Reads a small file that lies elsewhere."""
    prefix: str = ""
    """What comes before a path of the place in the repository."""

    @property
    def has_all(self) -> bool:
        """Whether it lists all of a repository, and not what somebody keeps of it."""
        return self.folder is None

    def partitions(self) -> list[str]:
        """Return the folders of shards, and archives without their suffix, sorted."""
        return sorted(
            {
                path.removesuffix(ARCHIVE) if path.endswith(ARCHIVE) else _parent(path)
                for path in self.sizes
                if path.endswith((".mds", ARCHIVE))
            }
        )

    def below(self, folder: str) -> list[str]:
        return [path for path in self.sizes if path.startswith(f"{folder}/")]

    def read(self, path: str) -> Any:
        """Return the content of a small JSON file; None if it is not there or cannot be read here.

        Raises: InputError when it holds no JSON.
        """
        if path not in self.sizes or self.sizes[path] > _MOST_READ:
            return None
        own = path.removeprefix(self.prefix)
        if self.folder is not None:
            data = (self.folder / own).read_bytes()
        elif self.fetch is not None:
            data = self.fetch(own)
        else:
            return None
        try:
            return parse_json(data)
        except ValueError as error:
            raise InputError(f"{self.where}/{own}: got no JSON: {error}", "look at it") from error

    def sha256(self, path: str) -> str | None:
        """Return the digest of a file, read from disk if no list says it."""
        if path in self.digests or self.folder is None:
            return self.digests.get(path)
        return sha256_file(self.folder / path.removeprefix(self.prefix))

    def lengths(self, partition: str) -> Int64Array | None:
        """Return the ids of each row of a folder of shards: int64 [num_rows]; None if not here."""
        own = self.folder and self.folder / partition.removeprefix(self.prefix)
        if own is None or not (own / INDEX_NAME).is_file():
            return None
        return Pool.open(own).lengths()


def gather(where: str, facts: Mapping[str, tuple[Fact, ...]], repo: str | None) -> list[Evidence]:
    """Return what lies at a place, for each repository that it has files of.

    repo: the repository that it stands for, where it does not say so itself.

    Raises: InputError when there is nothing at the place, or it cannot be listed.
    """
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
    address = folder.where.removeprefix("hf://datasets/")
    org, name, *path = address.split("/")
    prefix = "".join(f"{part}/" for part in path)
    return Evidence(
        where=folder.where,
        repo=f"{org}/{name.partition('@')[0]}",
        sizes={prefix + own: size for own, size in folder.num_bytes.items()},
        digests={prefix + own: digest for own, digest in folder.sha256.items()},
        fetch=folder.read,
        prefix=prefix,
    )


def _of_lock(path: Path) -> list[Evidence]:
    sources = read_lock(path).sources
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
                )
            )
    if not found:
        raise InputError(
            f"{path}: got no source on the Hub, of which alone something is known",
            "give a lock of published data",
        )
    return found


def _of_folder(folder: Path) -> Evidence:
    sizes = {}
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(one for one in folders if one != STATE)
        for file in sorted(files):
            path = Path(parent, file)
            if path.is_file():
                sizes[path.relative_to(folder).as_posix()] = path.stat().st_size
    if not any(path.endswith((".mds", ARCHIVE)) for path in sizes):
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
        return evidence if repo is None else _at(evidence, repo, evidence.prefix)
    places = [
        (_num_known(evidence, facts[one], prefix), one, prefix)
        for one in ([named] if named else facts)
        if one in facts
        for prefix in _prefixes(evidence.folder)
    ]
    most, best, prefix = max(places, key=lambda place: place[0], default=((0, 0), named, ""))
    return _at(evidence, best if any(most) else named, prefix if any(most) else "")


def _at(evidence: Evidence, repo: str | None, prefix: str) -> Evidence:
    def moved(by_path: Mapping[str, Any]) -> dict[str, Any]:
        return {
            prefix + path.removeprefix(evidence.prefix): value for path, value in by_path.items()
        }

    return Evidence(
        where=evidence.where,
        repo=repo,
        sizes=moved(evidence.sizes),
        digests=moved(evidence.digests),
        folder=evidence.folder,
        fetch=evidence.fetch,
        prefix=prefix,
    )


def _prefixes(folder: Path) -> list[str]:
    """Return what a folder may be called in its repository: by its last parts, or below a split."""
    parts = folder.parts[1:]
    names = ["/".join(parts[len(parts) - count :]) for count in range(min(len(parts), 4) + 1)]
    splits = [f"{split}/{name}" for split in ("train", "validation") for name in names]
    whole = [name.strip("/") for name in dict.fromkeys([*names, *splits])]
    return [f"{name}/" if name else "" for name in whole]


def _num_known(evidence: Evidence, facts: Iterable[Fact], prefix: str) -> tuple[int, int]:
    """Return how many facts are of files that are there, and of folders, under a prefix."""
    files = {prefix + path for path in evidence.sizes}
    folders = {_parent(path) for path in files}
    paths = [fact.path for fact in facts]
    return sum(path in files for path in paths), sum(
        path in folders or _parent(path) in folders for path in paths
    )


def _parent(path: str) -> str:
    parent = PurePosixPath(path).parent.as_posix()
    return "" if parent == "." else parent
