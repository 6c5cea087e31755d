"""`ettin-data report`."""

import sys
from pathlib import Path

from pipeline.cli.arguments import Arguments, Verbs, add_verb
from pipeline.cli.output import print_result
from pipeline.cli.shown_progress import show_progress
from pipeline.core.shown import printable


def add(verbs: Verbs) -> None:
    options = add_verb(
        verbs,
        "report",
        run,
        "write what an order is as one HTML file, for a paper or a repository",
        "It needs no network and no script, prints well, and depends on the order alone.",
        examples=(
            "ettin-data report letters --out letters.html",
            "ettin-data report hf://datasets/lena/letters-order --out published.html",
        ),
        guide="docs/guide/show.md#a-report-in-one-file",
    )
    options.add(
        "where WHAT",
        "output of a build, a pool, or rows in order: parquet or MDS shards, local or remote",
    )
    options.add("--out FILE", "HTML file to write", Path, required=True)
    options.add("--phase NAME", "phase to report, if the order has several")
    options.add_progress()


def run(parsed: Arguments) -> int:
    """Write the report; exit with 1 where the output is damaged, which the report says."""
    from pipeline.show import Shown
    from pipeline.show.report import check_report_path, report_content, write_report

    shown = Shown.open(parsed.where, phase=parsed.phase)
    check_report_path(parsed.out, shown.folder)
    with show_progress(parsed) as show:
        content = report_content(shown, show)
    num_bytes = write_report(parsed.out, content)
    printed = {
        "out": str(parsed.out),
        "num_bytes": num_bytes,
        "problems": content["problems"],
        "left_out": content["notes"],
    }
    print_result(parsed, printed, [f"{parsed.out}: {num_bytes:,} bytes"])
    for what, lines in (("damaged", content["problems"]), ("not in the report", content["notes"])):
        for one in lines:
            print(printable(f"{what}: {one}"), file=sys.stderr)
    return 1 if content["problems"] else 0
