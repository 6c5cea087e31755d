"""`ettin-data attest`."""

from pipeline.cli.arguments import Arguments, Verbs, add_verb, size
from pipeline.cli.infer import run_infer
from pipeline.cli.output import print_json, print_lines, print_table
from pipeline.cli.probe import run_probe
from pipeline.core.errors import ConfigError


def add(verbs: Verbs) -> None:
    options = add_verb(
        verbs,
        "attest",
        run,
        "compare a lock, a pool, an output or shards with what is published of them",
        "What is published ships with the package: digests, sizes, indexes, counts and statistics "
        "of files of the suite, each with its page. Exits with 1 where something contradicts them.",
    )
    options.add(
        "where WHERE",
        "a lock, a folder of shards or archives, or hf://datasets/ORG/NAME[/PATH]",
        nargs="?",
    )
    options.add(
        "--infer RAW",
        "raw documents, such as the head of a file of Dolma: find out how the shard --against was "
        "made of them; without RAW, what the shard alone tells",
        nargs="?",
        const="",
    )
    options.add("--against SHARD", "a published shard, or the sha256 of the first of a folder")
    options.add("--as ORG/NAME", "the repository that it stands for, where it does not say so")
    options.add(
        "--probe hf://datasets/ORG/NAME[@REVISION]",
        "instead, ask the Hub for the few files that tell how the released rows were made; of all"
        " data sets of the suite, or of this one",
        nargs="?",
        const="",
    )
    options.add("--max-bytes SIZE", "most bytes that --probe fetches", size, "2MB")


def run(parsed: Arguments) -> int:
    if parsed.probe is not None:
        return run_probe(parsed)
    if parsed.infer is not None:
        return run_infer(parsed)
    if parsed.where is None:
        raise ConfigError(
            "attest: got no place, expected WHERE, --probe or --infer", "name one of them"
        )
    from pipeline.audit.attest import as_json, attest, gather, lines, load_facts, table

    facts = load_facts()
    found = [
        (one, list(attest(one, facts))) for one in gather(parsed.where, facts, vars(parsed)["as"])
    ]
    if parsed.json:
        print_json([as_json(*one) for one in found])
    else:
        for evidence, findings in found:
            print_table(("partition", "verdict", "by"), (), table(evidence, findings))
            print_lines(lines(evidence, findings))
    return 0 if all(one.agrees for _, findings in found for one in findings) else 1
