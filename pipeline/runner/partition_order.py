"""Partition order: the partitions of a pool -> the order in which they follow one another.

It decides the numbers of the pool's rows, which an order permutes. A published pool may have been
merged in the order of a directory, which no rule gives; only a listing does.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path, PurePosixPath

from pipeline.config import OrderSpec
from pipeline.core.errors import InputError
from pipeline.core.regular_file import read_file
from pipeline.dataset.mds import parse_index

_MOST_NAMED = 5
_HINT = "list each as source/folder, as below train/ in the output"


def arrange(
    partitions: Iterable[str],
    order: OrderSpec,
    folder: Path,
    *,
    is_whole: bool = True,
    may_be_empty: Collection[str] = (),
) -> tuple[str, ...]:
    """Return partitions, each `source/folder`, in the order of the pool.

    folder: the mixture's, which the listing is relative to. is_whole: whether these are all
    partitions; else a listing may name others, which are left out. may_be_empty: those that may
    have no row in the end. A listing may leave them out, as an index does that has shards alone;
    they are not returned then, and `check_listed` says whether that was right.

    Raises: InputError when the listing is none, or lists other partitions.
    """
    made = sorted(partitions, key=lambda name: name.split("/"))
    if order.listing is None:
        return tuple(made)
    listed = read_listing(folder / order.listing, f"order.listing: {order.listing}")
    left_out, unknown = sorted({*made} - {*listed, *may_be_empty}), sorted({*listed} - {*made})
    problems = [f"got no {_name(left_out)}"] if left_out else []
    if unknown and is_whole:
        problems.append(f"got {_name(unknown)}, which the mixture does not make")
    if problems:
        raise InputError(
            f"order.listing: {order.listing}: {'; '.join(problems)}; expected each partition once",
            _HINT,
        )
    known = {*made}
    return tuple(one for one in listed if one in known)


def check_listed(
    partitions: Collection[str], num_rows_by_partition: Mapping[str, int], order: OrderSpec
) -> None:
    """Insist that all partitions with rows are among those that `arrange` has returned.

    Raises: InputError.
    """
    have_rows = {name for name, num_rows in num_rows_by_partition.items() if num_rows}
    if left_out := sorted(have_rows - {*partitions}):
        raise InputError(
            f"order.listing: {order.listing}: got no {_name(left_out)}; expected each partition"
            " that has rows once",
            f"{_HINT}, and build into another folder",
        )


def read_listing(path: Path, where: str) -> list[str]:
    """Return the partitions that a text file or an index of shards lists, in its order.

    Raises: InputError when it cannot be read, lists nothing, or a partition in two places.
    """
    try:
        data = read_file(path)
        if data.lstrip().startswith(b"{"):
            listed = _partitions_of(data, where)
        else:
            lines = (line.strip().rstrip("/") for line in data.decode("utf-8-sig").splitlines())
            listed = [line for line in lines if line]
    except OSError as error:
        raise InputError(
            f"{where}: cannot be read: {error.strerror}", "paths are relative to the mixture file"
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"{where}: invalid UTF-8 at byte {error.start}, expected a partition a line, or an"
            " index.json"
        ) from error
    if not listed:
        raise InputError(f"{where}: lists nothing, expected a partition a line, or an index.json")
    if twice := sorted(one for one, count in Counter(listed).items() if count > 1):
        raise InputError(f"{where}: got {_name(twice)} in two places, expected each once")
    return listed


def _partitions_of(data: bytes, where: str) -> list[str]:
    """Return the folders of an index's shards. Raises: InputError for shards out of order."""
    names = [PurePosixPath(one["raw_data"]["basename"]) for one in parse_index(data, where)]
    folders = []
    for folder, group in groupby(names, key=lambda name: name.parent.as_posix()):
        shards = [name.name for name in group]
        if shards != sorted(shards):
            raise InputError(
                f"{where}: got the shards of {folder} out of order, expected whole partitions one"
                " after the other"
            )
        folders.append(folder)
    return folders


def _name(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more:,} more" if more > 0 else "")
