"""Files of a data set on the Hub, at one commit.

Enters: a name, a revision, and globs, or a configuration and a split of the data set's card.
Leaves: the files they match, from one listing of the commit. A commit that was locked is taken as
it is: nothing is looked up again.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import yaml

from pipeline.config import Origin
from pipeline.core.errors import InputError
from pipeline.storage.http import RetryPolicy
from pipeline.storage.hub_repository import HubFile, Repository
from pipeline.storage.patterns import match_paths
from pipeline.storage.store import StoredFile

Value = TypeVar("Value")

_CARD = "README.md"
_USE_FILES = "name the files with `files:` instead"


class HubStore:
    """Files of a data set at a commit."""

    def __init__(
        self,
        origin: Origin,
        folder: Path,
        revision: str | None,
        patience: RetryPolicy | None = None,  # Another one than the usual is for tests.
    ) -> None:
        """Look the declared revision up, or take the one that was locked. Raises: InputError."""
        assert origin.hub is not None
        self._origin = origin
        self._repository = Repository.open(
            origin.hub, revision or origin.revision or "main", patience
        )

    @property
    def revision(self) -> str:
        """The commit."""
        return self._repository.commit

    def list(self) -> tuple[StoredFile, ...]:
        """Return the files, sorted by path. Raises: InputError."""
        files = _list(self._repository)
        patterns, where = self._origin.files, f"{self._repository.where}: files"
        if patterns is None:
            patterns, where = self._patterns_of_card(files), f"{self._repository.where}/{_CARD}"
        return tuple(
            StoredFile(path=path, num_bytes=files[path].num_bytes, digest=files[path].digest)
            for path in match_paths(where, patterns, files)
        )

    def receive(self, file: StoredFile, start: int, keep: Callable[[bytes], None]) -> None:
        """Hand on the bytes of a file from `start` to its end. Raises: InputError."""
        remote = self._repository.file(file.path, file.num_bytes)
        remote.receive(start, file.num_bytes, keep, takes_whole=True)

    def _patterns_of_card(self, files: Mapping[str, HubFile]) -> tuple[str, ...]:
        where = f"{self._repository.where}/{_CARD}"
        if _CARD not in files:
            raise InputError(f"{where}: got no such file, expected the data set's card", _USE_FILES)
        size, card = files[_CARD].num_bytes, bytearray()
        self._repository.file(_CARD, size).receive(0, size, card.extend, takes_whole=True)
        return card_patterns(where, bytes(card), self._origin.config, self._origin.split)


@lru_cache(maxsize=8)
def _list(repository: Repository) -> Mapping[str, HubFile]:
    """List a commit once, however many sources are of it."""
    return repository.list()


def card_patterns(
    where: str, card: bytes, config: str | None, split: str | None
) -> tuple[str, ...]:
    """Return the globs that a data set's card has for a split of a configuration. Pure.

    Without `config` it is the default one, or the only one; without `split` the only one.

    Raises: InputError when the card names no files, or not those that were asked for.
    Source: https://huggingface.co/docs/hub/datasets-manual-configuration
    """
    configs = _configs(where, card)
    name = config if config is not None else _default(where, configs)
    splits = _pick(where, "configuration", name, configs)
    if split is None and len(splits) > 1:
        raise InputError(
            f"{where}: got no split, expected one of {', '.join(splits)}", "name it with `split:`"
        )
    return _pick(where, "split", next(iter(splits)) if split is None else split, splits)


def _configs(where: str, card: bytes) -> dict[str, dict[str, tuple[str, ...]]]:
    """Return globs by split by configuration; which is the default, by the name ""."""
    _, fence, rest = f"\n{card.decode(errors='replace')}".replace("\r\n", "\n").partition("\n---\n")
    try:
        declared = yaml.safe_load(rest.partition("\n---")[0]) if fence else None
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{where}: broken front matter: {reason}", _USE_FILES) from error
    given = declared.get("configs") if isinstance(declared, dict) else None
    if not given:
        raise InputError(f"{where}: got no configs, expected some with data_files", _USE_FILES)
    configs = {}
    try:
        for one in given:
            configs[str(one["config_name"])] = _splits(one["data_files"])
            if one.get("default"):
                configs[""] = configs[str(one["config_name"])]
    except (TypeError, KeyError, AttributeError) as error:
        raise InputError(
            f"{where}: got configs of another form, expected a config_name and data_files in each",
            _USE_FILES,
        ) from error
    return configs


def _splits(data_files: Any) -> dict[str, tuple[str, ...]]:
    if isinstance(data_files, str):
        return {"train": (data_files,)}
    if all(isinstance(one, str) for one in data_files):
        return {"train": tuple(data_files)}
    splits = {}
    for one in data_files:
        path = one["path"]
        splits[str(one["split"])] = (path,) if isinstance(path, str) else tuple(map(str, path))
    return splits


def _default(where: str, configs: Mapping[str, object]) -> str:
    if "" in configs or len(configs) == 1:
        return next(iter(configs)) if len(configs) == 1 else ""
    if "default" in configs:
        return "default"
    raise InputError(
        f"{where}: got no configuration, expected one of {', '.join(configs)}",
        "name it with `config:`",
    )


def _pick(where: str, what: str, name: str, known: Mapping[str, Value]) -> Value:
    if name not in known:
        names = ", ".join(one for one in known if one)
        raise InputError(
            f'{where}: got {what} "{name}", expected one of {names}', f"check `{what[:6]}:`"
        )
    return known[name]
