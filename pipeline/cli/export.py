"""`ettin-data export`."""

import sys
from pathlib import Path
from typing import Any

from pipeline.cli.arguments import Arguments, Verbs, add_verb
from pipeline.cli.output import print_result
from pipeline.cli.train import prepare_torch


def add(verbs: Verbs) -> None:
    summary = "write a checkpoint as a model that transformers loads"
    options = add_verb(
        verbs,
        "export",
        run,
        summary,
        examples=(
            "ettin-data export pre --out model",
            "ettin-data export pre --out models --all",
        ),
        guide="docs/guide/train.md#export",
    )
    options.add(
        "checkpoint CHECKPOINT",
        "a checkpoint, or a folder of checkpoints, of which the latest is taken",
        Path,
    )
    what = "folder to create for the model; with --all, it gets a folder per checkpoint"
    options.add("--out DIR", what, Path, required=True)
    options.add("--all", "export every checkpoint of the folder; exports that exist are kept")
    what = "upload to the model repository hf://ORG/NAME: a commit and a tag for each checkpoint"
    options.add("--push ADDRESS", what)


def run(parsed: Arguments) -> int:
    prepare_torch()
    from pipeline.train import (
        export_checkpoint,
        export_checkpoints,
        push_exports,
        repository_to_push,
    )

    if parsed.push is not None:
        repository_to_push(parsed.push)
    if parsed.all:
        exports = []
        for folder, is_new in export_checkpoints(parsed.checkpoint, parsed.out):
            print(f"{folder}: {'exported' if is_new else 'kept'}", file=sys.stderr)
            exports.append(folder)
        result: dict[str, Any] = {"models": [str(one) for one in exports]}
        lines = [f"{parsed.out}: {len(exports):,} checkpoints, {exports[0].name} to"
                 f" {exports[-1].name}"]  # fmt: skip
    else:
        versions = export_checkpoint(parsed.checkpoint, parsed.out)
        exports = [parsed.out]
        result = {"model": str(parsed.out), "loaded_by": versions}
        lines = [f"{parsed.out}: loads in {versions}"]
    if parsed.push is not None:
        num_new, num_kept = push_exports(exports, parsed.push, _report)
        result |= {"pushed": num_new, "kept": num_kept, "address": parsed.push}
        lines.append(f"{parsed.push}: {num_new:,} new tags, {num_kept:,} were there")
    print_result(parsed, result, lines)
    return 0


def _report(tag: str, is_new: bool) -> None:
    print(f"{tag}: {'pushed' if is_new else 'was there'}", file=sys.stderr)
