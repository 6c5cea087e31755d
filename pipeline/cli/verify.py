"""`ettin-data verify`."""

from pipeline.cli.arguments import Arguments, Verbs, add_verb, half_open, positive
from pipeline.cli.output import print_result
from pipeline.cli.shown_progress import show_progress
from pipeline.core.bundled import manifest_path
from pipeline.core.errors import ConfigError


def add(verbs: Verbs) -> None:
    options = add_verb(
        verbs,
        "verify",
        run,
        "check an output against its manifest, or its rows against another order",
        "Without --against, checks every byte. With it, finds the first row that differs, and why.",
        examples=(
            "ettin-data verify letters",
            "ettin-data verify sample-out --against sample",
            "ettin-data verify sample-out --against sample-decoder --steps 1:3",
        ),
        guide="docs/guide/verify.md#verify-an-order",
    )
    options.add_place()
    options.add(
        "--manifest FILE",
        "check against this manifest, a file or a bundled name (default: that of the output)",
    )
    options.add(
        "--against WHAT",
        "compare rows, in order, with a manifest, another output, published parquet (a folder or"
        " hf://datasets/…) or MDS shards; or steps with a table of their digests (step, sha256)",
    )
    part = options.one_of()
    part.add("--rows A:B", "compare only rows A up to B, without B; they count from 0", half_open)
    part.add("--steps A:B", "compare only steps A up to B, without B; they count from 1", half_open)
    part.add("--window N", "compare only this checkpoint window; they count from 1", positive)
    views = "--view {auto,stored,encoder,decoder}"
    options.add(views, "view in which the other rows were written; auto detects it", default="auto")
    options.add_progress()


def run(parsed: Arguments) -> int:
    """Print mismatches; exit 1 if there are any."""
    if parsed.against is not None:
        return _verify_against(parsed)
    if parsed.rows or parsed.steps or parsed.window or parsed.view != "auto":
        raise ConfigError("--rows, --steps, --window, --view: got no --against, expected one")
    from pipeline.audit.verify import verify
    from pipeline.dataset import PARTIAL, readable_folder

    manifest = None if parsed.manifest is None else manifest_path(parsed.manifest)
    with show_progress(parsed) as show, readable_folder(parsed.folder) as folder:
        mismatches = verify(folder, manifest, show)
        is_partial = (folder / PARTIAL).is_file() and manifest is None
    what = f"{PARTIAL}, of partitions without an order" if is_partial else "the manifest"
    lines = mismatches or [f"{parsed.folder}: every file matches {what}"]
    print_result(parsed, {"out": str(parsed.folder), "mismatches": mismatches}, lines)
    return 1 if mismatches else 0


def _verify_against(parsed: Arguments) -> int:
    from pipeline.audit.verify import (
        as_json,
        is_step_table,
        lines,
        verify_against,
        verify_steps,
    )
    from pipeline.dataset import readable_folder

    if parsed.manifest is not None:
        raise ConfigError("--manifest: got --against too, expected only one of them")
    if is_step_table(parsed.against):
        if parsed.rows is not None:
            raise ConfigError(
                f"--rows: {parsed.against} has digests of whole steps", "choose --steps or --window"
            )
        with show_progress(parsed) as show, readable_folder(parsed.folder) as folder:
            told = verify_steps(
                folder,
                parsed.against,
                steps=parsed.steps,
                window=parsed.window,
                view=parsed.view,
                report=show,
            )
            printed = told.as_json(), told.lines()
        print_result(parsed, *printed)
        return 0 if told.equal else 1
    with show_progress(parsed) as show, readable_folder(parsed.folder) as folder:
        report = verify_against(
            folder,
            parsed.against,
            rows=parsed.rows,
            steps=parsed.steps,
            window=parsed.window,
            view=parsed.view,
            report=show,
        )
        printed = as_json(report), lines(report)
    print_result(parsed, *printed)
    return 0 if report.equal else 1
