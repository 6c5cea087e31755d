"""`ettin-data verify`."""

from pathlib import Path

from pipeline.cli.arguments import Arguments, Verbs, add_verb, half_open, positive
from pipeline.cli.output import print_result
from pipeline.core.bundled import manifest_path
from pipeline.core.errors import ConfigError


def add(verbs: Verbs) -> None:
    """Declare the verb."""
    parser = add_verb(
        verbs,
        "verify",
        run,
        "check an output against its manifest, or its rows against another order",
        "Without --against, checks every byte. With it, finds the first row that differs, and why.",
    )
    parser.add_argument("folder", metavar="DIR", type=Path, help="output of a build")
    parser.add_argument("--manifest", metavar="FILE", help="manifest, or name of a bundled one")
    parser.add_argument(
        "--against",
        metavar="WHAT",
        help="compare rows, in order, with a manifest, another output, published parquet (a folder"
        " or hf://datasets/…) or MDS shards",
    )
    part = parser.add_mutually_exclusive_group()
    part.add_argument("--rows", metavar="A:B", type=half_open, help="only these rows, from 0")
    part.add_argument("--steps", metavar="A:B", type=half_open, help="only these steps, from 1")
    part.add_argument(
        "--window", metavar="N", type=positive, help="only this checkpoint window, from 1"
    )
    parser.add_argument(
        "--view",
        choices=("auto", "stored", "encoder", "decoder"),
        default="auto",
        help="view in which the other side stores its rows (default: auto, which detects it)",
    )


def run(parsed: Arguments) -> int:
    """Print mismatches; exit 1 if there are any."""
    if parsed.against is not None:
        return _verify_against(parsed)
    if parsed.rows or parsed.steps or parsed.window or parsed.view != "auto":
        raise ConfigError("--rows, --steps, --window, --view: got no --against, expected one")
    from pipeline.audit.verify import verify

    manifest = None if parsed.manifest is None else manifest_path(parsed.manifest)
    mismatches = verify(parsed.folder, manifest)
    lines = mismatches or [f"{parsed.folder}: every file is as the manifest says"]
    print_result(parsed, {"out": str(parsed.folder), "mismatches": mismatches}, lines)
    return 1 if mismatches else 0


def _verify_against(parsed: Arguments) -> int:
    from pipeline.audit.verify import as_json, lines, verify_against
    from pipeline.core.progress import show_progress

    if parsed.manifest is not None:
        raise ConfigError("--manifest: got --against too, expected only one of them")
    with show_progress() as show:
        report = verify_against(
            parsed.folder,
            parsed.against,
            rows=parsed.rows,
            steps=parsed.steps,
            window=parsed.window,
            view=parsed.view,
            report=show,
        )
    print_result(parsed, as_json(report), lines(report))
    return 0 if report.equal else 1
