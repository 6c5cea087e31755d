"""What the answers to a probe tell: files and lists -> signs of how rows were made."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from pipeline.audit.attest.candidates import SIZES
from pipeline.audit.attest.raw_tokens import suite_tokenizer
from pipeline.audit.attest.row_signs import RowSigns, Specials, read_signs
from pipeline.audit.attest.row_size import mean_id_bytes
from pipeline.audit.attest.shard_head import ShardHead, read_head
from pipeline.core.errors import InputError
from pipeline.core.json_record import parse_json
from pipeline.dataset.mds import Columns
from pipeline.sources import ARCHIVE

Answers = list[tuple[str, bytes, tuple[str, ...]]]
"""Where it is of, the bytes of a file, and the paths of a list."""

LAYOUT: Final = ("", "books", "train/books")
"""Folders whose lists tell archives from shards; books are the smallest source."""

# Rows that were cut at 1,024 and tokenized again are longer in 48 to 78 %; slices never.
_FEW_LONGER = 0.01


@dataclass(frozen=True, kw_only=True, slots=True)
class Sign:
    """One thing that was found."""

    about: str
    """Such as `extension.longest`; the phase before the dot."""
    value: object
    says: str


def read_extension_cut(answers: Answers) -> Iterator[Sign]:
    [stats] = _records(answers)
    longest = _count(stats["percentiles"]["100th"], at_least=1)
    yield Sign(about="extension.longest", value=longest, says=f"longest row {longest:,} ids")
    yield Sign(about="extension.has_longer", value=longest > SIZES["extension"], says="")


def read_counts(answers: Answers) -> Iterator[Sign]:
    """Compare counted ids with bytes and rows; what is left for a document's id tells."""
    index, counts = _records(answers)
    shards, num_tokens = index["shards"], _count(counts["num_tokens"])
    [item] = {Columns.of(one, answers[0][0]).dtype for one in shards}
    num_rows = sum(_count(one["samples"], at_least=1) for one in shards)
    num_bytes = sum(_count(one["raw_data"]["bytes"]) for one in shards)
    token_bytes = np.dtype(item).itemsize * num_tokens
    mean = mean_id_bytes(num_bytes, len(shards), num_rows, token_bytes)
    yield Sign(
        about="pre-training.id_bytes",
        value=round(mean, 1),
        says=f"if counted ids are stored, ids of documents of DCLM have {mean:.1f} bytes",
    )
    longer = _count(num_tokens - _count(counts["num_truncated_tokens"]))
    yield Sign(
        about="pre-training.has_longer",
        value=longer > 0,
        says=f"{longer:,} ids lie beyond {SIZES['pre-training']:,} in their rows",
    )
    yield Sign(about="pre-training.dtype", value=item, says=f"ids as {item}")


def _count(value: object, at_least: int = 0) -> int:
    """Return a number of ids, rows or bytes. Raises: ValueError for anything else."""
    if type(value) is not int or not at_least <= value < 1 << 48:
        raise ValueError(f"got {value!r:.40}, expected a count from {at_least}")
    return value


def read_layout(answers: Answers) -> Iterator[Sign]:
    names = [name for _, _, names in answers for name in names]
    archives = [name for name in names if name.endswith(ARCHIVE)]
    # Each partition of shards is a folder.
    folders = [name for name in names if name.endswith("-nodups") or name.endswith(".mds")]
    found = [f"{len(archives)} archives of books"] * bool(archives)
    found += [f"{len(folders)} folders of MDS shards of books"] * bool(folders)
    layout = {(1, 0): "archives", (0, 1): "mds", (1, 1): "both", (0, 0): "neither"}
    yield Sign(
        about="pre-training.layout",
        value=layout[bool(archives), bool(folders)],
        says=" and ".join(found) or f"neither archives nor shards, but {', '.join(names[:5])}",
    )


