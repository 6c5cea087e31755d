"""Print results to stdout, as text or as JSON."""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.cli.arguments import Arguments
from pipeline.cli.source_tables import print_documents, print_reasons, print_tokens
from pipeline.cli.table import count, print_table
from pipeline.core.digest import FileDigest, trusted_bytes
from pipeline.core.shown import printable
from pipeline.core.units import format_bytes

if TYPE_CHECKING:
    from pipeline.dataset import Manifest, PartialManifest
    from pipeline.runner import MadePart

Files = Mapping[str, FileDigest]
# Published amounts are rounded to 0.1B, which is 2 % of the second smallest.
_TOLERANCE = Fraction(2, 100)


def print_result(parsed: Arguments, content: object, lines: Iterable[str]) -> None:
    """Print a result as JSON with `--json`, else as lines of text."""
    if parsed.json:
        print_json(content)
    else:
        print_lines(lines)


def print_json(content: object) -> None:
    print(printable(json.dumps(content, indent=2, ensure_ascii=False)))


def print_json_list(items: Iterable[object]) -> None:
    """Print a JSON list one item at a time: all of them may not fit in memory."""
    separator = "["
    for item in items:
        print(separator + printable(json.dumps(item, ensure_ascii=False)), end="")
        separator = ",\n "
    print("[]" if separator == "[" else "]")


def print_lines(lines: Iterable[str]) -> None:
    for line in lines:
        print(printable(line))


def print_warnings(lines: Iterable[str]) -> None:
    """Print to stderr."""
    for line in lines:
        print(printable(f"warning: {line}"), file=sys.stderr)


def print_manifest(parsed: Arguments, manifest: "Manifest", seconds: float, done: str) -> None:
    """Print what a build or an order made; warnings and the time go to stderr."""
    from pipeline.dataset import manifest_bytes, rows_of

    if parsed.json:
        content = json.loads(manifest_bytes(manifest))
        about = _about_run(parsed, seconds, manifest.files)
        print_json({**about, "manifest": content})
        return
    if manifest.sources:
        rows = rows_of(manifest)
        print_documents(rows)
        print_reasons(rows)
        print_tokens(rows)
    print_warnings(_warnings(manifest, parsed.out))
    order = manifest.order
    print(
        f"{parsed.out}: {order.num_steps:,} steps of {order.num_rows:,} rows, "
        f"{order.num_tokens:,} tokens; {order.num_rows_dropped:,} rows dropped from the "
        f"incomplete last step; order {order.ledger.sequence_root}"
    )
    _print_run(parsed, done, seconds, manifest.files)


def _about_run(parsed: Arguments, seconds: float, files: Files) -> dict[str, object]:
    """Return what `--json` says of a run beside what it made."""
    trusted = sorted(trusted_bytes(files))
    return {**_about_tasks(parsed, seconds), "trusted": trusted}


def _about_tasks(parsed: Arguments, seconds: float) -> dict[str, object]:
    retried = dict(sorted(parsed.retried.items()))
    return {"out": str(parsed.out), "seconds": round(seconds, 3), "retried": retried}


def _print_run(parsed: Arguments, done: str, seconds: float, files: Files) -> None:
    """Say on stderr how long a run took, which digests it computed, and what ran again."""
    _print_retried(parsed)
    trusted = trusted_bytes(files)
    size = format_bytes(sum(trusted.values()))
    print(
        f"{done} in {seconds:.1f} s; {len(files) - len(trusted):,} digests computed from bytes of"
        f" this run, {len(trusted):,} ({size}) trusted by size, mtime and inode",
        file=sys.stderr,
    )


def _print_retried(parsed: Arguments) -> None:
    if parsed.retried:
        errors = ", ".join(f"{name} {number:,}" for name, number in sorted(parsed.retried.items()))
        print(
            f"retried {parsed.retried.total():,} times, after errors of a disk or a network that"
            f" passed: {errors}",
            file=sys.stderr,
        )


def print_partial(parsed: Arguments, made: "PartialManifest", seconds: float) -> None:
    """Print what partitions that were built alone have; warnings and the time go to stderr."""
    from pipeline.dataset import PARTIAL, partial_bytes

    if parsed.json:
        content = json.loads(partial_bytes(made))
        print_json({**_about_run(parsed, seconds, made.files), "partial": content})
        return
    records = [record for of_source in made.sources.values() for record in of_source]
    rows = []
    for one in records:
        dropped = one.documents.num_in - one.documents.kept
        shards = sum(path.startswith(one.folder) and path.endswith(".mds") for path in one.files)
        numbers = (one.documents.kept, dropped, one.tokens.drawn, one.chunks.drawn, shards)
        rows.append((one.folder, *map(count, numbers)))
    print_table(("folder",), ("documents", "dropped", "tokens", "rows", "shards"), rows)
    print_warnings(made.differences)
    print(f"{parsed.out}: {len(records):,} partitions alone, without an order; see {PARTIAL}")
    _print_run(parsed, "built", seconds, made.files)


def print_part(parsed: Arguments, made: "MadePart", seconds: float) -> None:
    """Print what a part of a stage has made."""
    names = [f"{source}/{name}" for source, of in made.partitions.items() for name in of]
    part = f"part {made.part} of {made.stage}"
    content = {"part": str(made.part), "stage": made.stage, "partitions": names}
    _print_retried(parsed)
    print_result(
        parsed,
        {**_about_tasks(parsed, seconds), **content, "num_all": made.num_all},
        [f"{parsed.out}: {part} is made, {len(names):,} of {made.num_all:,} partitions"],
    )


def _warnings(manifest: "Manifest", out: Path | str) -> Iterator[str]:
    """Yield what differs from what the mixture expects, though the output is valid."""
    from pipeline.dataset import MANIFEST, VALIDATION, read_manifest, readable_folder

    is_miniature = Fraction(manifest.mixture.declaration.get("scale", 1)) < 1
    for name, source in manifest.sources.items():
        tokens, expected = source.tokens, source.budget.expected
        # The expected amount includes the validation split.
        found = source.budget.asked + tokens.validation
        if not tokens.written:
            yield f"sources.{name}: got no tokens from {source.documents.num_in:,} documents"
        elif expected and not is_miniature and abs(found - expected) > _TOLERANCE * expected:
            yield f"sources.{name}: got {found:,} tokens, expected {expected:,}"
    yield from _tokens_beyond(manifest, "order")
    if f"{VALIDATION}/{MANIFEST}" in manifest.files:
        with readable_folder(out) as folder:
            held = read_manifest(folder / VALIDATION / MANIFEST)
        yield from _tokens_beyond(held, VALIDATION)
    if not manifest.order.num_steps:
        num_rows = manifest.order.num_samples
        lower = f"; lower it with --set order.global_batch_size={num_rows}" if num_rows else ""
        yield f"order: {num_rows:,} rows are fewer than one step needs{lower}"


def _tokens_beyond(manifest: "Manifest", what: str) -> Iterator[str]:
    order = manifest.order
    if cut := order.num_tokens_cut + order.num_tokens_beyond:
        stored = order.num_tokens + order.num_tokens_dropped + order.num_tokens_cut
        longest = manifest.mixture.declaration["order"]["max_seq_len"]
        yield (
            f"{what}: {cut:,} tokens ({cut / stored:.2%}) lie beyond max_seq_len, {longest:,}, in"
            " their rows, where no trainer sees them"
        )
