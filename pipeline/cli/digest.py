"""`ettin-data digest`."""

from pathlib import Path

from pipeline.cli.arguments import Arguments, Verbs, add_verb
from pipeline.cli.output import print_result
from pipeline.cli.shown_progress import say_next, show_progress


def add(verbs: Verbs) -> None:
    options = add_verb(
        verbs,
        "digest",
        run,
        "write the manifest of a published order",
        "Reads every row once; `verify --against` the manifest then needs no second download.",
        examples=(
            "ettin-data digest sample-decoder --out decoder-order.json",
            "ettin-data digest hf://datasets/lena/letters-order --out letters-order.json",
        ),
        guide="docs/guide/verify.md#the-manifest-of-a-published-order",
    )
    options.add(
        "where WHERE",
        "order to read: an output, or parquet or MDS shards, a folder or hf://datasets/…",
    )
    options.add("--out FILE", "manifest file to write", Path, required=True)
    options.add("--phase NAME", "phase to read, if the order has several, such as ext")
    options.add_progress()


def run(parsed: Arguments) -> int:
    from pipeline.dataset import (
        check_order_manifest_path,
        content_of,
        digest_order,
        write_order_manifest,
    )

    check_order_manifest_path(parsed.out)
    with show_progress(parsed) as show:
        manifest = digest_order(parsed.where, show, phase=parsed.phase)
    write_order_manifest(manifest, parsed.out)
    line = (
        f"{parsed.out}: {manifest.num_rows:,} rows, {manifest.num_tokens:,} tokens, sequence "
        f"{manifest.ledger.sequence_root}, multiset {manifest.ledger.multiset_root}"
    )
    print_result(parsed, {"out": str(parsed.out), **content_of(manifest)}, [line])
    say_next(parsed, ["verify", "OUTPUT", "--against", parsed.out])
    return 0
