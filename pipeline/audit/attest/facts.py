"""Facts: what public pages say of released files, as they ship in `manifests/published`.

A fact belongs to a repository and a path; its revision is kept beside it. `import_published.py`
there makes the files. Facts may not contradict each other.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from itertools import combinations
from pathlib import Path
from typing import Any, Final, Literal

from pipeline.audit.attest.row_size import id_bytes_of, is_id_length, mean_id_bytes
from pipeline.core.bundled import bundled_folder
from pipeline.core.errors import InputError
from pipeline.core.json_record import parse_json
from pipeline.dataset.mds import INDEX_NAME

FactKind = Literal["sha256", "num_tokens", "index", "stats", "listing", "size"]
_UNITS = {"Bytes": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_KEYS: Final[Mapping[FactKind, tuple[str, ...]]] = {
    "sha256": ("sha256",),
    "num_tokens": ("num_tokens", "num_truncated_tokens"),
    "index": (),
    "stats": (
        *("percentiles", "total_tokens_written", "total_tokens_skipped"),
        "total_duplicated_tokens",
    ),
    "listing": (),
    "size": ("size",),
}


@dataclass(frozen=True, kw_only=True)
class Fact:
    """What a page says of a file or folder."""

    repo: str
    """On the Hub, org/name."""
    path: str
    """In the repository; of a file, or of a folder that is listed."""
    kind: FactKind
    value: Mapping[str, Any]
    """As the page has it: the content of the file, its digest and size, or names with sizes."""
    revision: str
    source: str
    """The page."""
    note: str
    """What the page cuts off."""

    @property
    def name(self) -> str:
        return f"{self.repo}/{self.path}"

    @property
    def folder(self) -> str:
        """What holds the file, or else is listed."""
        return self.path.rpartition("/")[0] if self.is_of_file else self.path

    @property
    def is_of_file(self) -> bool:
        return self.kind != "listing" and "first_shards" not in self.value

    def beside(self, name: str) -> str:
        """Return the path of another file of the folder."""
        return f"{self.folder}/{name}" if self.folder else name

    @property
    def is_complete(self) -> bool:
        """Whether an index has all its shards."""
        return self.value.get("complete", self.note.startswith("complete")) is True


def load_facts(folder: Path | None = None) -> dict[str, tuple[Fact, ...]]:
    """Return the facts by repository, each sorted by path; `folder` has others than those shipped.

    Raises: InputError for a file that holds something else, and for facts that contradict each
    other.
    """
    facts: dict[str, tuple[Fact, ...]] = {}
    for path in sorted((folder or bundled_folder("manifests") / "published").glob("*.json")):
        try:
            content = parse_json(path.read_bytes())
            repo = content["repo"]
            own = [*facts.get(repo, ()), *(Fact(repo=repo, **one) for one in content["facts"])]
            for fact in own:
                _check_keys(fact)
            facts[repo] = tuple(sorted(own, key=lambda fact: (fact.path, fact.kind)))
            problem = next(contradictions(facts[repo]), None)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"{path}: got something else than published facts ({error})",
                "make it again with import_published.py",
            ) from error
        if problem is not None:
            raise InputError(
                f"{path}: got facts that contradict each other: {problem}", "leave one of them out"
            )
    return facts


def _check_keys(fact: Fact) -> None:
    for key in _KEYS[fact.kind]:
        fact.value[key]
    if fact.kind == "index":
        keys = ("first_shards", "samples_total") if "first_shards" in fact.value else ("shards",)
        for key in keys:
            fact.value[key]
        for shard in fact.value.get("shards", ()):
            shard["basename"]


def contradictions(facts: Iterable[Fact]) -> Iterator[str]:
    """Yield a line for every two facts that cannot both be true. Pure.

    Those are facts of one kind with other values (a list that a page cuts off agrees as far as it
    goes); sizes of one file; and counted ids that the bytes and rows of a whole index do not hold.
    """
    by_kind: defaultdict[tuple[str, str, str], list[Fact]] = defaultdict(list)
    sizes: defaultdict[tuple[str, str], list[tuple[Fact, object]]] = defaultdict(list)
    for fact in facts:
        by_kind[fact.repo, fact.path, fact.kind].append(fact)
        for path, shown in _sizes(fact):
            sizes[fact.repo, path].append((fact, shown))
    for (repo, path, kind), alike in by_kind.items():
        for one, other in combinations(alike, 2):
            if kind != "listing" and not _agree(one.value, other.value):
                yield _told(f"{repo}/{path}: {kind}", one, one.value, other, other.value)
    for (repo, path), told in sizes.items():
        for (one, size), (other, again) in combinations(told, 2):
            is_told = one.path == other.path and one.kind == other.kind != "listing"
            if not is_told and not _overlap(size, again):
                yield _told(f"{repo}/{path}: size", one, size, other, again)
    for (repo, _, kind), [fact, *_] in by_kind.items():
        if kind in ("num_tokens", "stats"):
            for index in by_kind.get((repo, fact.beside(INDEX_NAME), "index"), ()):
                yield from _miscounted(fact, index)


def _told(where: str, one: Fact, value: object, other: Fact, again: object) -> str:
    return f"{where}: {one.source} says {value}, {other.source} says {again}"


def _agree(one: Any, other: Any) -> bool:
    """Return whether two values agree in all that both of them say."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return all(_agree(one[key], other[key]) for key in one.keys() & other.keys())
    if isinstance(one, list) and isinstance(other, list):
        return all(map(_agree, one, other))
    return bool(one == other) or None in (one, other)


