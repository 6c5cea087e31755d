"""`ettin-data export`."""

from pathlib import Path

from pipeline.cli.arguments import Arguments, Verbs, add_verb
from pipeline.cli.output import print_result
from pipeline.cli.train import check_extra


def add(verbs: Verbs) -> None:
    summary = "write a checkpoint as a model that transformers loads"
    options = add_verb(verbs, "export", run, summary)
    options.add("checkpoint CHECKPOINT", "a checkpoint, or a folder whose latest is taken", Path)
    options.add("--out DIR", "model folder to create", Path, required=True)


def run(parsed: Arguments) -> int:
    check_extra()
    from pipeline.train import export_checkpoint

    versions = export_checkpoint(parsed.checkpoint, parsed.out)
    result = {"model": str(parsed.out), "loaded_by": versions}
    print_result(parsed, result, [f"{parsed.out}: loads in {versions}"])
    return 0
