"""Remote outputs: of a build that was copied to a store, files are no documents of a source.

They are known by names alone: `manifest.json`, `partial.json`, or what is left of `.ettin/`, beside
a folder of an output with files as it has them. Nothing of them is fetched.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from glob import has_magic
from itertools import takewhile
from pathlib import PurePosixPath
from typing import Final

from pipeline.core.errors import InputError
from pipeline.storage import StoredFile

# As in `pipeline/dataset/paths.py`, which knows this room; a test compares them.
FOLDERS: Final = {
    "dropped": r"\.jsonl\.zst",
    "order": r"\.(parquet|mds)",
    "provenance": r"\.parquet",
    "train": r"\.mds(\.zstd?|\.gz)?",
    ".ettin": "",
}
"""The folders of an output, and how the names of their files end."""
SIGNS: Final = ("manifest.json", ".ettin/mixture.json", "partial.json")
"""Files that an output has one of."""
_TRAIN: Final = "train"


def refuse_remote_output(
    where: str, patterns: Sequence[str], files: Sequence[StoredFile], has: Callable[[str], bool]
) -> None:
    """Refuse files of an output, unless they are chunks and a pattern names them up to `train/`.

    where: what names the patterns. has: whether the store has a file.

    Raises: InputError, naming the output.
    """
    is_output = cache(lambda folder: any(has(f"{folder}{sign}") for sign in SIGNS))
    named = list(map(_fixed, patterns))
    for file in files:
        for output, folder in _candidates(file.path):
            train = PurePosixPath(output, _TRAIN)
            is_named = folder == _TRAIN and any(
                base.is_relative_to(train) and PurePosixPath(file.path).is_relative_to(base)
                for base in named
            )
            if not is_named and is_output(output):
                raise InputError(
                    f"{where}: {file.path} is part of {output or 'the data set'}, the output of a"
                    " build",
                    "leave it out with a narrower pattern; to read its chunks, name"
                    f" {output}{_TRAIN}/…",
                )


def _fixed(pattern: str) -> PurePosixPath:
    """Return what a pattern names before its first wildcard."""
    return PurePosixPath(*takewhile(lambda part: not has_magic(part), PurePosixPath(pattern).parts))


def _candidates(path: str) -> Iterator[tuple[str, str]]:
    """Yield where an output may begin, as "" or with a slash at its end, and its folder."""
    parts = path.split("/")
    first = 3 if "://" in path else 0  # after the host or bucket
    for index, part in list(enumerate(parts[:-1]))[first:]:
        ending = FOLDERS.get(part)
        if ending is not None and re.search(f"{ending}$", parts[-1]):
            yield "".join(f"{one}/" for one in parts[:index]), part