def _sizes(fact: Fact) -> Iterator[tuple[str, object]]:
    """Yield path and size, exact or as a page shows it, of each file that a fact tells it of."""
    if fact.kind == "listing":
        for name, shown in fact.value.get("files", {}).items():
            yield fact.beside(name), shown
    for key in ("bytes", "size", "file_size"):
        if key in fact.value:
            yield fact.path, fact.value[key]
    if fact.kind == "index":
        for one in fact.value.get("shards", ()):
            yield fact.beside(one["basename"]), one.get("raw_bytes")


def _overlap(one: object, other: object) -> bool:
    bounds = [(size, size) if isinstance(size, int) else rounded_size(size)
              for size in (one, other)]  # fmt: skip
    if bounds[0] is None or bounds[1] is None:
        return True
    return bounds[0][0] <= bounds[1][1] and bounds[1][0] <= bounds[0][1]


def _miscounted(fact: Fact, index: Fact) -> Iterator[str]:
    """Yield a line if a whole index has no room for as many ids as a fact counts, or too much."""
    num_tokens = fact.value["num_tokens" if fact.kind == "num_tokens" else "total_tokens_written"]
    shards = whole_index(index)
    if shards is None:
        return
    num_rows, num_bytes = (sum(one[key] for one in shards) for key in ("samples", "raw_bytes"))
    mean = mean_id_bytes(num_bytes, len(shards), num_rows, 2 * num_tokens)
    bounds = id_bytes_of(fact.path)
    if not is_id_length(mean, bounds):
        yield (
            f"{fact.name}: {fact.source} says {num_tokens:,} ids, which leaves {mean:.1f} bytes for"
            f" the id of a document, expected {bounds[0]} to {bounds[1]}, by the bytes and rows of"
            f" {index.source}"
        )


def whole_index(fact: Fact) -> list[Mapping[str, Any]] | None:
    """Return the shards of a fact that is an index of `uint16`, if rows and bytes of all are known.

    Pure.
    """
    shards: list[Mapping[str, Any]] = list(fact.value.get("shards", ()))
    told = all(type(one.get(key)) is int for one in shards for key in ("samples", "raw_bytes"))
    is_uint16 = "ndarray:uint16" in fact.value.get("column_encodings", ())
    has_rows = told and any(one["samples"] for one in shards)
    return shards if fact.is_complete and is_uint16 and has_rows else None


def rounded_size(text: object) -> tuple[Decimal, Decimal] | None:
    """Return the least and the most bytes of a size as a page shows it; None if it is no size.

    Units are decimal, and a size agrees within its last digit: 16.3 kB is 16,200 to 16,400 bytes.
    """
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) (Bytes|kB|MB|GB|TB)", str(text))
    if found is None:
        return None
    number, unit = Decimal(found[1]), _UNITS[found[2]]
    exponent = number.as_tuple().exponent
    assert isinstance(exponent, int)
    slack = Decimal(0) if unit == 1 else Decimal(10) ** exponent * unit
    return number * unit - slack, number * unit + slack