def read_extension_rows(answers: Answers) -> Iterator[Sign]:
    """Tell how rows were made, and by the table of all of them whether the longest come first."""
    head, signs = _read_shard(answers)
    yield from _header("extension", head)
    if signs is None:
        return
    yield from signs_of_rows("extension", signs)
    if head.falls is not None:
        yield Sign(
            about="extension.longest_first",
            value=head.falls,
            says=f"of {len(head.row_bytes):,} rows {head.num_rises:,} follow one of a lower bin of"
            " 1,000 ids",
        )


def read_rows(answers: Answers) -> Iterator[Sign]:
    """Tell from rows how they were made."""
    head, signs = _read_shard(answers)
    yield from _header("pre-training", head)
    if signs is None:
        return
    whole = "" if head.is_whole else f" of {len(head.row_bytes):,}"
    num_longer = int((head.rows.lengths() > SIZES["pre-training"]).sum())
    says = (
        f"{signs.num_rows:,}{whole} rows, most of {signs.commonest:,} ids, the longest of"
        f" {signs.longest:,}, {num_longer:,} longer than {SIZES['pre-training']:,}"
    )
    has_longer = num_longer > 0
    if has_longer and num_longer <= _FEW_LONGER * signs.num_rows:
        yield Sign(about="pre-training.rows", value=signs.num_rows, says=says)
    else:
        yield Sign(about="pre-training.has_longer", value=has_longer, says=says)
    yield from signs_of_rows("pre-training", signs)
    ids = ", ".join(dict.fromkeys(head.ids[:: max(1, len(head.ids) // 3)]))
    yield Sign(about="pre-training.ids", value=ids, says=f"those of starcoder are such as {ids}")


def signs_of_rows(phase: str, signs: RowSigns) -> Iterator[Sign]:
    """Yield what rows tell, with the counts that tell it."""
    told = {
        "middle": "rows inside documents have {middle:,} ids without CLS and SEP",
        "first": "first rows of documents have {first:,} ids without SEP",
        "commonest": "",
        "specials": _WHERE_SPECIALS[signs.specials],
        "is_fixed": "{num_odd:,} of {num_rows:,} rows differ from the tokens of their text,"
        " {num_replaced:,} were cut inside a character",
        "is_doubled": "{num_doubled:,} rows of {num_documents:,} documents begin with CLS twice",
        "is_cleaned": "{num_spaces:,} marks with a space before them and {num_closed:,} closed up"
        " in {num_characters:,} characters",
        "has_prefix": "{num_led:,} of {num_starts:,} documents begin with a space",
    }
    for name, value in signs.values().items():
        yield Sign(about=f"{phase}.{name}", value=value, says=told[name].format(**asdict(signs)))


_WHERE_SPECIALS: Final[Mapping[Specials, str]] = {
    "each row": "CLS and SEP around each row",
    "few rows": "CLS and SEP around each of a few rows",
    "starts of rows": "CLS before each row, SEP after some",
    "documents": "CLS and SEP around documents, not rows",
    "no row": "neither CLS nor SEP at the ends of rows",
    "some rows": "CLS and SEP at the ends of some rows, each of another document",
    "mixed": "CLS and SEP at the ends of some rows, not those where documents begin",
    "untold": "CLS and SEP around documents of one row each",
}


def _header(phase: str, head: ShardHead) -> Iterator[Sign]:
    compression = head.config.get("compression")
    yield Sign(
        about=f"{phase}.compression",
        value=compression,
        says=f"header says compression {json.dumps(compression)}",
    )
    yield Sign(about=f"{phase}.dtype", value=head.dtype, says=f"ids as {head.dtype}")


def _read_shard(answers: Answers) -> tuple[ShardHead, RowSigns | None]:
    [(where, data, _)] = answers
    head = read_head(data, where)
    return head, read_signs(head, suite_tokenizer(False))


def _records(answers: Answers) -> list[Any]:
    found = []
    for where, data, _ in answers:
        try:
            found.append(parse_json(data))
        except ValueError as error:
            raise InputError(f"{where}: got no JSON: {error}", "look at it") from error
    return found
