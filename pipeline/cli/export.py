"""`ettin-data export`."""

from pathlib import Path

from pipeline.cli.arguments import Arguments, Verbs, add_out, add_verb
from pipeline.cli.output import print_result
from pipeline.cli.train import check_extra


def add(verbs: Verbs) -> None:
    """Declare the verb."""
    parser = add_verb(verbs, "export", run, "write a checkpoint as a model that transformers loads")
    parser.add_argument(
        "checkpoint",
        metavar="CHECKPOINT",
        type=Path,
        help="checkpoint that `train` saved, or a folder of them, whose latest is taken",
    )
    add_out(parser, "model folder to create")


def run(parsed: Arguments) -> int:
    """Export a checkpoint."""
    check_extra()
    from pipeline.train import export_checkpoint

    export_checkpoint(parsed.checkpoint, parsed.out)
    print_result(parsed, {"model": str(parsed.out)}, [str(parsed.out)])
    return 0
