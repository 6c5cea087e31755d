"""A published shard without the documents that it was made of -> what it alone tells, in lines."""

import json
from collections.abc import Iterator

from pipeline.audit.attest.candidates import Candidate, candidates, fitting
from pipeline.audit.attest.infer import Shard
from pipeline.audit.attest.probe_checks import signs_of_rows
from pipeline.audit.attest.raw_tokens import suite_tokenizer
from pipeline.audit.attest.row_signs import RowSigns, read_signs
from pipeline.config import PUBLISHED_SIZES


def describe_shard(shard: Shard) -> list[str]:
    """Return what a shard alone tells of how its rows were made, and what stays undecided."""
    head = shard.head
    told = [f"ids of tokens: {head.dtype}; header: compression "
            f"{json.dumps(head.config.get('compression'))}"]  # fmt: skip
    if not len(head.rows):
        return [*told, "it has no rows"]
    lengths = sorted({len(name) for name in head.ids})
    characters = f"{lengths[0]} to {lengths[-1]}" if len(lengths) > 1 else f"{lengths[0]}"
    told.append(f"ids of documents: {characters} characters, such as {head.ids[0]!r}")
    signs = read_signs(head, suite_tokenizer(False))
    if signs is None:
        return [*told, "it has rows without ids of tokens, which no known way makes"]
    return [
        *told,
        f"{signs.num_rows:,} rows, most of {signs.commonest:,} ids, the longest of "
        f"{signs.longest:,}",
        *(sign.says for sign in signs_of_rows("", signs) if sign.says),
        *_conclusions(signs),
    ]


def _conclusions(signs: RowSigns) -> Iterator[str]:
    """Yield what follows: cut and rewrite, and prefix space."""
    found = {name: (value,) for name, value in signs.values().items()}
    if found.keys().isdisjoint(("middle", "first", "commonest")):
        yield "undecided: the cut, since no document has several rows and few rows are full"
    else:
        fit = fitting(_known(signs), found)
        if len(fit) > 1:
            yield f"undecided: {len(fit)} ways fit"
        yield from (f"so rows are {one.says}" for one in fit)
        if not fit:
            yield "no known way makes such rows"
    if signs.has_prefix is None:
        yield "undecided: prefix space"
    else:
        yield f"so {'a' if signs.has_prefix else 'no'} space was put before texts"


def _known(signs: RowSigns) -> list[Candidate]:
    """Return the ways of making rows of about that length; of a published size, those alone."""
    length = signs.middle or signs.first or signs.commonest
    near = range(max(length - 2, 3), length + 3)
    sizes = [size for size in near if size in PUBLISHED_SIZES] or near
    known = [one for size in sizes for one in candidates(size)]
    return list({one.says: one for one in reversed(known)}.values())[::-1]
