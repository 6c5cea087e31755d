"""Training: the commands that make models of ordered rows."""

import argparse
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pipeline.cli.arguments import Commands, add_overrides, positive, with_json
from pipeline.cli.printing import print_json, print_lines
from pipeline.core.errors import ConfigError


def add_commands(commands: Commands) -> None:
    """Add `train` and `export`."""
    train = commands.add_parser(
        "train",
        parents=[with_json()],
        help="train a phase of a model on rows in order; run again to go on",
    )
    train.add_argument(
        "recipe", metavar="RECIPE", help="a recipe file, or the name of one that ships"
    )
    train.add_argument(
        "--data", metavar="DIR", required=True, help="the output of a build, or rows in order"
    )
    train.add_argument(
        "--out", metavar="DIR", type=Path, required=True, help="where checkpoints go"
    )
    train.add_argument(
        "--from",
        dest="begin_from",
        metavar="CHECKPOINT",
        type=Path,
        help="what the phase before saved: a checkpoint, or a folder of them",
    )
    train.add_argument(
        "--max-steps", metavar="N", type=positive, help="stop after so many steps of the phase"
    )
    train.add_argument("--device", choices=["cuda", "cpu"], help="default: cuda, or an error")
    train.add_argument(
        "--deterministic",
        action="store_true",
        help="on a GPU, take kernels that add up in one order: slower, and a run that goes on is"
        " equal to the bit",
    )
    train.add_argument(
        "--on-damage",
        choices=["stop", "tombstone"],
        default="stop",
        help="what becomes of rows that cannot be read: an error, or a stand-in that is recorded",
    )
    add_overrides(train)
    train.set_defaults(run=_train)

    export = commands.add_parser(
        "export",
        parents=[with_json()],
        help="write a checkpoint as a model that transformers loads",
    )
    export.add_argument(
        "checkpoint",
        metavar="CHECKPOINT",
        type=Path,
        help="what `train` saved, or a folder of it, of which the last is taken",
    )
    export.add_argument("--out", metavar="DIR", type=Path, required=True, help="a new folder")
    export.set_defaults(run=_export)


def _train(parsed: argparse.Namespace) -> int:
    _need_extra()
    from pipeline.config import load_recipe
    from pipeline.core.bundled import recipe_path
    from pipeline.train.phase import train

    recipe = load_recipe(recipe_path(parsed.recipe), parsed.set)
    saved = train(
        recipe,
        parsed.data,
        parsed.out,
        begin_from=parsed.begin_from,
        max_steps=parsed.max_steps,
        device=parsed.device,
        is_deterministic=parsed.deterministic,
        on_damage=parsed.on_damage,
        show=_show,
    )
    if saved is not None:
        _tell(parsed, {"recipe": recipe.name, "checkpoint": str(saved)}, str(saved))
    return 0


def _export(parsed: argparse.Namespace) -> int:
    _need_extra()
    from pipeline.train.export import export

    export(parsed.checkpoint, parsed.out)
    _tell(parsed, {"model": str(parsed.out)}, str(parsed.out))
    return 0


def _need_extra() -> None:
    missing = [name for name in ("torch", "transformers", "optimi") if find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"got no {', '.join(missing)}, expected what training needs",
            "pip install 'ettin-data[train]'",
        )


def _tell(parsed: argparse.Namespace, facts: dict[str, Any], line: str) -> None:
    if parsed.json:
        print_json(facts)
    else:
        print_lines([line])


def _show(kind: str, num_steps: int, facts: dict[str, Any]) -> None:
    print(_line(kind, num_steps, facts), file=sys.stderr, flush=True)


def _line(kind: str, num_steps: int, facts: dict[str, Any]) -> str:
    if kind == "begin":
        goes_on = f"goes on after step {num_steps:,} with" if num_steps else "begins with"
        evaluated = facts["num_validation_rows"]
        return (
            f"{facts['recipe']}: {facts['kind']} of {facts['num_parameters']:,} parameters on"
            f" {facts['device']} × {facts['world_size']}; {goes_on} row"
            f" {facts['next_row']:,} of {facts['num_rows']:,};"
            f" {f'evaluated on {evaluated:,} rows' if evaluated else 'not evaluated'}"
        )
    if kind == "train":
        found = facts["loss"]
        loss = "nothing to predict" if found is None else f"loss {found:.4f}"
        return (
            f"step {num_steps:,}: {loss}, rate {facts['learning_rate']:.3g},"
            f" {facts['tokens_seen']:,} tokens so far, {facts['tokens_per_second']:,.0f} tokens/s,"
            f" waited {facts['waiting']:.1%}"
        )
    if kind == "damage":
        start, stop = facts["rows"]
        return f"rows {start:,}:{stop:,} cannot be read and are stood in for: {facts['why']}"
    if kind == "validation":
        return (
            f"step {num_steps:,}: validation loss {facts['loss']:.4f} at {facts['num_labels']:,}"
            f" labels of {facts['num_rows']:,} rows"
        )
    if kind == "checkpoint":
        return f"step {num_steps:,}: saved {facts['path']}"
    return f"step {num_steps:,}: the order is over at {facts['num_tokens']:,} tokens"
