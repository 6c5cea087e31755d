"""`ettin-data evaluate`."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.cli.arguments import Arguments, Verbs, add_verb
from pipeline.cli.output import print_json_list, print_lines
from pipeline.cli.shown_progress import show_progress
from pipeline.cli.table import print_table
from pipeline.cli.train import prepare_torch


def add(verbs: Verbs) -> None:
    options = add_verb(
        verbs,
        "evaluate",
        run,
        "evaluate models on rows that they saw or did not, on grammar and on bias",
        "Of a folder of checkpoints, each one is evaluated in turn.",
        examples=(
            "ettin-data evaluate pre --data letters --suite recall --device cpu",
            "ettin-data evaluate pre --suite minimal-pairs --pairs pairs.jsonl --device cpu",
        ),
        guide="docs/guide/evaluate.md#evaluate-models",
    )
    what = "checkpoints, exports, folders of them, or hf://ORG/NAME[@REVISION]"
    options.add("models MODEL", what, nargs="+")
    what = "output that the models were trained on, for held-out and recall"
    options.add("--data DIR", what, Path)
    what = "suite to run; repeatable (default: all, or those that need no --data)"
    options.add("--suite {held-out,recall,minimal-pairs,bias}", what, action="append")
    what = "minimal pairs as JSON lines, ours or BLiMP's (default: the 624 that ship)"
    options.add("--pairs FILE", what, Path)
    what = (
        "templates for bias, JSON lines or WinoGender's templates.tsv (default: the 150 that ship)"
    )
    options.add("--templates FILE", what, Path)
    options.add(
        "--tensorboard DIR", "write the measures over training tokens as TensorBoard events", Path
    )
    what = "plot the measures over training tokens, as FILE.svg, FILE.png or FILE.pdf"
    options.add("--plot FILE", what, Path)
    options.add("--device {cuda,cpu}", "device to evaluate on (default: cuda)")
    options.add_progress()


def run(parsed: Arguments) -> int:
    prepare_torch()
    from pipeline.train import (
        check_folder,
        check_picture,
        draw_curves,
        evaluate_models,
        write_events,
    )

    # What cannot be written is said before hours of evaluation.
    if parsed.plot:
        check_picture(parsed.plot)
    if parsed.tensorboard:
        check_folder(parsed.tensorboard)
    files = {name: path for name in ("pairs", "templates") if (path := getattr(parsed, name))}
    answers: list[dict[str, Any]] = []
    with show_progress(parsed) as show:
        found = evaluate_models(
            parsed.models, parsed.data, parsed.suite, parsed.device, report=show, **files
        )
        each = _kept(found, answers)
        if parsed.json:
            print_json_list(each)
        else:
            print_lines(line for answer in each for line in _lines(answer))
    if not parsed.json and len(answers) > 1:
        _print_table(answers)
    if parsed.tensorboard:
        write_events(answers, parsed.tensorboard)
    if parsed.plot:
        draw_curves(answers, parsed.plot)
    return 0


def _kept(answers: Iterable[dict[str, Any]], kept: list[dict[str, Any]]) -> Iterator[Any]:
    for answer in answers:
        kept.append(answer)
        yield answer


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
    if found := answer.get("minimal-pairs"):
        yield f"  minimal pairs: {_accuracy(found)}, the mean of phenomena"
        for phenomenon, one in found["by_phenomenon"].items():
            yield f"    {phenomenon}: {_accuracy(one)}"
    if found := answer.get("bias"):
        yield f"  bias: mean share of each gender in {found['num_sentences']:,} sentences"
        for gender, one in found["by_gender"].items():
            yield f"    {gender}: {_share(one)}"


def _loss(one: dict[str, Any], unit: str) -> str:
    if one["loss"] is None:
        return f"no {unit} is predicted in {one['num_rows']:,} rows"
    more = "" if one.get("per_byte") is None else f", {one['per_byte']:.4f} a byte"
    if one.get("pseudo_log_likelihood") is not None:
        more = f", pseudo-log-likelihood {one['pseudo_log_likelihood']:.4f} a token"
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


def _accuracy(one: dict[str, Any]) -> str:
    return f"{one['accuracy']:.1%} of {one['num_pairs']:,} pairs"


def _share(one: dict[str, Any]) -> str:
    within = "" if one["low"] is None else f", 95 % within {one['low']:.1%} to {one['high']:.1%}"
    return f"{one['share']:.1%}{within}; the likeliest in {one['preferred']:.1%}"


def _print_table(answers: Sequence[Mapping[str, Any]]) -> None:
    """Print a line a model, with what can be compared between them."""
    headings = ("tokens", "held-out", "recall of once", "pairs", "male", "female", "neutral")
    print_table(("model", "kind"), headings, map(_row, answers))


def _row(answer: Mapping[str, Any]) -> list[str | None]:
    tokens, loss = answer["num_tokens"], answer.get("held-out", {}).get("loss")
    once = answer.get("recall", {}).get("by_times_seen", {}).get("1", {"difference": None})
    pairs, genders = answer.get("minimal-pairs"), answer.get("bias", {}).get("by_gender", {})
    return [
        answer["model"],
        answer["kind"],
        None if tokens is None else f"{tokens:,}",
        None if loss is None else f"{loss:.4f}",
        None
        if once["difference"] is None
        else f"{once['difference']:+.4f} ({once['low']:+.4f} to {once['high']:+.4f})",
        pairs and f"{pairs['accuracy']:.1%}",
        *(f"{one['share']:.1%}" for one in genders.values()),
    ]
