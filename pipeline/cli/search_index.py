"""`ettin-data search-index`."""

from pathlib import Path

from pipeline.cli.arguments import Arguments, Verbs, add_verb, size
from pipeline.cli.output import print_result
from pipeline.cli.shown_progress import say_next, show_progress

_MEMORY_BYTES = 2 << 30


def add(verbs: Verbs) -> None:
    options = add_verb(
        verbs,
        "search-index",
        run,
        "index the tokens of an order, so that texts are found at once",
        "Takes 6 bytes per token on disk. Run it again after a crash or damage, and it continues."
        " `trace --find` and `show` use the index beside the output of a build; an index of another"
        " order, or elsewhere, is for `pipeline.audit.search.SearchIndex` alone.",
        examples=(
            "ettin-data search-index sample-out",
            "ettin-data search-index sample-out/order --out index --memory 4GiB",
        ),
        guide="docs/guide/verify.md#which-documents-a-step-saw",
    )
    options.add("where DIR", "output of a build, or rows in order: parquet or MDS, local or remote")
    options.add("--out FOLDER", "folder of the index (default: DIR.search-index)", Path)
    memory = "memory to use, such as 4GiB (default: 2GiB); more memory makes fewer parts"
    options.add("--memory SIZE", memory, size)
    options.add("--phase NAME", "phase to index, if the order has several")
    options.add_progress()


def run(parsed: Arguments) -> int:
    """Write the index and print what it holds."""
    from pipeline import dataset
    from pipeline.audit.search import build_index, default_folder, section_tokens_within

    folder = default_folder(parsed.where) if parsed.out is None else parsed.out
    order = dataset.open(parsed.where, phase=parsed.phase)
    section_tokens = section_tokens_within(parsed.memory or _MEMORY_BYTES)
    with show_progress(parsed, folder) as show:
        record = build_index(order, folder, section_tokens=section_tokens, report=show)
    num_bytes = sum(file.num_bytes for one in record.sections for file in one.files.values())
    content = {
        "out": str(folder),
        "order": record.order,
        "num_rows": record.num_rows,
        "num_tokens": record.num_tokens,
        "num_sections": len(record.sections),
        "num_bytes": num_bytes,
    }
    line = (
        f"{folder}: {record.num_tokens:,} tokens of {record.num_rows:,} rows in"
        f" {len(record.sections):,} sections, {num_bytes:,} bytes; order {record.order}"
    )
    print_result(parsed, content, [line])
    if parsed.out is None:
        say_next(parsed, ["trace", parsed.where, "--find", "TEXT"])
    return 0
