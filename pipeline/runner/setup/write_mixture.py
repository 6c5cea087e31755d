"""Write a mixture: a proposal -> the mixture file, with what was found and what to decide.

Pure. The text loads as a mixture whatever names and paths have in them: what YAML would read as
anything but text is quoted.
"""

import json
import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from math import ceil
from typing import Final

from pipeline.config import reads_as_text
from pipeline.core.units import format_bytes, format_tokens
from pipeline.runner.setup.inspect_files import SourceFacts
from pipeline.runner.setup.propose_mixture import CHUNK_SIZE, SEED, Proposal
from pipeline.runner.setup.unicode_scripts import describe_scripts

_PLAIN: Final = re.compile(r"[A-Za-z0-9._/*-][A-Za-z0-9._/*@+=~-]*")
_COMMENT_AT: Final = 30


def mixture_text(proposal: Proposal) -> str:
    """Return the mixture file of a proposal."""
    lines = [
        "# yaml-language-server: $schema=mixture.schema.json",
        "# Proposed by `ettin-data new`: it builds as it is. What to decide is at the end.",
        "# Editors complete keys once `ettin-data schema > mixture.schema.json` is next to it.",
        f"name: {quoted(proposal.name)}",
        "chunk:",
        _with(
            f"  size: {CHUNK_SIZE}",
            f"tokens of a row, [CLS] and [SEP] included; {_longer(proposal)}",
        ),
        *_total(proposal),
        "sources:",
    ]
    for one in proposal.sources:
        lines += _source(one, proposal)
    lines += [
        *_on_error(proposal),
        "order:",
        f"  seed: {SEED}",
        _with(
            f"  global_batch_size: {proposal.global_batch_size}",
            "rows of a step, over all ranks; see below",
        ),
        _with(f"  max_seq_len: {CHUNK_SIZE}", "most tokens of a row that the trainer takes"),
        *_undecided(proposal),
    ]
    return "\n".join(lines) + "\n"


def quoted(text: str) -> str:
    """Return a scalar of YAML that reads as this text."""
    is_plain = _PLAIN.fullmatch(text) and text[0] not in "*-" and reads_as_text(text)
    return text if is_plain else _in_quotes(text)


def format_percent(share: Fraction) -> str:
    """Return a share of whole tenths of a percent.

    >>> format_percent(Fraction(305, 1000)), format_percent(Fraction(1, 2))
    ('30.5%', '50%')
    """
    whole, tenth = divmod(int(share * 1000), 10)
    return f"{whole}.{tenth}%" if tenth else f"{whole}%"


def summary(one: SourceFacts) -> Iterator[str]:
    """Yield what was found in the files of a source, in a sentence or two each."""
    group = one.group
    files = f"{len(group.files):,} file{'s' * (len(group.files) != 1)}"
    about = "" if one.is_counted else "about "
    read = f"{one.num_documents:,} document{'s' * (one.num_documents != 1)}"
    yield f"{files} ({', '.join(group.kinds)}), {format_bytes(group.num_bytes)}"
    yield (
        f"{about}{format_tokens(one.num_tokens)} tokens, "
        + (f"in {read}" if one.is_whole else f"by {read} that were read")
        + f"; {describe_scripts(one.scripts)}"
    )
    yield (
        f"a document has {one.median_tokens:,} tokens (median), at most {one.longest_tokens:,};"
        f" {one.shortest_chars:,} to {one.longest_chars:,} characters"
        + ("" if one.is_whole else ", of those read")
    )
    if one.bad:
        yield one.bad_in_words
    if one.num_copies:
        copies = "1 text is a copy of an earlier one; `dedup: {}` drops it"
        if one.num_copies > 1:
            copies = (
                f"{one.num_copies:,} texts are copies of earlier ones; `dedup: {{}}` drops them"
            )
        yield copies


def _total(proposal: Proposal) -> Iterator[str]:
    if proposal.tokens is None:
        return
    there = sum(one.num_tokens for one in proposal.sources if one.name in proposal.shares)
    yield f"# The sources with a share have about {format_tokens(there)}. The rest is a margin:"
    yield "# counts may be estimates, shares are rounded, and a budget that cannot be met stops a"
    yield "# build."
    yield _with(f"tokens: {_written(proposal.tokens)}", "of all sources with a share, together")


def _written(tokens: int) -> str:
    """Return a token count of two digits, exactly."""
    for unit, size in (("B", 10**9), ("M", 10**6), ("k", 10**3)):
        if tokens >= size and tokens * 10 % size == 0:
            return f"{tokens / size:g}{unit}"
    return str(tokens)


def _source(one: SourceFacts, proposal: Proposal) -> Iterator[str]:
    yield from (f"  # {_one_line(line)}" for line in summary(one))
    yield f"  {quoted(one.name)}:"
    yield _with("    category: uncategorised", "your own word; reports add up sources by it")
    yield _with("    # licence: ...", "its terms, such as CC-BY-4.0")
    yield "    from:"
    yield from _origin(one)
    if one.num_blank:
        yield _with(
            "    filters: [regex: {pattern: '\\S', drop_if: missing}]",
            f"drops texts of white space alone, such as {one.num_blank:,} of those read",
        )
    if one.name in proposal.shares:
        share = f"    share: {format_percent(proposal.shares[one.name])}"
        yield _with(share, "of `tokens` at the top; all shares sum to 100%")
    else:
        yield _with("    tokens: all", "each chunk once; or a budget such as 5M, or `epochs: 2`")


