"""`ettin-data evaluate`."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pipeline.cli.arguments import Arguments, Verbs, add_verb
from pipeline.cli.output import print_json_list, print_lines
from pipeline.cli.train import prepare_torch


def add(verbs: Verbs) -> None:
    options = add_verb(
        verbs,
        "evaluate",
        run,
        "evaluate models on held-out rows, and on rows that they saw",
        "A folder of checkpoints is a trajectory: one answer a model.",
    )
    what = "checkpoints, exports, folders of them, or hf://ORG/NAME[@REVISION]"
    options.add("models MODEL", what, nargs="+")
    options.add("--data DIR", "output of the build that they were trained on", Path, required=True)
    what = "suite to run; repeatable (default: all)"
    options.add("--suite {held-out,recall}", what, action="append")
    options.add("--device {cuda,cpu}", "device (default: cuda)")


def run(parsed: Arguments) -> int:
    prepare_torch()
    from pipeline.train import SUITES, evaluate_models

    suites = parsed.suite or SUITES
    answers = evaluate_models(parsed.models, parsed.data, suites, parsed.device)
    if parsed.json:
        print_json_list(answers)
    else:
        print_lines(line for answer in answers for line in _lines(answer))
    return 0


def _lines(answer: dict[str, Any]) -> Iterable[str]:
    tokens = answer["num_tokens"]
    seen = "" if tokens is None else f", {tokens:,} tokens"
    yield f"{answer['model']}: {answer['kind']}{seen}"
    if found := answer.get("held-out"):
        unit = "token" if answer["kind"] == "decoder" else "masked token"
        yield f"  held-out: {_loss(found, unit)}"
        for source, one in found["by_source"].items():
            yield f"    {source}: {_loss(one, unit)}"
    if found := answer.get("recall"):
        yield f"  recall of the {found['num_seen']:,} rows that it saw"
        for times, one in found["by_times_seen"].items():
            often = "once" if times == "1" else f"{times.replace('-', ' to ')} times"
            yield f"    seen {often}: {_difference(one)}"


def _loss(one: dict[str, Any], unit: str) -> str:
    if one["loss"] is None:
        return f"no {unit} is predicted in {one['num_rows']:,} rows"
    more = "" if one.get("per_byte") is None else f", {one['per_byte']:.4f} a byte"
    return (
        f"{one['loss']:.4f} nats a {unit}{more} ({one['num_labels']:,} in {one['num_rows']:,} rows)"
    )


def _difference(one: dict[str, Any]) -> str:
    if one["difference"] is None:
        return f"{one['num_pairs']:,} pairs, too few to tell"
    return (
        f"{one['difference']:+.4f} nats better than unseen ones, 95 % within {one['low']:+.4f} to"
        f" {one['high']:+.4f} ({one['num_pairs']:,} pairs)"
    )
