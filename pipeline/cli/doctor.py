"""`ettin-data doctor`."""

from collections import Counter
from dataclasses import asdict
from pathlib import Path

from pipeline.cli.arguments import Arguments, Verbs, add_verb
from pipeline.cli.output import print_json, print_lines

_FAILED = 1


def add(verbs: Verbs) -> None:
    add_verb(
        verbs,
        "doctor",
        run,
        "say whether this machine is ready, and what to do where it is not",
        "Looks at cores, memory, disk, limits, versions, compiled code, the tokenizer, extras,"
        " object stores and the Hub. Nothing is changed; exit 0 unless something fails.",
        examples=("ettin-data doctor", "ettin-data doctor --json"),
        guide="docs/guide/command-line.md#is-this-machine-ready",
    )


def run(parsed: Arguments) -> int:
    """Print what was found, a line each; exit 1 if something fails."""
    from pipeline.runner.setup import examine_machine

    findings = []
    for one in examine_machine(Path()):
        findings.append(one)
        if not parsed.json:
            todo = [f"      -> {one.todo}"] if one.todo else []
            print_lines([f"{one.status:<5} {one.what}: {one.says}", *todo])
    counts = Counter(one.status for one in findings)
    if parsed.json:
        print_json([asdict(one) for one in findings])
    else:
        print_lines([f"{counts['fail']} fail, {counts['warn']} warn, {counts['ok']} ok"])
    return _FAILED if counts["fail"] else 0