def _origin(one: SourceFacts) -> Iterator[str]:
    origin, fields = one.group.origin, one.fields
    if origin.hub is not None:
        yield f"      hub: {quoted(origin.hub)}"
    if origin.revision is not None:
        yield f"      revision: {quoted(origin.revision)}"
    key = "path" if origin.path is not None else "files" if origin.hub is not None else "url"
    yield f"      {key}: {_one_or_many(getattr(origin, key))}"
    if origin.partition != "name":
        yield _with(
            f"      partition: {origin.partition}", "file names recur, so paths name partitions"
        )
    if origin.groups_files:
        files = one.group.files
        size = format_bytes(one.group.num_bytes // len(files))
        number = ceil(len(files) / origin.files_per_partition)
        yield _with(
            f"      files_per_partition: {origin.files_per_partition}",
            f"{len(files):,} files of {size} on average: {number:,} partitions instead of one each",
        )
    if one.group.is_text:
        return
    if fields.text != "text" or fields.other_texts:
        others = f"only one field is read; not {', '.join(fields.other_texts)}"
        yield _with(f"      text: {quoted(fields.text)}", others if fields.other_texts else "")
    if fields.id is None:
        yield _with("      id: null", f"made from file and row: {fields.id_reason}")
    elif fields.id != "id":
        also = f"{', '.join(fields.other_ids)} would do as well" if fields.other_ids else ""
        comment = "; ".join(filter(None, (fields.id_reason, also)))
        yield _with(f"      id: {quoted(fields.id)}", comment)


def _one_or_many(patterns: Sequence[str]) -> str:
    """Return globs or addresses. In a list all are quoted, since a comma would end one."""
    if len(patterns) == 1:
        return quoted(patterns[0])
    return "[" + ", ".join(map(_in_quotes, patterns)) + "]"


def _on_error(proposal: Proposal) -> Iterator[str]:
    if proposal.skips_bad:
        yield _with("on_error: skip", "what cannot be used is counted; without it, a build stops")
    if proposal.max_bad is not None:
        yield _with(f"max_bad: {float(proposal.max_bad):g}", "a file has more than 1 % of them")


def _undecided(proposal: Proposal) -> Iterator[str]:
    yield "# To decide:"
    if proposal.shares:
        yield "# - How much of each source: `tokens` and `share`. To use one more than once, say"
        yield "#   how often at most, such as `max_repetition: 3`, next to its share."
    yield from _of_batch_size(proposal)
    yield "# - Who may use it: `licence` and `category` of each source."
    yield "# - Copies, documents to leave out, and documents to hold out; take away the # in front:"
    yield "# dedup: {}                       # keeps the first of identical texts"
    yield "# validation: {fraction: 0.001}   # whole documents, in an output of their own"
    yield "# - Filters of a source, such as `filters: [length: {min_chars: 200}]`."
    if proposal.left_out:
        shown = ", ".join(proposal.left_out[:5]) + (", ..." if len(proposal.left_out) > 5 else "")
        number = len(proposal.left_out)
        yield f"# Left out, as no data: {number:,} file{'s' * (number != 1)} ({_one_line(shown)})."


def _of_batch_size(proposal: Proposal) -> Iterator[str]:
    rows, size = proposal.num_rows, proposal.global_batch_size
    is_counted = proposal.tokens is None and all(one.is_counted for one in proposal.sources)
    steps = max(rows // size, 1)
    about = "" if is_counted else "about "
    made = f"{rows:,} row{'s' * (rows != 1)} make {steps:,} step{'s' * (steps != 1)} of {size:,}"
    yield "# - `global_batch_size`: as the trainer has it. Rows left after the last whole"
    yield f"#   step are dropped; {about}{made}."


def _longer(proposal: Proposal) -> str:
    longest = max(one.longest_tokens for one in proposal.sources)
    if longest <= CHUNK_SIZE - 2:
        return "no document has more"
    return f"the longest document has {longest:,}"


def _with(line: str, comment: str) -> str:
    return f"{line.ljust(_COMMENT_AT)}  # {_one_line(comment)}" if comment else line


def _one_line(text: str) -> str:
    """Return what may stand in a comment."""
    return _escaped(" ".join(text.split()))


def _in_quotes(text: str) -> str:
    """Return a text as JSON. That is YAML too, once characters that YAML refuses are escaped."""
    return _escaped(json.dumps(text, ensure_ascii=False))


def _escaped(text: str) -> str:
    """Escape characters that are not printable; YAML takes all others as they are.

    Source: YAML 1.2.2, section 5.7, "Escaped Characters".
    """
    return "".join(one if one.isprintable() else f"\\U{ord(one):08x}" for one in text)
