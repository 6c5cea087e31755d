"""What the answers to a probe tell: files and lists -> signs of how rows were made."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np

from pipeline.audit.attest.row_signs import RowSigns, read_signs
from pipeline.audit.attest.row_size import mean_id_bytes
from pipeline.audit.attest.shard_head import ShardHead, dtype_of, read_head
from pipeline.core.errors import InputError
from pipeline.core.json_record import parse_json
from pipeline.sources import ARCHIVE
from pipeline.stages.tokenizer import EMBEDDED, Tokenizer, load_tokenizer

Answers = list[tuple[str, bytes, tuple[str, ...]]]
"""Where it is of, the bytes of a file, and the paths of a list."""

LAYOUT: Final = ("", "books", "train/books")
"""Folders whose lists tell archives from shards; books are the smallest source."""

_BIN_IDS = 1000
_LONGEST = 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class Sign:
    """One thing that was found."""

    about: str
    """Such as `extension.longest`; the phase before the dot."""
    value: object
    says: str


def read_extension_cut(answers: Answers) -> Iterator[Sign]:
    [stats] = _records(answers)
    longest = stats["percentiles"]["100th"]
    yield Sign(about="extension.longest", value=longest, says=f"longest row {longest:,} ids")


def read_counts(answers: Answers) -> Iterator[Sign]:
    """Compare counted ids with bytes and rows; what is left for a document's id tells."""
    index, counts = _records(answers)
    shards, num_tokens = index["shards"], counts["num_tokens"]
    [item] = {dtype_of(one) for one in shards}
    num_rows = sum(one["samples"] for one in shards)
    num_bytes = sum(one["raw_data"]["bytes"] for one in shards)
    token_bytes = np.dtype(item).itemsize * num_tokens
    mean = mean_id_bytes(num_bytes, len(shards), num_rows, token_bytes)
    yield Sign(
        about="pre-training.id_bytes",
        value=round(mean, 1),
        says=f"if counted ids are stored, ids of documents of DCLM have {mean:.1f} bytes",
    )
    longer = num_tokens - counts["num_truncated_tokens"]
    yield Sign(
        about="pre-training.has_longer",
        value=longer > 0,
        says=f"{longer:,} ids lie beyond {_LONGEST:,} in their rows",
    )
    yield Sign(about="pre-training.dtype", value=item, says=f"ids as {item}")


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
    """Tell where CLS and SEP are, and whether the longest rows come first, by the table of rows."""
    head, signs = _read_shard(answers)
    yield from _header("extension", head)
    if signs is None:
        return
    yield Sign(about="extension.specials", value=signs.specials, says=_where_specials(signs))
    item = np.dtype(head.dtype).itemsize
    # The ids of documents of one source have about one length.
    rest = np.median(head.row_bytes[: len(head.rows)] - item * head.rows.lengths())
    bins = (head.row_bytes - rest) // item // _BIN_IDS
    falls = bool((np.diff(bins) <= 0).all())
    says = "fall by bins of 1,000 ids" if falls else "do not fall"
    yield Sign(
        about="extension.longest_first",
        value=falls,
        says=f"the sizes of {len(bins):,} rows {says}",
    )


def read_rows(answers: Answers) -> Iterator[Sign]:
    """Tell from rows their lengths, first and last ids, and the spaces of their text."""
    head, signs = _read_shard(answers)
    yield from _header("pre-training", head)
    if signs is None:
        return
    whole = "" if head.is_whole else f" of {len(head.row_bytes):,}"
    yield Sign(
        about="pre-training.commonest",
        value=signs.commonest,
        says=f"{signs.num_rows:,}{whole} rows, most of {signs.commonest:,} ids, "
        f"the longest of {signs.longest:,}",
    )
    yield Sign(about="pre-training.has_longer", value=signs.longest > _LONGEST, says="")
    yield Sign(about="pre-training.specials", value=signs.specials, says=_where_specials(signs))
    yield Sign(
        about="pre-training.is_fixed",
        value=signs.is_fixed,
        says=f"{signs.num_fixed:,} rows are what their text is tokenized to",
    )
    yield Sign(about="pre-training.has_inside", value=signs.num_inside > 0, says="")
    if signs.is_cleaned is not None:
        yield Sign(
            about="pre-training.is_cleaned",
            value=signs.is_cleaned,
            says=f"{signs.num_spaces:,} single spaces before marks in {signs.num_characters:,}"
            " characters",
        )
    if signs.has_prefix is not None:
        yield Sign(
            about="pre-training.has_prefix",
            value=signs.has_prefix,
            says=f"{signs.num_led:,} of {signs.num_documents:,} documents begin with a space",
        )
    ids = ", ".join(dict.fromkeys(head.ids[:: max(1, len(head.ids) // 3)]))
    yield Sign(about="pre-training.ids", value=ids, says=f"those of starcoder are such as {ids}")


def _where_specials(signs: RowSigns) -> str:
    where = {
        "each row": "CLS and SEP around each row",
        "starts of rows": "CLS before each row, SEP after some",
        "documents": "CLS and SEP around documents, not rows",
        "no row": "neither CLS nor SEP at the ends of rows",
        "mixed": "CLS and SEP at the ends of some rows, not those where documents begin",
        "untold": "CLS and SEP around documents of one row each",
    }
    inside = f", and {signs.num_inside:,} rows have them inside" if signs.num_inside else ""
    return where[signs.specials] + inside


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
    return head, read_signs(head, _tokenizer())


@cache
def _tokenizer() -> Tokenizer:
    return load_tokenizer(EMBEDDED, add_prefix_space=False)


def _records(answers: Answers) -> list[Any]:
    found = []
    for where, data, _ in answers:
        try:
            found.append(parse_json(data))
        except ValueError as error:
            raise InputError(f"{where}: got no JSON: {error}", "look at it") from error
    return found
