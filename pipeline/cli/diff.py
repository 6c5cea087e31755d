"""`ettin-data diff`."""

from pipeline.cli.arguments import Arguments, Verbs, add_verb
from pipeline.cli.output import print_result
from pipeline.cli.shown_progress import show_progress


def add(verbs: Verbs) -> None:
    options = add_verb(
        verbs,
        "diff",
        run,
        "compare two mixtures, manifests, outputs or orders",
        "Exits with 1 if they differ.",
        examples=(
            "ettin-data diff letters.yaml clean.yaml",
            "ettin-data diff sample-out sample-decoder",
        ),
        guide="docs/guide/verify.md#compare-two-builds",
    )
    options.add("old A", "a mixture, manifest, output or published order")
    options.add("new B", "another of the same kind")
    options.add_progress()


def run(parsed: Arguments) -> int:
    """Print the differences; exit 1 if there are any."""
    from pipeline.audit.diff import as_json, diff, lines

    with show_progress(parsed) as show:
        difference = diff(parsed.old, parsed.new, show)
    print_result(parsed, as_json(difference), lines(difference))
    return 0 if difference.equal else 1
