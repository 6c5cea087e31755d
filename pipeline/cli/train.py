"""`ettin-data train`."""

import os
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.cli.arguments import Arguments, Verbs, add_verb, positive
from pipeline.cli.output import print_result
from pipeline.cli.shown_progress import Stage, print_json_line, say_next
from pipeline.core.errors import ConfigError
from pipeline.core.progress import Work

if TYPE_CHECKING:
    from pipeline.config import Recipe


def add(verbs: Verbs) -> None:
    options = add_verb(
        verbs,
        "train",
        run,
        "train one phase of a model on rows in order",
        "Run it again with the same --out to resume from the latest checkpoint.",
        examples=(
            "ettin-data train sample-encoder-pretraining --data letters --out pre --device cpu",
            "ettin-data train sample-encoder-extension --data letters --from pre --out ext"
            " --device cpu --max-steps 1",
        ),
        guide="docs/guide/train.md#train-a-model",
    )
    options.add("recipe RECIPE", "recipe file, or the name of a bundled recipe")
    options.add("--data DIR", "output of a build, or any order of rows", required=True)
    options.add("--out DIR", "folder for checkpoints and metrics", Path, required=True)
    what = (
        "weights to start from: a checkpoint of the previous phase, a folder of them (the latest is"
    )
    what += " taken), an export, or hf://ORG/NAME[@REVISION]"
    options.add("--from WHAT", what, dest="begin_from")
    options.add("--max-steps N", "stop after this many steps of the phase", positive)
    options.add("--device {cuda,cpu}", "device to train on (default: cuda)")
    what = "use deterministic GPU kernels: slower, but a resumed run is bit-identical"
    options.add("--deterministic", what)
    options.add_on_damage()
    options.add_set()
    options.add_progress()


def run(parsed: Arguments) -> int:
    prepare_torch()
    from pipeline.config import load_recipe
    from pipeline.core.bundled import recipe_path
    from pipeline.train import train

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
        report=_Progress(parsed, recipe).report,
    )
    if saved is not None:
        content = {"recipe": recipe.name, "checkpoint": str(saved)}
        print_result(parsed, content, [str(saved)])
        evaluated = ["evaluate", parsed.out, "--data", parsed.data]
        say_next(parsed, ["export", saved, "--out", "model"], evaluated)
    return 0


def prepare_torch() -> None:
    """Make ready to import what training needs.

    Raises: ConfigError for packages that are not installed.
    """
    missing = [name for name in ("torch", "transformers", "optimi") if find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"got no {', '.join(missing)}, expected the packages that training needs",
            "pip install 'ettin-data[train]'",
        )
    # Threads wait for one another asleep: spinning, on cores that others use too, takes three times
    # as long. Read when torch is first imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


class _Progress:
    """Shows what training reports: a line each, or JSON."""

    def __init__(self, parsed: Arguments, recipe: "Recipe") -> None:
        self._max_steps: int | None = parsed.max_steps
        self._num_tokens, self._out, self._is_json = recipe.tokens, parsed.out, parsed.json_progress
        self._stage: Stage | None = None

    def report(self, kind: str, num_steps: int, facts: dict[str, Any]) -> None:
        now = time.monotonic()
        if kind == "train":
            stage = self._update(num_steps, facts["tokens_seen"], now)
            if self._is_json:
                print_json_line({**stage.facts(now), "step": num_steps, **facts})
                return
            facts = {**facts, "left": stage.time_left(now)}
        if self._is_json:
            print_json_line({"event": kind, "step": num_steps, **facts})
        else:
            print(_line(kind, num_steps, facts), file=sys.stderr, flush=True)

    def _update(self, num_steps: int, tokens_seen: int, now: float) -> Stage:
        """Return the stage at this step; it counts steps where `--max-steps` ends it."""
        if self._max_steps is None:
            unit, done, total = "tokens", tokens_seen, self._num_tokens
        else:
            unit, done, total = "steps", num_steps, self._max_steps
        if self._stage is None:
            self._stage = Stage("train", done, now, self._out)
        self._stage.update(done, total, Work(unit=unit, num_tokens=tokens_seen), now)
        return self._stage


def _line(kind: str, num_steps: int, facts: dict[str, Any]) -> str:
    match kind:
        case "begin":
            begins = f"resumes after step {num_steps:,} at" if num_steps else "starts at"
            evaluated = facts["num_validation_rows"]
            return (
                f"{facts['recipe']}: {facts['kind']} of {facts['num_parameters']:,} parameters on"
                f" {facts['device']} × {facts['world_size']}; {begins} row"
                f" {facts['next_row']:,} of {facts['num_rows']:,};"
                f" {f'evaluated on {evaluated:,} rows' if evaluated else 'not evaluated'}"
            )
        case "train":
            loss = "no labels" if facts["loss"] is None else f"loss {facts['loss']:.4f}"
            return (
                f"step {num_steps:,}: {loss}, rate {facts['learning_rate']:.3g},"
                f" {facts['tokens_seen']:,} tokens seen, {facts['tokens_per_second']:,.0f}"
                f" tokens/s, waited {facts['waiting']:.1%}, {facts['left']} left"
            )
        case "damage":
            start, stop = facts["rows"]
            return f"rows {start:,}:{stop:,} cannot be read, fed as placeholders: {facts['why']}"
        case "validation":
            return (
                f"step {num_steps:,}: validation loss {facts['loss']:.4f} over"
                f" {facts['num_labels']:,} labels of {facts['num_rows']:,} rows"
            )
        case "checkpoint":
            return f"step {num_steps:,}: saved {facts['path']}"
    return f"step {num_steps:,}: end of the order after {facts['num_tokens']:,} tokens"
