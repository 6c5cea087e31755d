"""Files of a data set on the Hub at one commit: those of an origin, or those below an address.

An origin has globs, or a configuration and a split of the data set's card.
"""

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from urllib.parse import unquote

from pipeline.config import Origin
from pipeline.core.errors import InputError
from pipeline.storage.hub_card import CARD, USE_FILES, card_patterns
from pipeline.storage.hub_repository import HubRepository
from pipeline.storage.patterns import match_paths
from pipeline.storage.ranges import HttpFile, RemoteFolder
from pipeline.storage.retry import RetryPolicy
from pipeline.storage.store import StoredFile

_SCHEME = "hf://"
# Two slashes are one in a path.
_ADDRESS_AS_PATH = re.compile(r"([A-Za-z][\w+.-]+):/+(.*)")
_ADDRESS = re.compile(r"hf://datasets/([\w.-]+/[\w.-]+)(?:@([^/]+))?(?:/(.*))?")
# A commit is listed once, however many sources are of it.
_list_commit = lru_cache(maxsize=8)(HubRepository.list)


class HubStore:
    """Files of a data set at the locked commit, or at that of the declared revision now."""

    def __init__(
        self, origin: Origin, folder: Path, revision: str | None, retry: RetryPolicy | None = None
    ) -> None:
        assert origin.hub is not None
        self._origin = origin
        name = revision or origin.revision or "main"
        self._repository = HubRepository.open(origin.hub, name, retry)

    @property
    def revision(self) -> str:
        return self._repository.commit

    def list(self) -> tuple[StoredFile, ...]:
        files = _list_commit(self._repository)
        patterns, where = self._origin.files, f"{self._repository.where}: files"
        if patterns is None:
            where = f"{self._repository.where}/{CARD}"
            patterns = self._card_patterns(where, files)
        return tuple(files[path] for path in match_paths(where, patterns, files))

    def has(self, path: str) -> bool:
        return path in _list_commit(self._repository)

    def remote_file(self, file: StoredFile) -> HttpFile:
        return self._repository.file(file.path, file.num_bytes)

    def stream(self, file: StoredFile, start: int, write: Callable[[bytes], None]) -> None:
        self.remote_file(file).stream(start, file.num_bytes, write, accepts_whole=True)

    def _card_patterns(self, where: str, files: Mapping[str, StoredFile]) -> tuple[str, ...]:
        if CARD not in files:
            raise InputError(f"{where}: got no such file, expected the data set's card", USE_FILES)
        card = bytearray()
        self.stream(files[CARD], 0, card.extend)
        return card_patterns(where, bytes(card), self._origin.config, self._origin.split)


def is_hub_address(where: str | Path) -> bool:
    """Return whether this is an address on the Hub."""
    return str(where).startswith(_SCHEME)


def parse_hub_address(where: str) -> tuple[str, str, str]:
    """Return the data set, its revision, and the path in it. Raises: InputError."""
    match = _ADDRESS.fullmatch(where)
    if match is None:
        raise InputError(
            f"{where}: got an address of another form, expected"
            " hf://datasets/ORG/NAME[@REVISION][/PATH]"
        )
    return match[1], unquote(match[2] or "main"), (match[3] or "").strip("/")


def check_is_path(path: Path, expected: str) -> None:
    """Refuse an address given as a path; `expected`: what is read from local disks alone.

    Raises: InputError where nothing is at the path, and it looks like an address.
    """
    address = _ADDRESS_AS_PATH.fullmatch(str(path))
    if address is not None and not path.exists():
        raise InputError(
            f"{address[1]}://{address[2]}: got an address, expected the path of {expected}",
            "only published parquet is read remotely, as hf://datasets/ORG/NAME[@REVISION][/PATH];"
            " pull anything else, such as MDS shards, and name the folder",
        )


def open_hub_folder(where: str, retry: RetryPolicy | None = None) -> RemoteFolder:
    """List a folder on the Hub, or the one file that a path ending in `.parquet` names.

    Raises: InputError for an address of another form, or one that cannot be listed.
    """
    name, revision, path = parse_hub_address(where)
    repository = HubRepository.open(name, revision, retry)
    is_file = path.endswith(".parquet")
    # A file has no tree of its own.
    folder = path.rpartition("/")[0] if is_file else path
    files = repository.list(folder)
    if is_file:
        if path not in files:
            raise InputError(f"{repository.where}/{path}: got no such file", "check the name")
        files = {path: files[path]}
    prefix = f"{folder}/" if folder else ""
    sizes = {one.removeprefix(prefix): file.num_bytes for one, file in files.items()}
    digests = {one.removeprefix(prefix): file.digest for one, file in files.items()}
    return RemoteFolder(
        where=f"{repository.where}/{folder}".rstrip("/"),
        num_bytes=sizes,
        remote_file=lambda name: repository.file(prefix + name, sizes[name]),
        client=repository.client,
        is_file=is_file,
        commit=repository.commit,
        sha256={
            one: digest.removeprefix("sha256:")
            for one, digest in digests.items()
            if digest.startswith("sha256:")
        },
    )
