"""Merged indexes: those of folders of shards -> one index of all shards, a folder at a time."""

import uuid
from collections.abc import Iterable
from typing import Any, Final

from pipeline.core.digest import FileDigest
from pipeline.core.files import publish, writing
from pipeline.core.json_record import parse_json
from pipeline.core.mirrored import here
from pipeline.dataset import State
from pipeline.dataset.mds import INDEX_NAME, index_bytes, merge_indexes

_EMPTY: Final = index_bytes(merge_indexes([]), merged=True)
_HEAD, _TAIL = _EMPTY[:-2], _EMPTY[-2:]
_BYTES_AT_ONCE: Final = 1 << 20


def publish_indexes(
    state: State, folder: str, parts: Iterable[str], above: Iterable[str] = ()
) -> dict[str, FileDigest]:
    """Merge the indexes of parts, folders below `folder`, in this order, into one index there.

    above: folders between `folder` and its parts, each of which gets an index of its own parts. An
    index of a part is read once, and one that is there and right is left as it is.

    Raises: OutputError.
    """
    whole = _Index(state, folder)
    between = {f"{name}/": _Index(state, f"{folder}/{name}") for name in above}
    for part in parts:
        index = parse_json(here(state.out / folder / part / INDEX_NAME).read_bytes())
        whole.add(part, index)
        for prefix, one in between.items():
            if part.startswith(prefix):
                one.add(part.removeprefix(prefix), index)
    return {one.name: one.publish() for one in (*between.values(), whole)}


class _Index:
    """An index in the making, of which little is in memory."""

    def __init__(self, state: State, folder: str) -> None:
        self.name = f"{folder}/{INDEX_NAME}"
        self._path, self._scratch = state.out / self.name, state.scratch
        self._temporary = state.scratch / uuid.uuid4().hex
        self._text = bytearray(_HEAD)
        self._between = b""

    def add(self, name: str, index: dict[str, Any]) -> None:
        """Add the shards of a folder by its name. Raises: OutputError."""
        merged = index_bytes(merge_indexes([(name, index)]), merged=True)
        if merged != _EMPTY:
            self._text += self._between + merged[len(_HEAD) : -len(_TAIL)]
            self._between = b", "
        if len(self._text) > _BYTES_AT_ONCE:
            self._save()

    def publish(self) -> FileDigest:
        """Publish it, unless it is there and right; return what it is. Raises: OutputError."""
        self._text += _TAIL
        self._save()
        digest = FileDigest.of(self._temporary)
        if digest.matches(self._path):
            self._temporary.unlink()
        else:
            with publish(self._path, self._scratch) as temporary:
                self._temporary.rename(temporary)
        return digest

    def _save(self) -> None:
        with writing(self._path):
            self._scratch.mkdir(parents=True, exist_ok=True)
            with self._temporary.open("ab") as file:
                file.write(self._text)
        self._text.clear()
