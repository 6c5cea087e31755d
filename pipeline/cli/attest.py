"""`ettin-data attest`."""

from pipeline.cli.arguments import Arguments, Verbs, add_verb, size
from pipeline.cli.infer import run_infer
from pipeline.cli.output import print_json, print_lines
from pipeline.cli.probe import run_probe
from pipeline.cli.table import print_table
from pipeline.core.errors import ConfigError

_MOST = "2MB"
# What each of the three ways to ask takes besides.
_OPTIONS = {
    "--probe": ("--as", "--max-bytes"),
    "--infer": ("--against",),
    "WHERE": ("--as",),
}


def add(verbs: Verbs) -> None:
    options = add_verb(
        verbs,
        "attest",
        run,
        "compare a lock, a pool, an output or shards with what is published of them",
        "What is published ships with the package: digests, sizes, indexes, counts and statistics "
        "of files of the suite, each with its page. Exits with 1 where something contradicts them.",
        examples=(
            "ettin-data attest hf://datasets/jhu-clsp/ettin-extension-data",
            "ettin-data attest --probe",
            "ettin-data attest --infer books-0001.json.gz --against shard.00000.mds",
        ),
        guide="docs/guide/verify.md#what-is-published",
    )
    options.add(
        "where WHERE",
        "what to check: a lock, a folder of shards or archives, or hf://datasets/ORG/NAME[/PATH]",
        nargs="?",
    )
    options.add(
        "--infer RAW",
        "find out how the shard of --against was made from these raw documents, such as the head of"
        " a file of Dolma; without RAW, what the shard alone shows",
        nargs="?",
        const="",
    )
    options.add(
        "--against SHARD",
        "with --infer: a published shard, or the sha256 of the first shard of a folder",
    )
    options.add(
        "--as ORG/NAME",
        "repository that WHERE is a copy of, if it does not say so itself",
        dest="stands_for",
    )
    options.add(
        "--probe hf://datasets/ORG/NAME[@REVISION]",
        "fetch from the Hub the few files that show how the released rows were made, of this data"
        " set or of all those of the suite",
        nargs="?",
        const="",
    )
    options.add("--max-bytes SIZE", f"most bytes that --probe may fetch (default: {_MOST})", size)
    options.add_progress()


def run(parsed: Arguments) -> int:
    mode = _mode(parsed)
    if mode == "--probe":
        parsed.max_bytes = size(_MOST) if parsed.max_bytes is None else parsed.max_bytes
        return run_probe(parsed)
    if mode == "--infer":
        return run_infer(parsed)
    from pipeline.audit.attest import as_json, attest, gather, lines, load_facts, table

    facts = load_facts()
    found = [
        (one, list(attest(one, facts))) for one in gather(parsed.where, facts, parsed.stands_for)
    ]
    if parsed.json:
        print_json([as_json(*one) for one in found])
    else:
        for evidence, verdicts in found:
            print_table(("partition", "verdict", "by"), (), table(evidence, verdicts))
            print_lines(lines(evidence, verdicts))
    return 0 if all(one.agrees for _, verdicts in found for one in verdicts) else 1


def _mode(parsed: Arguments) -> str:
    """Return what is asked for. Raises: ConfigError for nothing, or options of another mode."""
    values = {
        "--probe": parsed.probe,
        "--infer": parsed.infer,
        "WHERE": parsed.where,
        "--against": parsed.against,
        "--as": parsed.stands_for,
        "--max-bytes": parsed.max_bytes,
    }
    given = [name for name, value in values.items() if value is not None]
    mode = next((name for name in given if name in _OPTIONS), None)
    if mode is None:
        raise ConfigError(
            "attest: got no place, expected WHERE, --probe or --infer", "name one of them"
        )
    for name in given:
        if name != mode and name not in _OPTIONS[mode]:
            got = parsed.where if name == "WHERE" else name
            asked = parsed.where if mode == "WHERE" else mode
            raise ConfigError(
                f"{asked}: got {got} too, expected {' and '.join(_OPTIONS[mode])} alone beside it",
                "leave it out, or run attest twice",
            )
    return mode
